"""RunRecord: one JSON file per run, written last and by rename, so that if it is there the run is whole."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zsbench.atomic import write_json
from zsbench.errors import UserError

SCHEMA = 1
FILE = "record.json"
MODEL_FOLDER, MODEL_CONFIG = "local-dir:", "open_clip_config.json"  # how open_clip names a model in a folder


def run_key(facts: dict[str, Any]) -> str:
    """12 hex digits over everything that decides a run's numbers (config, split, seed, data, limit, device, versions)."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache
def code_sha256() -> str:
    """Hash of the harness's source that numbers pass through: a cached result never outlives the code that made it.

    Left out: methods (each run hashes its own), reports, and what only talks to the user.
    """
    here = Path(__file__).resolve().parent
    talk = {
        "commands.py",
        "session.py",
        "settings.py",
        "study.py",
        "doctor.py",
        "contract.py",
        "trial.py",
        "__main__.py",
    }
    files = [*here.glob("*.py"), *here.glob("data/*.py"), *here.glob("nn/*.py")]
    whole = hashlib.sha256()
    for file in sorted(file for file in files if file.name not in talk and not file.name.startswith("cli")):
        whole.update(file.relative_to(here).as_posix().encode() + file.read_bytes())
    return whole.hexdigest()


def file_hashes(config: dict[str, Any]) -> dict[str, str]:
    """Hashes of the files that a configuration names, whatever their suffix, and of the folders that hold a model."""
    named = {
        n: Path(v.removeprefix(MODEL_FOLDER)) for n, v in config.items() if isinstance(v, str) and v and "\0" not in v
    }
    files = {name: _file_sha256(path) for name, path in named.items() if _is_file(path)}
    models = {name: path for name, path in named.items() if name not in files and _is_file(path / MODEL_CONFIG)}
    return files | {name: _folder_sha256(path) for name, path in models.items()}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long to be a name
        return False


def _folder_sha256(folder: Path) -> str:
    """Of the names and contents of the files that lie in it."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256("".join(f"{path.name} {_file_sha256(path)}\n" for path in files).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    write_json(folder / FILE, {"schema": SCHEMA, "status": "done"} | record)
    return folder / FILE


def read_record(path: Path) -> dict[str, Any]:
    """A record of this schema. Raises UserError that says what is wrong with any other file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a readable record ({error}); run it again with --force") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise UserError(f"{path} has record schema {found}, this zsbench reads {SCHEMA}; run it again with --force")
    return record


def environment() -> dict[str, Any]:
    """Where a run happened: versions, processor, threads, GPU, source revision."""
    import torch

    return {
        "python": platform.python_version(),
        **{name: _version(package) for name, package in _PACKAGES.items()},
        "platform": platform.platform(terse=True),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git": git_revision(),
    }


_PACKAGES = {"torch": "torch", "open_clip": "open_clip_torch", "timm": "timm", "numpy": "numpy", "pillow": "pillow"}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@lru_cache
def git_revision() -> str | None:
    """Revision of the checkout that zsbench runs from, "+changes" if it is edited; None for an installed package."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(here), "describe", "--always", "--dirty=+changes", "--exclude=*"]
        return subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory() -> dict[str, int | None]:
    """Bytes of this process (host) and of PyTorch on the GPU, at their highest so far."""
    import torch

    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    try:
        import resource

        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:  # Windows
        host = None
    return {"host": host, "gpu": gpu}
