"""The few collective operations data-parallel training needs, all of them the identity in a single process.

The convention: every rank computes the SAME loss of the global batch from gathered features. The backward of `gather`
and `sum_over_ranks` adds the ranks' gradients; each rank contributes an identical copy, so a rank's own rows get
`world()` times their gradient, and DistributedDataParallel's mean over ranks divides it away: the result is the
gradient one process gets on the whole batch. A loss that is a mean over a rank's own rows needs no gathering, DDP's
mean makes it global; a parameter used in the loss itself (the logit scale) has the same gradient on every rank, which
the mean leaves alone. All ranks hold equally many rows and call these functions in the same order.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 … world() - 1."""
    return dist.get_rank() if world() > 1 else 0


def gather(x: Tensor) -> Tensor:
    """All ranks' rows (same shape on each) concatenated in rank order, (world·B, …), with gradient."""
    return _Gather.apply(x) if world() > 1 else x


def sum_over_ranks(x: Tensor) -> Tensor:
    """Elementwise sum over the ranks, with gradient."""
    return _Sum.apply(x) if world() > 1 else x


def mean_over_ranks(x: Tensor) -> Tensor:
    """Elementwise mean over the ranks, without gradient: for meters and running centres."""
    return _reduced(x.detach()) / world()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _reduced(grad)[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _reduced(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _reduced(grad)


def _reduced(x: Tensor) -> Tensor:
    if world() == 1:
        return x
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def join(device: torch.device) -> None:
    """Joins the processes that torchrun started; does nothing without it. One hour of waiting is allowed: the first
    process evaluates alone while the others wait for the next run."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)  # collectives on objects use the current device
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(hours=1))


def agree(decision: bool) -> bool:
    """The first process's decision, on every process: what they look at on disk may change between their looks."""
    box = [decision]
    if world() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def same_buffers(learner: torch.nn.Module) -> None:
    """Every process takes the first one's buffers: each has gathered batch statistics of its own rows."""
    if world() > 1:
        for buffer in learner.buffers():
            dist.broadcast(buffer, 0)


def leave() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
