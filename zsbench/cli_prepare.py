"""`zsbench data prepare`: official archives, given as local files, into the layout that the readers know."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ARCHIVE…")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the data; made where it is not."
)
@click.option("--as", "data", metavar="DATA", help="Refuse what is no part of voc2012, context or cocostuff.")
@click.option("--list", "dry", is_flag=True, help="Say what would be written, and write nothing.")
def prepare(archives: tuple[Path, ...], out: Path, data: str | None, dry: bool) -> None:
    """Unpack official archives (local files) into a data folder; resumable and verified.

    \b
    PASCAL VOC 2012   VOCtrainval_11-May-2012.tar, benchmark.tgz (SBD)
    PASCAL Context    VOCtrainval_03-May-2010.tar, trainval.tar.gz, trainval_merged.json, class files and image lists
    COCO-Stuff 164k   train2017.zip, val2017.zip, stuffthingmaps_trainval2017.zip
    COCO-Stuff 10k    cocostuff-10k-v1.1.zip or v1.0

    An archive is known by what it holds, whatever its name. What is there already is not written again, so that the same
    command goes on where it was stopped. Nothing is downloaded.
    """
    from zsbench.prepare.session import prepare as go

    for line in go(archives, out, data, dry):
        click.echo(line)
