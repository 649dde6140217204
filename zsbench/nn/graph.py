"""Graph context of ZS3Net: the patches of a label map as nodes, features generated with a view of the patches around.

A node is a connected patch of one label (eight neighbours); an edge joins touching patches of different labels. The
paper's generator for PASCAL Context (Bucher et al., NeurIPS 2019, "GC") is two graph convolutions on such graphs.
What is known: nodes, edges (weight 1, not normalised, none to itself), the two layers and their widths. Departures: a
patch's real feature is the mean over the patch, where the code takes one seed pixel; and a node has a weight of its own
beside that of its neighbours (inferred), without which a patch that touches nothing would be generated from nothing.
Legend: B images, h w places, N nodes of all images, E directed edges, A width of class vectors, D width of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from zsbench.data.dataset import IGNORED
from zsbench.nn.generator import Noise
from zsbench.nn.precision import full_precision


@dataclass(frozen=True)
class Patches:
    """The patches of a batch of label maps, numbered from 0 in reading order, image by image; int64, on the maps' device."""

    map_Bhw: Tensor  # the patch of every place, -1 where the label is ignored
    labels_N: Tensor
    images_N: Tensor  # each patch's image in the batch
    edges_2E: Tensor  # (from, to), every touching pair in both directions, sorted

    def __len__(self) -> int:
        return len(self.labels_N)


def patches(labels_Bhw: Tensor) -> Patches:
    """Connected patches of equal label of all maps at once; places of 255 belong to none and connect nothing."""
    labels = labels_Bhw.cpu().numpy()
    flat = labels.ravel()
    pairs = _touching(labels.shape)
    pairs = pairs[:, (flat[pairs] != IGNORED).all(0)]
    same = flat[pairs[0]] == flat[pairs[1]]
    nodes, first = _numbered(_components(pairs[:, same], flat.size), flat != IGNORED)
    found = (nodes.reshape(labels.shape), flat[first], first // max(labels[0].size, 1), _unique(nodes[pairs[:, ~same]]))
    return Patches(*(torch.from_numpy(x.astype(np.int64)).to(labels_Bhw.device) for x in found))


def _touching(shape: tuple[int, ...]) -> np.ndarray:
    """All pairs of places of one image that share a side or a corner, once each, (2, pairs)."""
    place = np.arange(np.prod(shape)).reshape(shape)
    right, down = (place[:, :, :-1], place[:, :, 1:]), (place[:, :-1], place[:, 1:])
    falling, rising = (place[:, :-1, :-1], place[:, 1:, 1:]), (place[:, 1:, :-1], place[:, :-1, 1:])
    sides = zip(right, down, falling, rising, strict=True)
    return np.stack([np.concatenate([part.ravel() for part in side]) for side in sides])


def _components(pairs: np.ndarray, places: int) -> np.ndarray:
    """A number for every place, equal where a path of pairs joins two."""
    graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(places, places))
    return cast(np.ndarray, connected_components(graph, directed=False)[1])


def _numbered(components: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components renumbered by their first place, -1 where `counts` is false; and those first places."""
    nodes = np.full(components.size, -1)
    _, first, which = np.unique(components[counts], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    nodes[counts] = rank[which]
    return nodes, np.flatnonzero(counts)[np.sort(first)]


def _unique(pairs: np.ndarray) -> np.ndarray:
    return np.unique(np.concatenate([pairs, pairs[::-1]], 1), axis=1)


@full_precision
def pool_nodes(features_BDhw: Tensor, found: Patches) -> Tensor:
    """The mean feature of every patch, (N, D), on features of the maps' size."""
    D = features_BDhw.shape[1]
    nodes = found.map_Bhw.flatten()
    inside = nodes >= 0
    features = features_BDhw.movedim(1, -1).reshape(-1, D)[inside]
    sums = features.new_zeros(len(found), D).index_add(0, nodes[inside], features)
    return sums / torch.bincount(nodes[inside], minlength=len(found))[:, None]


class GraphConvolution(nn.Module):
    """y_i = W_own x_i + W_near Σ_j x_j + bias over the neighbours j of node i, (N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own, self.near = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)
        nn.init.xavier_uniform_(self.own.weight)
        nn.init.xavier_uniform_(self.near.weight)
        nn.init.constant_(self.own.bias, 0.01)

    def forward(self, x_NA: Tensor, edges_2E: Tensor) -> Tensor:
        sources, targets = edges_2E
        own, near = self.own(x_NA), self.near(x_NA)
        return cast(Tensor, own.index_add(0, targets, near[sources].to(own.dtype)))


class GraphGenerator(nn.Module):
    """Features of patches that see the patches they touch and, in the second step, those beyond."""

    def __init__(self, vector_width: int, feature_width: int, hidden: int = 256, noise: Noise = "uniform") -> None:
        super().__init__()
        self.noise = noise
        self.first = GraphConvolution(2 * vector_width, hidden)
        self.between = nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.5))
        self.second = GraphConvolution(hidden, feature_width)

    def forward(self, vectors_NA: Tensor, edges_2E: Tensor) -> Tensor:
        """(N, A) class vectors of the nodes -> (N, D) features, each node with noise of its own."""
        noise = torch.rand_like(vectors_NA) if self.noise == "uniform" else torch.randn_like(vectors_NA)
        x = self.between(self.first(torch.cat([vectors_NA, noise], -1), edges_2E))
        return cast(Tensor, self.second(x, edges_2E))
