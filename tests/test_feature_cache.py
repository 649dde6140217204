"""The feature cache: the same to the bit, bounded, and no file of it is ever trusted unseen."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zsbench.nn import feature_cache
from zsbench.nn.feature_cache import FeatureCache, load, save, used

MUCH = 1 << 30


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def features(seed: int = 0, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(seed)).to(kind)


def never() -> Tensor:
    raise AssertionError("made although it is there")


def entry(folder: Path) -> Path:
    [file] = folder.glob("*.npy")
    return file


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_what_is_read_is_what_was_made(tmp_path: Path, kind: torch.dtype) -> None:
    cache, made = FeatureCache(tmp_path, MUCH), features(kind=kind)
    first, again = cache.get_or_make(key("a"), lambda: made), cache.get_or_make(key("a"), never)
    assert again.dtype == kind and torch.equal(first, made) and torch.equal(again, made)
    assert torch.equal(FeatureCache(tmp_path, 0).get_or_make(key("a"), never), made), "another start, and no room left"


def test_views_and_gradients_are_kept_as_plain_values(tmp_path: Path) -> None:
    odd = torch.randn(4, 6, requires_grad=True).T[::2]
    kept = FeatureCache(tmp_path, MUCH).get_or_make(key("a"), lambda: odd)
    read = load(tmp_path, key("a"))
    assert read is not None and torch.equal(read, odd) and not kept.requires_grad and not read.requires_grad


def test_writing_into_what_was_read_does_not_reach_the_file(tmp_path: Path) -> None:
    save(tmp_path, key("a"), features())
    read = load(tmp_path, key("a"))
    assert read is not None
    read.zero_()
    assert torch.equal(FeatureCache(tmp_path, MUCH).get_or_make(key("a"), never), features())


def test_a_batch_makes_only_what_is_missing_and_keeps_the_order(tmp_path: Path) -> None:
    cache, rows, asked = FeatureCache(tmp_path, MUCH), torch.randn(5, 2, 3), []

    def make(positions: list[int]) -> Tensor:
        asked.append(positions)
        return rows[positions]

    keys = [key(str(number)) for number in range(5)]
    cache.batch([keys[1], keys[3]], lambda positions: rows[[1, 3]][positions])
    assert torch.equal(cache.batch(keys, make), rows) and asked == [[0, 2, 4]]
    assert torch.equal(cache.batch(keys[::-1], make), rows.flip(0)) and len(asked) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def cut_sum(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(4))  # the right sum of nothing


def bare_header(path: Path) -> None:
    start = b"\x93NUMPY\x01\x00"
    path.write_bytes(start + zlib.crc32(start).to_bytes(4, "little"))


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-30] ^= 1
    path.write_bytes(whole)


def reshape(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"(6, 3, 4)", b"(3, 6, 4)"))


def spoil_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"{'descr'", b"{{descr'"))


def smuggle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}) * 20)


def objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


def zipped(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


@pytest.mark.parametrize(
    "spoil",
    [cut, cut_header, cut_sum, empty, zeros, bare_header, flip, reshape, spoil_header, smuggle, objects, zipped],
)
def test_a_spoilt_entry_is_made_again(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    cache = FeatureCache(tmp_path, MUCH)
    cache.get_or_make(key("a"), features)
    spoil(entry(tmp_path))
    assert load(tmp_path, key("a")) is None
    assert torch.equal(cache.get_or_make(key("a"), features), features())
    assert torch.equal(cache.get_or_make(key("a"), never), features())


def test_the_limit_holds_and_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = features().numel() * 4
    cache = FeatureCache(tmp_path, 3 * size + 600)  # a file has a header of 128 bytes, too
    for number in range(6):
        made = cache.get_or_make(key(str(number)), lambda number=number: features(number))
        assert torch.equal(made, features(number)), "what is not kept is made all the same"
    told = capsys.readouterr().err
    assert len(list(tmp_path.glob("*.npy"))) == 3 and used(tmp_path) <= cache.limit_bytes
    assert told.count("\n") == 1 and "nothing more is kept" in told
    assert torch.equal(cache.get_or_make(key("2"), never), features(2)), "what is kept is still read"


def test_what_others_have_written_counts_too(tmp_path: Path) -> None:
    here, there = FeatureCache(tmp_path, 1000), FeatureCache(tmp_path, 1000)
    here.get_or_make(key("a"), features)
    there.get_or_make(key("b"), features)
    there.get_or_make(key("c"), features)
    assert used(tmp_path) <= 1000


def test_a_full_disk_stops_the_cache_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zsbench.atomic.os.fsync", full)
    cache = FeatureCache(tmp_path, MUCH)
    assert torch.equal(cache.get_or_make(key("a"), features), features())
    assert torch.equal(cache.get_or_make(key("b"), features), features())
    assert not list(tmp_path.iterdir()) and capsys.readouterr().err.count("No space left") == 1


@pytest.mark.parametrize(
    "name",
    ["../outside00000", "/tmp/abcdef123456", "abc", "", "ABCDEF123456", "abcdef12345g", "abcdef123456\n", "0" * 129],
)
def test_a_key_is_a_digest_and_nothing_else(tmp_path: Path, name: str) -> None:
    cache = FeatureCache(tmp_path / "features", MUCH)
    with pytest.raises(ValueError, match="hex digest"):
        cache.get_or_make(name, features)
    with pytest.raises(ValueError, match="hex digest"):
        save(tmp_path / "features", name, features())
    assert not list(tmp_path.rglob("*.npy"))


def test_keys_that_share_a_beginning_are_two(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, MUCH)
    for number, name in enumerate(("abcdef123456", "abcdef1234567", "abcdef123456a")):
        cache.get_or_make(name, lambda number=number: features(number))
    assert torch.equal(cache.get_or_make("abcdef123456", never), features(0))
    assert torch.equal(cache.get_or_make("abcdef123456a", never), features(2))


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from zsbench.nn.feature_cache import FeatureCache
if sys.argv[2] == "kill":
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FeatureCache(Path(sys.argv[1]), 1 << 30).get_or_make("0123456789ab", lambda: torch.arange(12.0).reshape(3, 4))
"""


def test_a_kill_before_the_rename_leaves_no_entry(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "kill"], check=False)
    assert died.returncode == -signal.SIGKILL
    [part] = tmp_path.iterdir()
    assert part.name.endswith(".part") and load(tmp_path, "0123456789ab") is None
    FeatureCache(tmp_path, MUCH)
    assert part.exists(), "it could be that of a living process"
    long_ago = time.time() - 2 * feature_cache.LEFTOVER
    os.utime(part, (long_ago, long_ago))
    made = FeatureCache(tmp_path, MUCH).get_or_make("0123456789ab", lambda: torch.arange(12.0).reshape(3, 4))
    assert not part.exists() and torch.equal(made, torch.arange(12.0).reshape(3, 4))


def test_threads_share_a_cache(tmp_path: Path) -> None:
    cache, wrong = FeatureCache(tmp_path, MUCH), []

    def work(start: int) -> None:
        for step in range(40):
            number = (start + step) % 10
            if not torch.equal(cache.get_or_make(key(str(number)), lambda n=number: features(n)), features(number)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(list(tmp_path.iterdir())) == 10


def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, MUCH)
    assert cache.get_or_make(key("a"), lambda: torch.empty(0, 4)).shape == (0, 4)
    assert not list(tmp_path.iterdir())
