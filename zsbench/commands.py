"""What all commands share: a user's mistake becomes one sentence and exit code 2, defects keep their traceback."""

from __future__ import annotations

import sys
from typing import Any

import click

from zsbench.errors import EXPECTED, UserError


class Commands(click.Group):
    """Turns a user's mistake into one sentence and exit code 2; defects keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise Refused(_visible(str(error))) from None
        except KeyboardInterrupt:
            click.echo("\nInterrupted. What is finished is kept; the same command goes on.", err=True)
            sys.exit(130)
        except OSError as error:
            if error.errno not in EXPECTED:
                raise
            raise Refused(
                f"{error.filename or 'writing'}: {EXPECTED[error.errno]}; nothing half-written is left"
            ) from None

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = super().get_command(ctx, name)
        if found is None and not name.startswith("-"):
            from zsbench.errors import unknown

            raise Refused(str(unknown("command", name, self.list_commands(ctx), "zsbench --help")))
        return found


def _visible(text: str) -> str:
    """A message whose names from outside can do nothing to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


class Refused(click.ClickException):
    exit_code = 2
