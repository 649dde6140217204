"""The compiled loops work where their machine code cannot be kept."""

from __future__ import annotations

from typing import Any

import pytest

from zsbench.leakage import compiled as module


def test_without_a_place_for_the_cache_loops_are_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.njit

    def nowhere(**options: Any) -> Any:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'double': no locator available for file")
        return real(**options)

    monkeypatch.setattr(module, "njit", nowhere)
    assert module.compiled(lambda number: 2 * number)(21) == 42
