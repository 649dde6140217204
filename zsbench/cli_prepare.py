"""`zsbench data prepare`: official archives, given as local files, into the layout that the readers know."""

from __future__ import annotations

import click

from zsbench.errors import UserError


@click.command()
def prepare() -> None:
    """Unpack official archives (local files) into a data folder; resumable and verified."""
    raise UserError("not implemented yet")
