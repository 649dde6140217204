"""The command line. Only click is imported here; each command imports what it needs, so that --help and list are instant.

Results go to standard output, progress to standard error. Exit codes: 0 done, 1 a run failed, 2 wrong usage.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from zsbench import __version__
from zsbench.cli_data import data
from zsbench.cli_data_options import data_option, hint_options, hints
from zsbench.cli_leakage import leakage_scan, lexicon
from zsbench.cli_published import published
from zsbench.cli_report import report
from zsbench.cli_score import score
from zsbench.commands import Commands

DEVICES = ["auto", "cpu", "cuda", "mps"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zsbench")
def main() -> None:
    """A benchmark and leakage audit for zero-shot semantic segmentation."""


for command in (score, report, published, leakage_scan, lexicon, data):
    main.add_command(command)

device_option = click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)


@main.command()
@click.option("--method", "-m", "methods", multiple=True, help="Name, or a file ./mine.py. Repeatable.")
@click.option(
    "--split",
    "-s",
    "splits",
    multiple=True,
    help="Name, a pattern over the published ones ('voc_k*'), a file ./mine.toml, or 'own' (of your own data). Repeatable."
    "  [default: voc5]",
)
@click.option("--seed", "seeds", type=click.IntRange(0, 2**31 - 1), multiple=True, help="Repeatable.  [default: 0]")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A method's field (zsbench show method NAME). Repeatable.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with these options: method, split, seed, data, captions, limit … and a table [set]; for studies a table"
    " [matrix] of lists, which are all combined, and entries [[run]] with method, set and matrix of their own.",
)
@click.option(
    "--captions",
    help="Corpus to train on: drawn arm (web, clean, pair_0.1 …), .tsv .csv .jsonl, COCO .json, tar shards, hf:NAME.",
)
@click.option(
    "--caption-images",
    type=click.Path(path_type=Path),
    help="Folder of the captions' images, where it is not beside the captions.",
)
@click.option(
    "--captions-policy",
    type=click.Choice(["as-is", "purge", "refuse"]),
    help="Captions that name unseen classes: train on them, leave them out, or stop.  [default: as-is]",
)
@click.option(
    "--lexicon",
    type=click.Path(path_type=Path),
    help="TOML file with words for the unseen classes, before those that zsbench knows.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Score only the first N validation images (marked limited, not for ranking).",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default=None,
    help="auto: bf16 where the hardware gains from it.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for runs.  [default: runs]")
@click.option("--force", is_flag=True, help="Run again although a finished record is there.")
@click.option("--checkpoint-seconds", type=click.FloatRange(min=0), help="Time between checkpoints.  [default: 30]")
@click.option(
    "--cache-features",
    type=click.FloatRange(min=0),
    metavar="GB",
    help="Keep image features of frozen encoders in OUT/features, at most so many GB.  [default: keep none]",
)
@click.option(
    "--save-predictions", is_flag=True, help="Keep the label map of every scored image (zsbench score reads them)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON lines.")
@data_option
@hint_options
@device_option
def run(**options: Any) -> None:
    """Train and evaluate methods on splits, one record per run. What is finished is shown, not repeated."""
    from zsbench import session
    from zsbench.settings import settings

    chosen = settings(options, Path(options["config"]) if options["config"] else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a batch system's goodbye: files close, resume works
    failed = session.run(chosen, shlex.join(["zsbench", *sys.argv[1:]]), print_json=options["as_json"])
    sys.exit(1 if failed else 0)


@main.command("list")
def list_() -> None:
    """All methods and splits."""
    from zsbench.method import list_methods
    from zsbench.split import list_splits

    methods = [(m.name, m.title, f"needs: {m.needs}" if m.needs else "") for m in list_methods().values()]
    splits = [(name, listing.title, listing.dataset) for name, listing in list_splits().items()]
    for heading, rows in (("methods", methods), ("splits", splits)):
        _table(heading, rows)


def _table(heading: str, rows: list[tuple[str, str, str]]) -> None:
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    for row in rows:
        line = f"{heading:<9} {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}"
        click.echo(line.rstrip())
        heading = ""


@main.group(cls=Commands)
def show() -> None:
    """One split or one method in full."""


@show.command("split")
@click.argument("name")
@data_option
@hint_options
def show_split(name: str, data: Path | None, data_kind: str | None, **told: Any) -> None:
    """Classes, background rule, training policy and source of a split; of 'own' with the --data it is made from."""
    from zsbench.split import OWN, describe, load_split

    if name == OWN and data is not None:
        from zsbench.data.opening import open_dataset
        from zsbench.data.own_split import split_for

        click.echo(describe(split_for(OWN, open_dataset(data, (OWN,), hints(told), data_kind))))
    else:
        click.echo(describe(load_split(name)))


@show.command("method")
@click.argument("name")
def show_method(name: str) -> None:
    """Supervision, fields with defaults, and departures from the paper."""
    from zsbench.config import describe
    from zsbench.method import load_method

    click.echo(describe(load_method(name)))


@main.command()
@click.argument("name")
@device_option
def check(name: str, device: str) -> None:
    """Does this method honour the contract? Half a minute on drawn scenes."""
    from zsbench.contract import check_method

    failures = 0
    for line in check_method(name, device):
        click.echo(line.text)
        failures += not line.good
    sys.exit(1 if failures else 0)


@main.command()
@data_option
def doctor(data: Path | None) -> None:
    """Environment, devices, data found, and the command that mends what is missing."""
    from zsbench.doctor import diagnose

    named = os.environ.get("ZSBENCH_DATA")
    for line in diagnose(data or (Path(named) if named else None)):
        click.echo(line)
