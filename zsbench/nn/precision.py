"""Full precision whatever autocast says: joint distributions and logs of small numbers do not survive bf16."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Switches autocast off inside `function` and raises its half-precision tensor arguments to fp32; float64 stays."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(x.device.type for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(_raised, args), **{k: _raised(v) for k, v in kwargs.items()})

    return inside


def _raised(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16) else x
