"""`zsbench report`: runs as one HTML page and tables."""

from __future__ import annotations

from pathlib import Path

import click

from zsbench.errors import UserError


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for report.html and the numbers as CSV files.",
)
def report(folders: tuple[Path, ...], out: Path) -> None:
    """Render runs as one HTML page and CSV files."""
    from zsbench.reports.page import write_report

    roots = list(folders) or [Path("runs")]
    for root in roots:
        if not root.exists():
            raise UserError(f"no folder {root}; make runs first: zsbench run --method vilseg --split voc5")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; choose a folder")
    written = write_report(roots, out)
    if not written.runs:
        raise UserError(f"no finished run in {', '.join(map(str, roots))}; what was found stands in {written.page}")
    click.echo(written.text)
