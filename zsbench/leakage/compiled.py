"""The decorator of compiled loops: numba, without Python's lock, kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """The function, compiled at its first call. Its machine code is cached beside it or in the user's cache.

    Where neither can be written (a read-only installation without a home), it is compiled anew in every process: that
    takes seconds, but works.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba's "no locator available"
        return njit(nogil=True)(function)
