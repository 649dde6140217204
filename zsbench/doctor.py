"""`zsbench doctor`: what this machine offers, what is missing, and the command that mends it.

One probe, one line or a few; a probe that fails in a way nobody foresaw is a line too, never a traceback. Nothing is
downloaded, drawn or written, and of the data only lists and file names are looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from zsbench.errors import UserError

PYTHON = (3, 11)
TORCH = ((2, 11), (2, 15))  # oldest and newest that the tests run on
TOOLS = {
    "git": "records name the source revision",
    "torchrun": "data parallel training",
    "make": "make demo, make test",
}
GIB = 2**30
ROOM = 2  # GiB; a run on drawn scenes needs 0.2


def diagnose(data: Path | None = None) -> Iterator[str]:
    """Lines "ok   …" and "--   … (mend: …)"; `data` is the folder of `--data` or `ZSBENCH_DATA`."""
    probes: dict[str, Callable[[], Iterator[str]]] = {
        "Python": _python,
        "packages": _packages,
        "torch": _torch,
        "processor": _processor,
        "GPU": _gpus,
        "cache": _cache,
        "drawn scenes": _scenes,
        "real data": lambda: _real(data),
        "tools": _tools,
    }
    for name, probe in probes.items():
        try:
            yield from probe()
        except Exception as error:  # a broken installation can raise anything, and that is what is asked here
            yield _lacks(
                f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", REINSTALL
            )


REINSTALL = f"{sys.executable} -m pip install --force-reinstall zsbench"


def _has(text: str) -> str:
    return f"ok   {text}"


def _lacks(text: str, mend: str) -> str:
    return f"--   {text}  (mend: {mend})"


def _python() -> Iterator[str]:
    text = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    new = sys.version_info[:2] >= PYTHON
    yield _has(text) if new else _lacks(text, "python3.11 -m venv .venv, then install zsbench into it")


def _packages() -> Iterator[str]:
    """The packages that zsbench asks for; absent ones by name."""
    asked = [text for text in requires("zsbench") or () if "extra ==" not in text]
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in asked]
    absent = [name for name in names if _version(name) is None]
    if absent:
        yield _lacks(f"packages: no {', '.join(absent)}", f"{sys.executable} -m pip install {' '.join(absent)}")
    else:
        yield _has(f"packages: all {len(names)} that zsbench needs; open_clip {_version('open_clip_torch')}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch() -> Iterator[str]:
    import torch

    oldest, newest = TORCH
    text, own = f"torch {torch.__version__}", tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2])
    if oldest <= own <= newest:
        yield _has(text)
    else:
        span = f"{'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))}"
        wanted = f"torch>={'.'.join(map(str, oldest))},<{newest[0]}.{newest[1] + 1}"
        yield _lacks(f"{text} is not tested; {span} are", f"{sys.executable} -m pip install '{wanted}'")


def _processor() -> Iterator[str]:
    import torch

    from zsbench.device import pick_precision
    from zsbench.record import environment

    facts = environment()
    bf16 = "bf16" if pick_precision("auto", torch.device("cpu")) == "bf16" else "fp32 (no bf16 units)"
    yield _has(f"{facts['cpu']}: {facts['cores']} cores, {facts['threads']} threads, trains in {bf16}")


def _gpus() -> Iterator[str]:
    import torch

    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        yield _has(f"CUDA GPU {number}: {facts.name}, {facts.total_memory / GIB:.0f} GiB")
    if torch.backends.mps.is_available():
        yield _has("Apple GPU (mps)")
    elif not torch.cuda.device_count():
        yield _no_gpu(torch.version.cuda)


def _no_gpu(built_for: str | None) -> str:
    if shutil.which("nvidia-smi") is None:
        return _lacks(
            "no GPU: runs use the processor", "not needed for drawn scenes; for ViT-B/16 use a machine with one"
        )
    if built_for is None:
        return _lacks("an NVIDIA driver, but torch is built without CUDA", "https://pytorch.org/get-started/locally")
    return _lacks(
        f"an NVIDIA driver, but torch (CUDA {built_for}) finds no GPU", "nvidia-smi says whether the driver works"
    )


def _cache() -> Iterator[str]:
    from zsbench.data.scenes import cache_folder

    cache = cache_folder()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free / GIB
    text = f"cache {cache}: {free:.1f} GiB free"
    if not os.access(there, os.W_OK):
        yield _lacks(f"cache {cache} cannot be written", "export ZSBENCH_CACHE=/a/folder/of/yours")
    else:
        yield _has(text) if free > ROOM else _lacks(text, "free some space, or export ZSBENCH_CACHE=/a/larger/disk")


def _scenes() -> Iterator[str]:
    from zsbench.data.scenes import cache_folder, is_drawn

    drawn = [folder for folder in sorted(cache_folder().glob("scenes-*")) if is_drawn(folder)]
    for folder in drawn:
        yield _has(f"drawn scenes: {folder}")
    if not drawn:
        yield _lacks("drawn scenes: not drawn yet", "nothing to do, the first zsbench run draws them in half a minute")


def _real(data: Path | None) -> Iterator[str]:
    from zsbench.data.opening import survey

    if data is None:
        yield _lacks(
            "real data: none named", "export ZSBENCH_DATA=/path/to/VOCdevkit/VOC2012, or --data with each command"
        )
        return
    try:
        dataset, faults = survey(data)
    except UserError as error:
        mend = f"zsbench data check {data} with what is asked for, or export ZSBENCH_DATA=/path/to/VOCdevkit/VOC2012"
        yield _lacks(f"data: {error}", mend)
        return
    if faults:
        yield _lacks(f"data: {faults[0]} ({len(faults)} faults)", f"zsbench data check {data} lists them all")
        return
    lists = ", ".join(f"{part} {len(keys):,}" for part, keys in dataset.parts.items())
    yield _has(f"data: {dataset.origin.title} in {dataset.root}: {lists}; every pixel: zsbench data check {data}")
    yield from (_has(f"      note: {note}") for note in dataset.origin.notes)


def _tools() -> Iterator[str]:
    here = Path(sys.executable).parent
    for tool, use in TOOLS.items():
        found = shutil.which(tool) or shutil.which(tool, path=str(here))
        yield _has(f"{tool}: {found}") if found else _lacks(f"{tool}: not found ({use})", f"install {tool}")
