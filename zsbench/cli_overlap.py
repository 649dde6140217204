"""`zsbench data overlap`: images that two lists or data sets share, by name and by looks."""

from __future__ import annotations

import click

from zsbench.errors import UserError


@click.command()
def overlap() -> None:
    """Find images that lists, folders and data sets share, by name and by perceptual hash."""
    raise UserError("not implemented yet")
