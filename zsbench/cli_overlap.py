"""`zsbench data overlap`: images that lists, folders and data sets share, by name and by looks.

Exit codes: 0 complete and under the limit, 1 a list is empty or a photograph could not be looked at, 2 wrong
usage, 3 over the limit.
"""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import click

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("lists", nargs=-1, required=True, metavar="A [B …]")
@click.option(
    "--hashes/--no-hashes",
    default=None,
    help="Look at the photographs, or compare names alone.  [default: look where any are at hand]",
)
@click.option(
    "--images", type=FILE, multiple=True, help="Folder where photographs of lists lie, found by name; repeatable."
)
@click.option("--as", "kind", metavar="KIND", help="How folders are read: voc2012 …, or images.  [default: found out]")
@click.option(
    "--fail-over", metavar="N|N%", help="Exit 3 if a training list holds more images of a test list than this."
)
@click.option("--out", type=FILE, help="Folder for overlap.json, pairs.csv and pairs.html; looks are kept there.")
@click.option("--jobs", "-j", type=click.IntRange(min=0), default=0, help="Threads.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of tables.")
def overlap(
    lists: tuple[str, ...],
    hashes: bool | None,
    images: tuple[Path, ...],
    kind: str | None,
    fail_over: str | None,
    out: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Find images that lists, folders and data sets share, by name and by perceptual hash.

    A is a list (.txt, .npy, COCO .json, .csv …), a folder of images, a data set, or one part of it (VOC2012:val).
    NAME=A calls it NAME. Lists with train in their name against lists with val or test: an overlap is a fault.
    """
    import json

    from zsbench.overlap import audit, files, opening, show

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if fail_over is not None:
        audit.parsed(fail_over)
    found = opening.open_lists(lists, kind, images)
    result = audit.audit(found, hashes, out / "looks.sqlite" if out else None, jobs)
    report = audit.told(result, fail_over, shlex.join(["zsbench", *sys.argv[1:]]))
    written = files.write(result, report, out) if out else []
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        click.echo(show.text(result, fail_over))
    for path in written:
        click.echo(path, err=as_json)
    sys.exit(report["exit"])
