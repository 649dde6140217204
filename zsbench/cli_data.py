"""`zsbench data …`: check a data folder, draw one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from zsbench.cli_overlap import overlap
from zsbench.cli_prepare import prepare
from zsbench.commands import Commands


@click.group(cls=Commands)
def data() -> None:
    """Check a data folder, unpack or draw one, find images that two of them share."""


data.add_command(prepare)
data.add_command(overlap)


@data.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--as", "kind", metavar="KIND", help="Kind of data, where a folder holds two: voc2012, context, cocostuff, hf, own."
)
@click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Class file: which id is which class. For PASCAL Context also 459-sorted or voc-first."
    " For COCO-Stuff 10k also v1.0 or v1.1.",
)
@click.option(
    "--first-id", type=click.IntRange(0, 1), help="Id of the first name of a class file that has names alone."
)
@click.option("--image-column", metavar="NAME", help="Column of photographs of a Hugging Face data set.")
@click.option("--mask-column", metavar="NAME", help="Column of its label maps.")
@click.option("--fast", is_flag=True, help="Read all masks, but of the photographs only their headers.")
def data_check(
    folder: Path,
    kind: str | None,
    classes: Path | None,
    first_id: int | None,
    image_column: str | None,
    mask_column: str | None,
    fast: bool,
) -> None:
    """Verdict, ids and class histogram of a data folder; exit code 2 if it has faults."""
    from zsbench.data.check import check_folder, render
    from zsbench.data.reader import Hints

    hints = Hints(classes, first_id, image_column, mask_column)
    verdict = check_folder(folder, hints=hints, kind=kind, fast=fast)
    click.echo(render(verdict))
    sys.exit(0 if verdict.sound else 2)


@data.command("draw")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--captioned", type=click.IntRange(min=1), default=2500, show_default=True, help="Scenes with captions.")
@click.option(
    "--train", type=click.IntRange(min=1), default=1500, show_default=True, help="Scenes with masks for training."
)
@click.option(
    "--val", type=click.IntRange(min=1), default=400, show_default=True, help="Scenes with masks for scoring."
)
@click.option("--size", type=int, default=64, show_default=True, help="Pixels per side.")
@click.option("--boundary", is_flag=True, help="Write VOC's ignored rim around objects.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    help="Caption corpus to write (web, clean, pair_0.03 …). Repeatable.  [default: eleven of them]",
)
def data_draw(folder: Path, arms: tuple[str, ...], **settings: Any) -> None:
    """Draw a data set of scenes in VOC's layout, with captions and class vectors."""
    from zsbench.data.scenes import DEFAULT_ARMS, draw

    draw(folder, arms=arms or DEFAULT_ARMS, **settings)
    click.echo(f"{folder}: drawn scenes, seed {settings['seed']}.  Use it: zsbench run --data {folder} …")
