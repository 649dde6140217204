"""`zsbench published …`: numbers that papers print, and whether their arithmetic holds."""

from __future__ import annotations

import click

from zsbench.commands import Commands
from zsbench.errors import UserError


@click.group(cls=Commands)
def published() -> None:
    """Numbers that papers print."""


@published.command("check")
def check() -> None:
    """Test the arithmetic of every row: harmonic mean, composition of seen and unseen."""
    raise UserError("not implemented yet")
