"""Which device a run uses, and whether bf16 autocast gains there.

Chosen by what the hardware can do and not by timing it, so that the same machine always decides the same. Measured: see
`bench/precision.py`.
"""

from __future__ import annotations

import torch

from zsbench.errors import UserError


def pick_device(name: str) -> torch.device:
    """auto: CUDA, else Apple's GPU, else the CPU. A device that is asked for by name and absent is a `UserError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA GPU is available here; use --device cpu, or see: zsbench doctor")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: no Apple GPU is available here; use --device cpu")
    if name == "cuda":
        import os

        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> str:
    """auto: bf16 where matrix units take it natively (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX), else fp32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
