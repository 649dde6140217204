"""The commands about leakage: `zsbench leakage-scan` with plan, run and merge, and `zsbench lexicon`.

Exit codes of a scan: 0 complete and under the limit, 1 input incomplete, 2 wrong usage, 3 over the limit, 4 the precision
asked for was not shown, 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zsbench.errors import UserError, unknown

FILE = click.Path(path_type=Path)
FORMATS = ["tsv", "csv", "jsonl", "json", "text", "parquet", "arrow", "tar"]

_PLANNING = (
    click.option(
        "--split",
        "-s",
        "splits",
        multiple=True,
        help="Name or file; repeatable.  [default: voc5, or the classes of --lexicon]",
    ),
    click.option(
        "--captions",
        "-c",
        multiple=True,
        help="File, folder, glob, shards {00..31}.tar, s3://…, hf:NAME, - (standard input) or a drawn arm (web, clean"
        " …); repeatable, each is a corpus.  [default: drawn web captions]",
    ),
    click.option("--caption-column", "column", help="Name or number (from 0), where it is not found by itself."),
    click.option("--format", "format", type=click.Choice(FORMATS), help="Where the suffix does not tell."),
    click.option(
        "--lexicon",
        type=FILE,
        help="Your own words (zsbench lexicon make). Alone: its classes are looked for; with --split: they go before the"
        " shipped words.",
    ),
    click.option(
        "--level",
        type=click.IntRange(0, 4),
        default=3,
        show_default=True,
        help="Forms up to: 0 the data set's string, 1 inflections, 2 synonyms, 3 kinds, 4 brands and parts.",
    ),
    click.option("--all-classes", is_flag=True, help="Look for the seen classes too."),
    click.option(
        "--examples",
        type=click.IntRange(1, 10_000),
        default=5,
        show_default=True,
        help="Captions sampled per form, for the page and for --review-out.",
    ),
    click.option("--hits", is_flag=True, help="Write every hit into hits.parquet."),
    click.option("--fragment-size", type=click.IntRange(1), default=128, show_default=True, help="MiB per part."),
    click.option("--data", type=FILE, help="Folder of drawn scenes, for drawn arms.  [default: drawn once]"),
)
_OUT = click.option("--out", type=FILE, default=Path("leakage"), show_default=True, help="Folder of parts and reports.")
_RUNNING = (
    click.option("--jobs", "-j", type=click.IntRange(min=0), default=0, help="Threads.  [default: one per core]"),
    click.option("--workers", type=click.IntRange(min=1), help="Dask worker processes on this machine."),
    click.option("--scheduler", metavar="tcp://…", help="A running Dask scheduler."),
)
_REPORTING = (
    click.option("--fail-over", metavar="N|N%|Nppm", help="Exit 3 if a class is named in more captions than this."),
    click.option("--fail-on", multiple=True, metavar="CLASS", help="Only these classes count for that; repeatable."),
    click.option(
        "--require-precision",
        type=click.FloatRange(0, 1),
        help="Exit 4 unless the reviewed share of right hits (the estimate) reaches this for every class named.",
    ),
    click.option("--max-bad", type=click.FloatRange(0, 1), default=0.0, help="Share of unreadable records to accept."),
    click.option("--review-out", type=FILE, help="Write the sampled captions as CSV, to be judged."),
    click.option("--review", "judged", type=FILE, help="The judged file: precision and corrected counts."),
    click.option("--concept-counts", "outside", type=FILE, multiple=True, help="Published counts to set beside ours."),
    click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON instead of tables."),
)
_PURGING = (
    click.option(
        "--purge",
        type=click.Choice(["auto", "drop", "mask", "keys"]),
        help="Also write the corpus without captions that name a class: rewritten (drop), as a list of rows (mask) or"
        " of keys (keys).",
    ),
    click.option("--purge-out", type=FILE, help="Where to.  [default: purged in --out]"),
)

Command = Callable[..., Any]


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class Scans(click.Group):
    """A file name where a subcommand could stand is a pattern that the shell has spread out."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = super().get_command(ctx, name)
        if found is None and not name.startswith("-"):
            if Path(name).exists():
                raise UserError(
                    f"what is '{name}'? Repeat --captions for every corpus, or quote a pattern: 'shards/*.tsv'"
                )
            raise unknown("subcommand of leakage-scan", name, self.list_commands(ctx))
        return found


@click.group("leakage-scan", cls=Scans, invoke_without_command=True)
@_options(*_PLANNING, _OUT, *_RUNNING, *_REPORTING, *_PURGING)
@click.pass_context
def leakage_scan(ctx: click.Context, /, **options: Any) -> None:
    """Which unseen classes does a caption corpus name? Counts, words, examples, and the corpus without them.

    Without --captions the drawn web-like corpus is scanned. Interrupted, the same command goes on where it was. On
    several machines: plan, run --shard I/N on each, merge.
    """
    if ctx.invoked_subcommand:
        _refuse_misplaced(ctx)
        return
    from zsbench.leakage import session

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = _wanted(options)
    found = session.scans(wanted)
    if options["purge"] and len(wanted.splits) > 1:
        raise UserError("--purge takes one --split: captions are removed for one set of unseen classes")
    if "-" in wanted.captions and len(found) > 1:
        raise UserError("standard input is one corpus for one split: it cannot be read twice")
    if options["purge"] and "-" in wanted.captions:
        raise UserError("standard input cannot be read twice: save it to a file, then scan and purge that")
    _check_reporting(found, options)
    code = _report(found, options, _run(found, options))
    if options["purge"]:
        _purge(found, options)
    sys.exit(code)


def _refuse_misplaced(ctx: click.Context) -> None:
    source = click.core.ParameterSource.COMMANDLINE
    for name in ctx.params:
        if ctx.get_parameter_source(name) == source:
            option = next(p.opts[0] for p in ctx.command.params if p.name == name)
            raise UserError(f"write {option} after '{ctx.invoked_subcommand}': leakage-scan {ctx.invoked_subcommand} …")


@leakage_scan.command("plan")
@_options(*_PLANNING, _OUT)
def plan(**options: Any) -> None:
    """Cut corpora into fragments and write the plan; `run` does them, on as many machines as you like."""
    from zsbench.leakage import session

    if "-" in options["captions"]:
        raise UserError("standard input cannot be planned: it is read once; save it to a file, or scan it without plan")
    found = session.scans(_wanted(options))
    path = session.write_plan(found, options["out"])
    fragments = sum(len(item.fragments) for item in found)
    size = sum(fragment.bytes for item in found for fragment in item.fragments)
    click.echo(f"{path}: {fragments:,} fragments, {size / 1e9:,.2f} GB")
    click.echo(f"Next, on every machine: zsbench leakage-scan run --out {shlex.quote(str(options['out']))} --shard I/N")


@leakage_scan.command("run")
@_options(_OUT, *_RUNNING)
@click.option("--shard", default="1/1", metavar="I/N", help="The I-th of N equal shares, from 1.")
def run(**options: Any) -> None:
    """Do a planned scan, or a share of it. What is done already is not done again."""
    from zsbench.leakage import session

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shard = session.parse_shard(options["shard"])
    found = session.read_plan(options["out"])
    options["out"] = session.plan_folder(options["out"])
    _run(found, options, shard)
    left = session.unfinished(found, options["out"])
    click.echo(f"share {options['shard']} is done; {left:,} fragments of the whole plan are left")
    if not left:
        click.echo(f"Next: zsbench leakage-scan merge --out {shlex.quote(str(options['out']))}")


@leakage_scan.command("merge")
@_options(_OUT, *_REPORTING)
def merge(**options: Any) -> None:
    """Add up the parts of a planned scan and write its report."""
    from zsbench.leakage import session

    found = session.read_plan(options["out"])
    options["out"] = session.plan_folder(options["out"])
    left = session.unfinished(found, options["out"])
    if left:
        raise UserError(f"{left:,} fragments are not scanned yet: zsbench leakage-scan run --out {options['out']}")
    _check_reporting(found, options)
    sys.exit(_report(found, options, ()))


def _wanted(options: dict[str, Any]) -> Any:
    from zsbench.leakage.session import Wanted

    return Wanted(
        splits=options["splits"] or (() if options["lexicon"] else ("voc5",)),
        captions=options["captions"],
        data=options["data"],
        format=options["format"],
        column=options["column"],
        lexicon=options["lexicon"],
        level=options["level"],
        scope="all" if options["all_classes"] else "unseen",
        examples=options["examples"],
        hits=options["hits"],
        fragment_bytes=options["fragment_size"] << 20,
    )


def _run(found: Any, options: dict[str, Any], shard: tuple[int, int] = (1, 1)) -> Any:
    from functools import partial

    from zsbench.leakage import session

    workers = None
    if options["workers"] or options["scheduler"]:
        from zsbench.leakage.cluster import scan_on_cluster

        workers = partial(scan_on_cluster, scheduler=options["scheduler"], workers=options["workers"] or 0)
    made = session.run(found, options["out"], jobs=options["jobs"], shard=shard, workers=workers)
    parts, total = sum(item.parts for item in made), sum(item.of for item in made)
    if parts < total:
        click.echo(f"{total - parts:,} of {total:,} parts were there already; scanned {parts:,}", err=True)
    return made


def _check_reporting(found: Any, options: dict[str, Any]) -> None:
    from zsbench.leakage import session

    if options["max_bad"] != options["max_bad"]:
        raise UserError("--max-bad nan is no share; expected a number from 0 to 1")
    told = {name: options[name] for name in ("judged", "outside", "review_out")}
    session.check_reporting(found, **_limit(options), **told)


def _report(found: Any, options: dict[str, Any], made: Any) -> int:
    from zsbench.leakage import limits, session
    from zsbench.reports import leakage as pages

    limit = {**_limit(options), "require_precision": options["require_precision"]}
    command = shlex.join(["zsbench", *sys.argv[1:]])
    told = {name: options[name] for name in ("max_bad", "judged", "outside", "review_out")}
    reports = session.reports(found, options["out"], command=command, made=made, limit=limit, **told)
    written = pages.write(reports, options["out"])
    if options["as_json"]:
        click.echo((options["out"] / "leakage.json").read_text(encoding="utf-8"), nl=False)
    else:
        for report in reports:
            click.echo(pages.text(report, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
        if options["review_out"]:
            out = options["review_out"]
            click.echo(f"\n{out}: judge the columns named and shown (1, 0 or ?), save it as CSV, then --review {out}")
        click.echo(f"\n{written[-1]}")
    return limits.overall([report["exit"] for report in reports])


def _limit(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("fail_over", "fail_on")}


def _purge(found: Any, options: dict[str, Any]) -> None:
    from zsbench.leakage import session

    out = options["purge_out"] or options["out"] / "purged"
    for line in session.purge(found, out, options["purge"], shlex.join(["zsbench", *sys.argv[1:]])):
        click.echo(line, err=options["as_json"])


@click.group("lexicon")
def lexicon() -> None:
    """The words that name a class: see the shipped ones, or draft a file for your own classes."""


@lexicon.command("show")
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Of a split: the seen classes too.")
@click.option("--level", type=click.IntRange(0, 4), default=4, show_default=True, help="Forms up to this level.")
@click.option("--class", "only", multiple=True, help="Only these classes; repeatable.")
@click.option("--toml", is_flag=True, help="As a file to edit and give to --lexicon.")
def lexicon_show(name: str, everything: bool, level: int, only: tuple[str, ...], toml: bool) -> None:
    """The words of a split (its unseen classes), of a data set's classes (voc2012 …), or of a file."""
    from zsbench.leakage.show import show

    click.echo(show(name, scope="all" if everything else "unseen", level=level, only=only, toml=toml))


@lexicon.command("make")
@click.argument("classes", type=FILE)
@click.option("--out", type=FILE, help="File to write.  [default: CLASSES.toml beside it]")
def lexicon_make(classes: Path, out: Path | None) -> None:
    """Draft a lexicon from a file with one class per line; read it, mend it, and set `confirmed = true`."""
    from zsbench.leakage.draft import make

    click.echo(make(classes, out))
