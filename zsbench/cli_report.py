"""`zsbench report`: runs as one HTML page and tables."""

from __future__ import annotations

from pathlib import Path

import click

from zsbench.errors import UserError

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, type=PATH)
@click.option(
    "--out", type=PATH, default=Path("report"), show_default=True, help="Folder for report.html and the CSV files."
)
@click.option(
    "--base",
    metavar="METHOD",
    help="What paired differences are taken against: a method, 'METHOD field=value', or a run's key.  [default: the best]",
)
@click.option("--csv", "csv", is_flag=True, help="Only the CSV files, no page.")
@click.option("--markdown", is_flag=True, help="Write the ranking tables as report.md too.")
@click.option("--latex", is_flag=True, help="Write the ranking tables as report.tex too (booktabs).")
@click.option("--json", "json", is_flag=True, help="Write everything in the tables as report.json too.")
@click.option(
    "--diff", nargs=2, metavar="A B", help="Compare two runs (keys or folders) here in the terminal; no page."
)
def report(
    folders: tuple[Path, ...], out: Path, base: str | None, diff: tuple[str, str] | None, csv: bool, **formats: bool
) -> None:
    """Render runs and leakage reports as one HTML page and CSV files.

    FOLDERS hold runs and the reports of leakage scans.  [default: runs, and leakage where it is there]
    """
    roots = list(folders) or [Path("runs"), *(folder for folder in [Path("leakage")] if folder.is_dir())]
    if diff:
        if base or csv or any(formats.values()):
            raise UserError("--diff prints two runs here; leave out --base, --csv, --markdown, --latex and --json")
        from zsbench.reports.diff import diff as compare

        click.echo(compare(*diff, roots))
        return
    for root in roots:
        if not root.exists():
            raise UserError(f"no folder {root}; make runs first: zsbench run --method vilseg --split voc5")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; choose a folder")
    from zsbench.reports.page import write_report

    also = [name for name, wanted in formats.items() if wanted]
    written = write_report(roots, out, base, also, page=not csv)
    if not written.runs:
        where = f"what was found stands in {written.page}" if written.has_page else "what was found is listed above"
        raise UserError(f"no finished run in {', '.join(map(str, roots))}; {where}")
    click.echo(written.text)
