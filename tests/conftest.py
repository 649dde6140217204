"""What all tests share: a few drawn scenes, an empty cache, and real data where the machine has some."""

from __future__ import annotations

from pathlib import Path

import pytest

from zsbench.data.scenes import draw
from zsbench.data.voc import VocDataset, open_voc

REAL = Path(__file__).parents[2] / "shared/data"


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads the user's data or writes into the user's cache. Returns the cache of this test."""
    cache = tmp_path_factory.mktemp("cache") / "zsbench"
    monkeypatch.setenv("ZSBENCH_CACHE", str(cache))
    monkeypatch.delenv("ZSBENCH_DATA", raising=False)
    return cache


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of drawn scenes; every unseen class of voc5 occurs in val. Read only."""
    folder = tmp_path_factory.mktemp("scenes") / "drawn"
    draw(folder, captioned=64, train=120, val=60, arms=("web", "clean"), progress=False)
    return folder


@pytest.fixture(scope="session")
def dataset(scenes: Path) -> VocDataset:
    return open_voc(scenes)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real samples; skips where there are none."""
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    return REAL
