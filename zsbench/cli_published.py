"""`zsbench published …`: numbers that papers print, and whether their arithmetic holds.

Exit codes of a check: 0 checked, whatever was found; with --strict 3 if a row fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zsbench.commands import Commands
from zsbench.errors import UserError, unknown

if TYPE_CHECKING:
    from zsbench.reports.published import Paper, Published

FILES = click.argument("files", nargs=-1, type=click.Path(path_type=Path))


@click.group(cls=Commands)
def published() -> None:
    """Numbers that papers print."""


def _formats(command: Callable[..., Any]) -> Callable[..., Any]:
    csv = click.option("--csv", "form", flag_value="csv", help="As CSV on standard output.")
    return csv(click.option("--json", "form", flag_value="json", help="As JSON on standard output.")(command))


@published.command("check")
@FILES
@click.option("--all", "everything", is_flag=True, help="Show what holds too.")
@click.option("--strict", is_flag=True, help="Exit 3 if a row fails.")
@_formats
def check(files: tuple[Path, ...], everything: bool, strict: bool, form: str | None) -> None:
    """Test the arithmetic of every row: harmonic mean, composition of seen and unseen, copies, stated gains.

    FILES are TOML files of your own; without any, the shipped ones are checked.
    """
    from zsbench.reports import arithmetic
    from zsbench.reports import published_text as text

    papers = _papers(files)
    found = arithmetic.check(papers)
    shown = [one for one in found if everything or one.fails]
    if form == "csv":
        click.echo(text.found_csv(shown), nl=False)
    elif form == "json":
        click.echo(text.as_json(text.check_rows(shown)))
    else:
        click.echo(text.check_text(found, papers, everything))
    sys.exit(3 if strict and text.failing(found) else 0)


@published.command("list")
@FILES
@click.option("--split", help="Only rows of this split: voc5, voc_k10, context33_4 …")
@click.option("--method", help="Only methods whose name contains this: zs3net, cagnet …")
@_formats
def list_(files: tuple[Path, ...], split: str | None, method: str | None, form: str | None) -> None:
    """Every stored number with its protocol, its source and how sure it is."""
    from zsbench.reports import published_text as text
    from zsbench.reports.published import values_of

    values = _chosen(values_of(_papers(files)), split, method)
    if form == "csv":
        click.echo(text.listed_csv(values), nl=False)
    elif form == "json":
        click.echo(text.as_json(text.list_rows(values)))
    else:
        click.echo(text.list_text(values))


@published.command("show")
@click.argument("name")
def show(name: str) -> None:
    """One file whole: rows, notes and problems. NAME is that of a shipped file (vilseg, cagnet, voc5 …) or a path."""
    from zsbench.reports.published import papers, read_paper
    from zsbench.reports.published_text import show_text

    shipped = {one.name: one for one in papers()}
    if name in shipped:
        click.echo(show_text(shipped[name]))
    elif name.endswith(".toml"):
        click.echo(show_text(read_paper(Path(name))))
    else:
        raise unknown("file of published numbers", name, shipped)


def _papers(files: tuple[Path, ...]) -> list[Paper]:
    from zsbench.reports.published import papers, read_paper

    return [read_paper(file) for file in files] if files else list(papers())


def _chosen(values: list[Published], split: str | None, method: str | None) -> list[Published]:
    for what, asked in (("split", split), ("method", method)):
        names = {value.protocol.split if what == "split" else value.method for value in values}
        if asked is None:
            continue
        if what == "split":
            values = [value for value in values if value.protocol.split == asked]
        else:
            values = [value for value in values if _letters(asked) in _letters(value.method)]
        if not values:
            raise unknown(f"published {what}", asked, sorted(names), "zsbench published list")
    if not values:
        raise UserError("no numbers in these files; see docs/published.md for their form")
    return values


def _letters(name: str) -> str:
    """Letters, digits and signs that tell methods apart; "zs3net" finds "ZS3Net"."""
    return "".join(letter for letter in name.lower() if letter.isalnum() or letter == "+")
