"""Canary: reads the masks before or between the moments a method is supposed to run: on import, when it is made and
asked what it needs, and from a thread that outlives `fit`."""

from __future__ import annotations

import importlib.util
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.data.view import TrainView
from zsbench.method import Job
from zsbench.supervision import Supervision

_spec = importlib.util.spec_from_file_location("canary_paths", Path(__file__).with_name("paths.py"))
assert _spec is not None and _spec.loader is not None
paths: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(paths)
ON_IMPORT = paths.Answers([])


@dataclass(frozen=True)
class Early:
    def __post_init__(self) -> None:
        ON_IMPORT.search()

    @property
    def supervision(self) -> Supervision:
        ON_IMPORT.search()
        return Supervision(masks="seen")

    def fit(self, data: TrainView, job: Job) -> Any:
        threading.Thread(target=self.later, daemon=True).start()
        return ON_IMPORT

    def later(self) -> None:
        end = time.monotonic() + 1
        while time.monotonic() < end and not ON_IMPORT.masks:
            ON_IMPORT.search()
