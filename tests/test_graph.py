"""Patches of label maps and their graph, by hand and against scipy's labelling of one image and class at a time."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from zsbench.nn.graph import GraphConvolution, GraphGenerator, Patches, patches, pool_nodes


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def maps(*pictures: str) -> torch.Tensor:
    """Digits are labels, a dot is 255; rows are split at spaces."""
    rows = [[[255 if c == "." else int(c) for c in row] for row in picture.split()] for picture in pictures]
    return torch.tensor(rows)


def edges(found: Patches) -> set[tuple[int, int]]:
    pairs = [tuple(pair) for pair in found.edges_2E.T.tolist()]
    assert len(pairs) == len(set(pairs))
    assert {(b, a) for a, b in pairs} == set(pairs)
    return {(a, b) for a, b in pairs if a < b}


def test_a_picture_by_hand():
    found = patches(maps("1122 1122 3332 4333"))
    assert found.map_Bhw.tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 1], [3, 2, 2, 2]]]
    assert found.labels_N.tolist() == [1, 2, 3, 4]
    assert found.images_N.tolist() == [0, 0, 0, 0]
    assert edges(found) == {(0, 1), (0, 2), (1, 2), (2, 3)}
    assert len(found) == 4
    assert found.map_Bhw.dtype == found.labels_N.dtype == found.edges_2E.dtype == torch.int64


def test_corners_connect_and_touch():
    same = patches(maps("15 51"))
    assert same.map_Bhw.tolist() == [[[0, 1], [1, 0]]]  # both labels join over their corner
    assert edges(same) == {(0, 1)}
    corner = patches(maps("1.. .2. ..3"))
    assert len(corner) == 3
    assert edges(corner) == {(0, 1), (1, 2)}
    rising = patches(maps("..1 .1. 2.."))
    assert rising.labels_N.tolist() == [1, 2]
    assert edges(rising) == {(0, 1)}


def test_images_never_connect():
    found = patches(maps("11 11", "11 11", "12 12"))
    assert found.images_N.tolist() == [0, 1, 2, 2]
    assert found.labels_N.tolist() == [1, 1, 1, 2]
    assert edges(found) == {(2, 3)}


def test_ignored_places_are_no_nodes_and_no_bridge():
    found = patches(maps("1.1 1.2 ..."))
    assert found.map_Bhw.tolist() == [[[0, -1, 1], [0, -1, 2], [-1, -1, -1]]]
    assert edges(found) == {(1, 2)}
    empty = patches(maps(".. .."))
    assert len(empty) == 0
    assert empty.edges_2E.shape == (2, 0)
    assert (empty.map_Bhw == -1).all()


def test_single_places():
    found = patches(maps("12 34"))
    assert len(found) == 4
    assert edges(found) == {(a, b) for a in range(4) for b in range(a + 1, 4)}
    assert len(patches(maps("7"))) == 1


@pytest.mark.parametrize("seed", range(6))
def test_equals_scipys_labelling_one_by_one(seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2 + seed, (3, 9, 14))
    labels[random.random(labels.shape) < 0.2] = 255
    found = patches(torch.from_numpy(labels))
    nodes = found.map_Bhw.numpy()
    expected: set[frozenset[tuple[int, ...]]] = set()
    for image, label in ((i, c) for i in range(3) for c in np.unique(labels) if c != 255):
        numbered, count = scipy.ndimage.label(labels[image] == label, np.ones((3, 3)))
        expected |= {frozenset((image, *p) for p in np.argwhere(numbered == k).tolist()) for k in range(1, count + 1)}
    members = [np.argwhere(nodes == node).tolist() for node in range(len(found))]
    assert {frozenset(map(tuple, places)) for places in members} == expected
    assert len(members) == len(expected)
    assert ((nodes == -1) == (labels == 255)).all()
    for node, places in enumerate(members):
        assert {labels[tuple(p)] for p in places} == {found.labels_N[node].item()}
        assert {p[0] for p in places} == {found.images_N[node].item()}
    assert [places[0] for places in members] == sorted(places[0] for places in members)  # reading order
    assert edges(found) == touching_by_loops(nodes)


def touching_by_loops(nodes: np.ndarray) -> set[tuple[int, int]]:
    found = set()
    for image, y, x in np.ndindex(nodes.shape):
        window = nodes[image, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        found |= {(nodes[image, y, x].item(), other) for other in window.ravel().tolist()}
    return {(a, b) for a, b in found if 0 <= a < b}


def test_pooled_features_are_means():
    labels = torch.randint(0, 3, (2, 6, 7))
    labels[0, :2] = 255
    found = patches(labels)
    features = torch.randn(2, 4, 6, 7).requires_grad_()
    pooled = pool_nodes(features, found)
    assert pooled.shape == (len(found), 4)
    for node in range(len(found)):
        inside = features.movedim(1, -1)[found.map_Bhw == node]
        torch.testing.assert_close(pooled[node], inside.mean(0))
    pooled.sum().backward()
    assert (features.grad[0, :, :2] == 0).all()
    assert (features.grad[1] > 0).all()
    assert pool_nodes(features, patches(torch.full((2, 6, 7), 255))).shape == (0, 4)


def test_neighbours_sum_as_a_dense_adjacency_does():
    found = patches(torch.randint(0, 3, (2, 8, 8)))
    layer = GraphConvolution(5, 3).double()
    x = torch.randn(len(found), 5, dtype=torch.float64)
    dense = torch.zeros(len(found), len(found), dtype=torch.float64)
    dense[found.edges_2E[1], found.edges_2E[0]] = 1
    assert torch.equal(dense, dense.T)
    assert dense.diagonal().sum() == 0
    expected = x @ layer.own.weight.T + dense @ x @ layer.near.weight.T + 0.01
    torch.testing.assert_close(layer(x, found.edges_2E), expected)


def test_an_isolated_node_is_its_own_linear_layer():
    found = patches(maps("11 11"))
    layer = GraphConvolution(5, 3)
    x = torch.randn(1, 5)
    torch.testing.assert_close(layer(x, found.edges_2E), x @ layer.own.weight.T + 0.01)


def test_generator_layers_and_reach():
    """Four patches in a row: two steps reach the second neighbour and not the third."""
    generator = GraphGenerator(6, 4, hidden=16).eval()
    assert generator.first.own.weight.shape == (16, 12)
    assert all((part.own.bias == 0.01).all() for part in (generator.first, generator.second))
    limit = (6 / (12 + 16)) ** 0.5
    assert 0.9 * limit < generator.first.near.weight.abs().max() <= limit
    row = patches(maps("1234")).edges_2E

    def features(vectors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return generator(vectors, row)

    vectors = torch.randn(4, 6)
    changed = vectors.clone()
    changed[3] += 1
    moved = (features(changed) - features(vectors)).abs().amax(1)
    assert features(vectors).shape == (4, 4)
    assert moved[0] == 0
    assert (moved[1:] > 1e-4).all()


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_noise_and_dropout(noise):
    generator = GraphGenerator(300, 8, noise=noise).eval()
    seen = []
    generator.first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    vectors, none = torch.randn(50, 300), torch.zeros(2, 0, dtype=torch.int64)
    assert not torch.equal(generator(vectors, none), generator(vectors, none))
    assert torch.equal(seen[0][:, :300], vectors)
    drawn = seen[0][:, 300:]
    assert (drawn.min() < 0) == (noise == "normal")
    assert drawn.mean().item() == pytest.approx(0 if noise == "normal" else 0.5, abs=0.05)
    torch.manual_seed(1)
    used = generator(vectors, none)
    torch.manual_seed(1)
    assert not torch.equal(generator.train()(vectors, none), used)


def test_the_graph_generator_learns_from_its_neighbours():
    """The target of a node is the sum of its neighbours' vectors: a generator without edges cannot know it."""
    found = patches(torch.randint(0, 3, (4, 8, 8)))
    vectors = torch.randn(3, 5)[found.labels_N] + 0.1 * torch.randn(len(found), 5)
    target = torch.zeros_like(vectors).index_add(0, found.edges_2E[1], vectors[found.edges_2E[0]])
    losses = {}
    for name, given in {"edges": found.edges_2E, "none": found.edges_2E[:, :0]}.items():
        torch.manual_seed(0)
        generator = GraphGenerator(5, 5, hidden=64).eval()
        optimiser = torch.optim.Adam(generator.parameters(), 1e-2)
        for _ in range(150):
            optimiser.zero_grad()
            loss = (generator(vectors, given) - target).square().mean()
            loss.backward()
            optimiser.step()
        losses[name] = loss.item() / target.var().item()
    assert losses["edges"] < 0.5 * losses["none"]
