"""`zsbench score`: label maps that somebody else's code has made, scored under a split's protocol."""

from __future__ import annotations

from pathlib import Path

import click

from zsbench.errors import UserError


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
def score(predictions: Path) -> None:
    """Score label maps of any repository: PNG or .npy files, one per image."""
    raise UserError("not implemented yet")
