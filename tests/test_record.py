"""Records: strict JSON, whole or not there, and readable only if they are of this schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from zsbench import device as device_module
from zsbench import record as record_module
from zsbench.device import pick_device, pick_precision
from zsbench.errors import UserError
from zsbench.record import (
    SCHEMA,
    environment,
    file_hashes,
    git_revision,
    peak_memory,
    read_record,
    run_key,
    write_record,
)

FACTS: dict[str, Any] = {"seed": 0, "config": {"a": 1, "b": "ü"}, "data": ["x", None]}


def test_a_key_is_twelve_digits_over_content_and_not_over_order() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", run_key(FACTS))
    assert run_key(FACTS) == run_key({"data": ["x", None], "config": {"b": "ü", "a": 1}, "seed": 0})
    others = [FACTS | {"seed": 1}, FACTS | {"data": [None, "x"]}, FACTS | {"config": {"a": 1.5, "b": "ü"}}, {}]
    assert len({run_key(facts) for facts in (FACTS, *others)}) == 5


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_record(tmp_path, {"key": "k", "names": ["Straße"], "absent": None})
    assert path == tmp_path / "record.json"
    assert read_record(path) == {"schema": SCHEMA, "status": "done", "key": "k", "names": ["Straße"], "absent": None}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_is_no_strict_json_leaves_the_old_record(tmp_path: Path, value: object) -> None:
    write_record(tmp_path, {"key": "old"})
    with pytest.raises((ValueError, TypeError)):
        write_record(tmp_path, {"key": "new", "scores": {"miou": value}})
    assert read_record(tmp_path / "record.json")["key"] == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not a readable record"),
        (b"", "not a readable record"),
        (b"\xff\xfe", "not a readable record"),
        (b"[]", "schema list"),
        (b"{}", "schema None"),
        (b'{"schema": 99}', "schema 99, this zsbench reads 1; run it again with --force"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        read_record(tmp_path / "record.json")
    assert str(tmp_path / "record.json") in str(caught.value)


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"record\.json"):
        read_record(tmp_path / "record.json")


def test_the_environment_says_where_a_run_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = environment()
    assert {"python", "torch", "open_clip", "numpy", "platform", "cpu", "cores", "threads", "gpu", "git"} <= set(found)
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads() and found["processes"] == 3 and found["cpu"]
    assert all(found[name] for name in ("python", "torch", "open_clip", "numpy", "pillow"))
    json.dumps(found, allow_nan=False)


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert record_module._version("no-such-package-anywhere") is None


def test_outside_a_checkout_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zsbench").mkdir()
    monkeypatch.setattr(record_module, "__file__", str(tmp_path / "zsbench/record.py"))
    git_revision.cache_clear()
    assert git_revision() is None
    (tmp_path / ".git").mkdir()  # a checkout that git cannot read
    git_revision.cache_clear()
    assert git_revision() is None
    git_revision.cache_clear()


def test_peak_memory_is_in_bytes_and_never_falls() -> None:
    before = peak_memory()["host"]
    held = torch.ones(2**22)
    after = peak_memory()["host"]
    assert before and after and after >= before and held.numel()
    assert 50 * 2**20 < after < 2**40  # a process that has imported torch; kilobytes or pages would fall outside


# Devices


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert pick_device("auto") == torch.device("cuda", 2)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"--device {name}.*--device cpu"):
        pick_device(name)


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_where_the_processor_has_it(has: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_cpu_has_bf16", lambda: has)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has)
    for device in ("cpu", "cuda"):
        assert pick_precision("auto", torch.device(device)) == precision
        assert pick_precision("fp32", torch.device(device)) == "fp32"
    assert pick_precision("auto", torch.device("mps")) == "fp32"


def test_a_models_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config, weights = folder / "open_clip_config.json", folder / "open_clip_model.safetensors"
    asked = [{"encoder": f"local-dir:{folder}"}, {"pretrained": str(folder)}]
    assert all(file_hashes(config_) == {} for config_ in asked), "a folder without a model is no model"
    config.write_text("{}")
    found = []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        found.append([file_hashes(config_) for config_ in asked])
    assert found[0][0].keys() == {"encoder"} and found[0][1].keys() == {"pretrained"}
    assert found[0][0] != found[1][0] and found[0][1] != found[1][1]
