"""Errors that are for people: one sentence that says what is wrong, what was expected and the command that mends it.

The command line prints a `UserError` without a traceback and exits with 2; everything else is a defect of zsbench or of
a method and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

# Faults of the machine that are told in words; any other OSError is a defect and keeps its traceback.
EXPECTED = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "not a folder",
    errno.EEXIST: "is in the way",
    errno.ELOOP: "a loop of links",
    errno.ENAMETOOLONG: "is too long a name",
    errno.EISDIR: "is a folder, a file was expected",
}


class UserError(Exception):
    """A mistake in what was asked for or handed in (a name, a file, a folder): exit code 2, no traceback."""


def unknown(kind: str, name: str, known: Iterable[str], see: str = "") -> UserError:
    """An error for a name that does not exist, with the nearest right one.

    `kind` is the noun ("method"), `known` every right name, `see` the command that lists them.
    """
    known = list(known)
    near = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    right = next((k for k in known if near and k.lower() == near[0]), None)
    hint = f" Did you mean '{right}'?" if right else f" Known: {', '.join(known)}." if len(known) <= 12 else ""
    more = f"  All {kind}s: {see}" if see else ""
    return UserError(f"no {kind} named '{name}'.{hint}{more}")
