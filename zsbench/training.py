"""The one training loop: device, mixed precision, accumulation, schedule, clipping, checkpoint, exact resume, torchrun.

Choices. A batch is a pure function of its step (`batch_at`), and the random state is set anew at every step from seed,
step and rank: so a run that was killed and started again walks through the same numbers, and the position of the sampler
is the step itself. A checkpoint is one safetensors file (tensors, and JSON in its header; no pickle), replaced by rename.
Under torchrun each process takes its rows of the same global batch; see `distributed.py` for why gradients agree.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from zsbench import distributed
from zsbench.atomic import replacing, write_json, write_text
from zsbench.errors import UserError
from zsbench.method import Job

Batch = Any


class TrainingFailed(RuntimeError):
    """Training cannot go on (the gradient is not finite); the last good checkpoint is kept."""


class Learner(Protocol):
    """An nn.Module that turns a batch into {"loss": scalar, meters…}; `after_step` may update teachers and centres."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]: ...

    def after_step(self, step: int, steps: int) -> None: ...


@dataclass(frozen=True)
class Recipe:
    """How to optimise. `batch` images a step over all processes, split into `accumulate` passes.

    lr climbs linearly for `warmup` steps and then falls to `lr * floor`: as a cosine, or "poly", as (1 - done)^0.9, the
    segmentation field's schedule. Weight decay spares biases and norms. momentum: SGD's; betas: AdamW's.
    scales: (prefix of parameter names, factor) pairs: parts of the model with a learning rate of their own.
    """

    steps: int
    batch: int
    lr: float
    weight_decay: float = 0.0
    warmup: int = 0
    floor: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    betas: tuple[float, float] = (0.9, 0.999)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "poly"] = "cosine"
    momentum: float = 0.9
    scales: tuple[tuple[str, float], ...] = ()
    log_every: int = 10

    def lr_at(self, step: int) -> float:
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        left = (1 - done) ** 0.9 if self.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * done))
        return self.lr * (self.floor + (1 - self.floor) * left)


@dataclass
class Progress:
    """How far training is, of how many steps; stored in the checkpoint's header."""

    step: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    last: dict[str, float] = field(default_factory=dict)


def train(
    learner: nn.Module,
    batch_at: Callable[[int, slice], Batch],
    recipe: Recipe,
    job: Job,
    *,
    stage: str = "train",
    in_order: bool = False,
) -> Progress:
    """Trains `learner` in place and returns how it went; a stage that is already finished only loads its weights.

    batch_at(pass, rows): the rows of global batch number `pass` (= step * accumulate + i); must depend on nothing else.
    in_order: batches come from a stream and must be asked for one after the other.
    Raises TrainingFailed for a loss that is not finite, UserError for a checkpoint of another model.
    """
    rows = _rows(recipe)
    learner.to(job.device)
    optimiser = _optimiser(learner, recipe)
    checkpoint = job.folder / f"{stage}.safetensors"
    progress = load_checkpoint(checkpoint, learner, optimiser, job.facts) if checkpoint.exists() else Progress()
    progress.steps = recipe.steps
    if progress.step >= recipe.steps:
        _summarise(job.folder, stage, progress)  # a kill may have come between the last checkpoint and this
        return progress
    curves = Curves(job.folder / "curves.jsonl", stage, progress.step)
    parallel = _parallel(learner, job.device)
    learner.train()
    with (
        _bar(recipe, progress, stage) as bar,
        _Batches(batch_at, rows, recipe, progress.step, job, in_order) as batches,
    ):
        clock = saved = time.perf_counter()
        for step in range(progress.step, recipe.steps):
            meters = _step(parallel, optimiser, recipe, job, step, batches)
            learner.after_step(step, recipe.steps)  # type: ignore[operator]
            now = time.perf_counter()
            progress.step, progress.images = step + 1, progress.images + recipe.batch
            progress.seconds, clock = progress.seconds + now - clock, now
            last = step + 1 == recipe.steps
            if last or step % recipe.log_every == 0:  # by step and not by clock: averaging needs every process
                progress.last = _numbers(meters)
                curves.add(step, recipe.lr_at(step), progress.last)
                bar.set_postfix_str(f"loss {progress.last['loss']:.3f}", refresh=False)
            if last or now - saved > job.save_seconds:
                save_checkpoint(checkpoint, learner, optimiser, progress, job.facts)
                saved = now
            bar.update()
    distributed.same_buffers(learner)
    _summarise(job.folder, stage, progress)
    return progress


def _rows(recipe: Recipe) -> slice:
    """This process's rows of every pass."""
    parts = recipe.accumulate * distributed.world()
    if recipe.batch % parts:
        raise UserError(f"batch {recipe.batch} does not divide into {parts} equal parts (accumulate × processes)")
    size = recipe.batch // parts
    return slice(distributed.rank() * size, (distributed.rank() + 1) * size)


def _optimiser(learner: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    groups = _groups(learner, recipe)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)


def _groups(learner: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """One group for every learning rate, with and without weight decay; `scale` multiplies the schedule's rate."""
    named = [(name, p) for name, p in learner.named_parameters() if p.requires_grad]
    groups = []
    for scale in dict.fromkeys([1.0, *(factor for _, factor in recipe.scales)]):
        own = [p for name, p in named if _scale(name, recipe) == scale]
        for decays in (True, False):
            params = [p for p in own if (p.ndim > 1) == decays]
            groups.append({"params": params, "weight_decay": recipe.weight_decay * decays, "scale": scale})
    return groups


def _scale(name: str, recipe: Recipe) -> float:
    return next((factor for prefix, factor in recipe.scales if name.startswith(prefix)), 1.0)


def _parallel(learner: nn.Module, device: torch.device) -> nn.Module:
    if distributed.world() == 1:
        return learner
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(learner, device_ids=ids, broadcast_buffers=False)


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, job: Job, step: int, batches: Iterator[Batch]
) -> dict[str, Tensor]:
    torch.manual_seed((job.seed * 1_000_003 + step) * 4099 + distributed.rank())
    for group in optimiser.param_groups:
        group["lr"] = recipe.lr_at(step) * group["scale"]
    optimiser.zero_grad(set_to_none=True)
    for _ in range(recipe.accumulate):
        with torch.autocast(job.device.type, torch.bfloat16, enabled=job.precision == "bf16"):
            meters: dict[str, Tensor] = model(next(batches))
        (meters["loss"] / recipe.accumulate).backward()
    weights = [p for group in optimiser.param_groups for p in group["params"]]
    gradient = nn.utils.clip_grad_norm_(weights, math.inf if recipe.clip is None else recipe.clip)
    if not bool(gradient.isfinite()):  # before the weights are touched, so that no checkpoint can hold nan
        loss = float(meters["loss"].detach())
        raise TrainingFailed(
            f"the gradient is {float(gradient)} at step {step} (loss {loss}); the last checkpoint is kept. "
            "A lower lr may help"
        )
    optimiser.step()
    return meters | {"gradient": gradient}


def _numbers(meters: dict[str, Tensor]) -> dict[str, float]:
    """Meters averaged over processes; a meter that is not finite is left out."""
    numbers = {name: float(distributed.mean_over_ranks(value.detach().float())) for name, value in meters.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _bar(recipe: Recipe, progress: Progress, stage: str) -> tqdm[Any]:
    bar = tqdm(
        total=recipe.steps, initial=progress.step, desc=stage, unit="img", unit_scale=recipe.batch, mininterval=0.5
    )
    bar.disable = bar.disable or distributed.rank() > 0
    return bar


class _Batches:
    """Batches in step order, prepared ahead by threads for CUDA (on a CPU they would take the model's own cores)."""

    def __init__(
        self, batch_at: Callable[[int, slice], Batch], rows: slice, recipe: Recipe, step: int, job: Job, in_order: bool
    ):
        self.make = lambda number: batch_at(number, rows)
        self.next, self.end = step * recipe.accumulate, recipe.steps * recipe.accumulate
        ahead = 4 if job.device.type == "cuda" else 0  # batches held ready; more would only take memory
        self.pool = ThreadPoolExecutor(1 if in_order else ahead) if ahead else None
        self.waiting: list[Future[Batch]] = []
        self.ahead = ahead

    def __enter__(self) -> _Batches:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> Batch:
        if self.pool is None:
            self.next += 1
            return self.make(self.next - 1)
        while len(self.waiting) <= self.ahead and self.next < self.end:
            self.waiting.append(self.pool.submit(self.make, self.next))
            self.next += 1
        return self.waiting.pop(0).result()


class Curves:
    """One JSON object per logged step in `curves.jsonl`. Lines of steps that will be walked again are dropped."""

    def __init__(self, path: Path, stage: str, step: int):
        self.path, self.stage = path, stage
        self.writes = distributed.rank() == 0
        if self.writes and path.exists():
            lines = [line for line in path.read_text().splitlines() if _keeps(line, stage, step)]
            write_text(path, "".join(line + "\n" for line in lines))

    def add(self, step: int, lr: float, numbers: dict[str, float]) -> None:
        if not self.writes:
            return
        row = {"stage": self.stage, "step": step, "lr": lr} | numbers
        with self.path.open("a") as file:
            file.write(
                json.dumps({k: round(v, 6) if isinstance(v, float) and k != "lr" else v for k, v in row.items()}) + "\n"
            )


def _keeps(line: str, stage: str, step: int) -> bool:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:  # the line that a kill cut short
        return False
    return row.get("stage") != stage or int(row["step"]) < step


def save_checkpoint(
    path: Path, learner: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress, facts: Mapping[str, Any]
) -> None:
    """Weights and optimiser as tensors; progress, and `facts` on split and data, as JSON in the file's header."""
    if distributed.rank() > 0:
        return
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value for name, value in learner.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    with replacing(path) as part:
        header = {"zsbench": json.dumps(vars(progress)), "facts": json.dumps(dict(facts))}
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part, header)


def load_checkpoint(
    path: Path,
    learner: nn.Module,
    optimiser: torch.optim.Optimizer | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    whole: bool = False,
) -> Progress:
    """Puts a checkpoint's weights into `learner` (and `optimiser`). whole: only of a training that has ended.

    Raises UserError when it belongs to another model, or to another split than `facts` names: it may have seen the
    masks of what is unseen here.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            progress, told = Progress(**json.loads(metadata["zsbench"])), json.loads(metadata.get("facts", "{}"))
            refuse_other_split(path, told, facts or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a zsbench checkpoint ({error}); {MEND}") from error
    if whole and progress.step < progress.steps:
        raise UserError(
            f"{path} is of a training that has not ended (step {progress.step} of {progress.steps}); {MEND}"
        )
    _load_model(path, learner, {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    if optimiser is not None:
        _load_optimiser(optimiser, tensors)
    return progress


MEND = "delete it to train anew, or, if a setting names it, leave that out"


def told_by(path: Path) -> dict[str, Any]:
    """What a checkpoint's header says it was trained on; empty for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get("facts", "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def refuse_other_split(path: Path, told: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises UserError where a checkpoint's header names another split than this run's, or none."""
    if told.get("split_fingerprint") == facts.get("split_fingerprint"):
        return
    more = [name for name in told.get("seen", []) if name not in facts.get("seen", [])]
    why = (
        f"it has seen masks of {', '.join(more)}, which are not seen here"
        if more
        else "it may have seen what is unseen here"
    )
    raise UserError(
        f"{path} was trained on {_split_words(told)}, this run is on {_split_words(facts)}: {why}. "
        "Take a checkpoint of this split, or leave it out to train one"
    )


def _split_words(facts: Mapping[str, Any]) -> str:
    return (
        f"split '{facts['split']}' ({facts['split_fingerprint']})" if facts.get("split") else "a split it does not name"
    )


def _load_model(path: Path, learner: nn.Module, state: dict[str, Tensor]) -> None:
    own = learner.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) + [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if wrong:
        raise UserError(
            f"{path} is the checkpoint of another model: {len(wrong)} tensors differ, first: {', '.join(wrong[:3])}. "
            "Use the configuration it was trained with, or delete it to train anew"
        )
    learner.load_state_dict(state)


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".")
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def _summarise(folder: Path, stage: str, progress: Progress) -> None:
    """`training.json`: what the record says of training, one entry per stage."""
    if distributed.rank() > 0:
        return
    path = folder / "training.json"
    stages = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, stages | {stage: vars(progress)})
