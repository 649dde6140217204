"""One k-means of tokens of many images, by scikit-learn: centres that all images of a data set share.

Which images and which of their tokens are looked at follows from the seed. Centres are kept in a file, so that a run that
was killed goes on with the same. One thread: scikit-learn adds its threads' sums in the order they come.
Legend: k clusters, D features, n tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zsbench import distributed
from zsbench.atomic import replacing
from zsbench.data.view import Items
from zsbench.errors import UserError
from zsbench.method import Job

BATCH = 4_096  # tokens that MiniBatchKMeans sees at once, at least
TOKENS_EACH = 10  # … and as many for every cluster, so that the first batch can found them all
REASSIGN = 0.01  # a centre with fewer than this share of the largest one's tokens starts anew


@dataclass(frozen=True)
class Sampled:
    """Which tokens are clustered and how. minibatch: in one pass, never more than a batch of tokens held at once; restarts
    and steps are of the clustering of the first batch, from which the others go on."""

    k: int
    images: int
    tokens: int
    restarts: int
    steps: int
    minibatch: bool = False


def fitted_centres(
    path: Path, items: Items, tokens_of: Callable[[Tensor], Tensor], sampled: Sampled, job: Job
) -> Tensor:
    """(k, D) centres: read from `path` when a run is gone on with, else fitted now and written there.

    tokens_of: images (1, 3, H, W) in [0, 1] on the job's device -> (n, D). Raises UserError for more clusters than tokens.
    """
    from safetensors.torch import load_file, save_file

    if not path.exists() and distributed.rank() == 0:
        fit = _minibatch if sampled.minibatch else _at_once
        centres = torch.from_numpy(fit(_tokens(items, tokens_of, sampled, job), sampled, job.seed))
        with replacing(path) as part:
            save_file({"centres": centres.float().contiguous()}, part)
    distributed.agree(True)  # the others wait, and take the very same centres
    return load_file(path)["centres"].to(job.device)


def _at_once(tokens: Iterator[np.ndarray], sampled: Sampled, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    tokens_nD = np.concatenate([*tokens])
    _refuse_few(len(tokens_nD), sampled)
    model = KMeans(
        sampled.k, n_init=sampled.restarts, max_iter=sampled.steps, random_state=seed, algorithm="lloyd", copy_x=False
    )
    with threadpool_limits(1):
        return np.asarray(model.fit(tokens_nD).cluster_centers_)


def _minibatch(tokens: Iterator[np.ndarray], sampled: Sampled, seed: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    batches = _batches(tokens, max(BATCH, TOKENS_EACH * sampled.k))
    first = next(batches, np.empty((0, 1), np.float32))
    start = _at_once(iter([first.copy()]), sampled, seed)  # `partial_fit` knows neither restarts nor steps
    model: Any = MiniBatchKMeans(sampled.k, init=start, n_init=1, reassignment_ratio=REASSIGN, random_state=seed)
    with threadpool_limits(1):
        for batch_nD in itertools.chain([first], batches):
            if len(batch_nD) >= sampled.k:  # of the last batch too little may be left
                model.partial_fit(batch_nD)
    return np.asarray(model.cluster_centers_)


def _refuse_few(count: int, sampled: Sampled) -> None:
    if count < sampled.k:
        raise UserError(
            f"k = {sampled.k}, but only {count} tokens to cluster: fewer clusters were expected, or more "
            "sample_images and sample_tokens"
        )


def _batches(tokens: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    for own_nD in tokens:
        held.append(own_nD)
        if sum(map(len, held)) >= size:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _tokens(items: Items, tokens_of: Callable[[Tensor], Tensor], sampled: Sampled, job: Job) -> Iterator[np.ndarray]:
    """Some tokens of some images, image by image."""
    places = np.random.default_rng(job.seed).permutation(len(items))[: sampled.images]
    for place in tqdm(places.tolist(), desc="tokens to cluster", unit="img", leave=False):
        image = torch.tensor(items.fetch([place])[0]).to(job.device)
        tokens_nD = tokens_of(image.permute(2, 0, 1)[None].float() / 255).float().cpu().numpy()
        yield tokens_nD[np.random.default_rng((job.seed, place)).permutation(len(tokens_nD))[: sampled.tokens]]
