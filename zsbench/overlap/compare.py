"""What two lists share, and what one list holds twice: by name, and by looks under different names.

Choices: pictures of one name that do not look alike at all are told as such. Where the name means something only within
its data set (a number, img_01) it is then no shared image; a name of COCO or PASCAL VOC is believed against the pictures,
which may have been edited. Where pictures cannot decide (flat, unreadable, not at hand) the name does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal

from zsbench.overlap.ids import CERTAIN
from zsbench.overlap.looks import Look
from zsbench.overlap.near import Stack, matches, unlike
from zsbench.overlap.sources import ImageList, crossing

How = Literal["name", "exact", "near", "mirrored"]
MOST = 200_000  # pairs of a comparison that look alike; where there are more, counts are "at least"


@dataclass(frozen=True)
class Pair:
    """Two images that are one, or share a name. a, b: positions in the lists. distance: bits of 64.

    other: the name is the same, the pictures are not.
    """

    a: int
    b: int
    how: How = "name"
    distance: int | None = None
    alike: float | None = None
    other: bool = False


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two lists, or one with itself (a is b). named: equal names; seen: alike under different names.

    looked: how many images of a and of b were looked at. whole: False where more pairs look alike than are kept.
    """

    a: ImageList
    b: ImageList
    named: tuple[Pair, ...]
    seen: tuple[Pair, ...] = ()
    looked: tuple[int, int] = (0, 0)
    whole: bool = True

    @property
    def within(self) -> bool:
        return self.a is self.b

    @property
    def others(self) -> tuple[Pair, ...]:
        """Equal names of different pictures."""
        return tuple(pair for pair in self.named if pair.other)

    @cached_property
    def counted(self) -> tuple[Pair, ...]:
        """Equal names that mean equal images: all but those of different pictures, where the name is no proof."""
        return tuple(pair for pair in self.named if not pair.other or self._kinds(pair) & CERTAIN)

    @cached_property
    def found(self) -> tuple[int, int]:
        """How many images of a are in b, and of b in a, by name or by looks; within a list: how many are doubled."""
        pairs = (*self.counted, *self.seen)
        one, two = {self.a.ids[pair.a].key for pair in pairs}, {self.b.ids[pair.b].key for pair in pairs}
        return (len(one | two),) * 2 if self.within else (len(one), len(two))

    @cached_property
    def numbers(self) -> int:
        """Shared names that are mere numbers in one of the lists and that no picture confirms: they may be chance."""
        return sum("number" in self._kinds(pair) for pair in self.counted if not self._pictured(pair))

    @property
    def fault(self) -> tuple[int, int] | None:
        """(test images found in the training list, test images), where one list is for training and one for testing."""
        if self.within or (lists := crossing(self.a, self.b)) is None:
            return None
        return self.found[0 if lists[1] is self.a else 1], len(lists[1].first)

    def _kinds(self, pair: Pair) -> set[str]:
        return {self.a.ids[pair.a].kind, self.b.ids[pair.b].kind}

    def _pictured(self, pair: Pair) -> bool:
        return all(one.photos and one.photos[place] for one, place in ((self.a, pair.a), (self.b, pair.b)))


def compare(a: ImageList, b: ImageList, looks: Mapping[str, Look] | None = None) -> Comparison:
    """What `a` and `b` share, or where they are one object, what it holds twice.

    looks: place of a photograph -> its look; without them names alone are compared.
    """
    mine, theirs = _looks(a, looks or {}), _looks(b, looks or {})
    named = _marked(list(_named(a, b)), mine, theirs, a, b)
    pairs = (pair for pair in _seen(mine, theirs, a is b) if a.ids[pair.a].key != b.ids[pair.b].key)
    seen = list(islice(pairs, MOST + 1))
    kept = sorted(seen[:MOST], key=lambda pair: (pair.a, pair.b))
    return Comparison(a, b, tuple(named), tuple(kept), (len(mine), len(theirs)), len(seen) <= MOST)


def _named(a: ImageList, b: ImageList) -> Iterator[Pair]:
    for place, (key, _) in enumerate(a.ids):
        if a is b and not a.repeats and a.first[key] != place:
            yield Pair(a.first[key], place)
        elif a is not b and a.first[key] == place and key in b.first:
            yield Pair(place, b.first[key])


def _looks(one: ImageList, looks: Mapping[str, Look]) -> dict[int, Look]:
    return {place: looks[photo.place] for place, photo in one.pictured if photo.place in looks}


def _marked(
    named: Sequence[Pair], mine: Mapping[int, Look], theirs: Mapping[int, Look], a: ImageList, b: ImageList
) -> list[Pair]:
    """The pairs, with those marked whose pictures are surely different."""
    told = [i for i, pair in enumerate(named) if _decisive(mine.get(pair.a), theirs.get(pair.b))]
    if not told:
        return list(named)
    first, second = (Stack.of([mine[named[i].a] for i in told]), Stack.of([theirs[named[i].b] for i in told]))
    other = {i for i, apart in zip(told, unlike(first, second), strict=True) if apart}
    return [Pair(pair.a, pair.b, other=True) if i in other else pair for i, pair in enumerate(named)]


def _decisive(a: Look | None, b: Look | None) -> bool:
    """Whether two pictures can say that they are two."""
    return a is not None and b is not None and a.digest != b.digest and not a.flat and not b.flat


def _seen(mine: Mapping[int, Look], theirs: Mapping[int, Look], within: bool) -> Iterator[Pair]:
    """Pairs of pictures with equal pixels, then pairs that look alike."""
    left, right = _groups(mine), _groups(theirs)
    for digest in (digest for digest in left if digest in right):
        yield from _pairs(left[digest], right[digest], within, "exact", 0, 1.0)
    ours, others = (_telling(looks) for looks in (mine, theirs))
    if not ours or not others:
        return
    first, second = Stack.of(list(ours.values())), None if within else Stack.of(list(others.values()))
    one, two = list(ours), list(ours if within else others)
    for match in matches(first, second, MOST + 1 + len(mine)):  # of those with equal pixels each is met once more
        if one[match.a] != two[match.b]:
            how: How = "mirrored" if match.mirrored else "near"
            places = left[one[match.a]], right[two[match.b]]
            yield from _pairs(*places, within, how, match.distance, round(match.alike, 3))


def _groups(looks: Mapping[int, Look]) -> dict[bytes, list[int]]:
    """Digest -> positions of the pictures with these pixels."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, look in looks.items():
        groups[look.digest].append(place)
    return groups


def _telling(looks: Mapping[int, Look]) -> dict[bytes, Look]:
    """One look per digest, without flat pictures."""
    return {look.digest: look for look in looks.values() if not look.flat}


def _pairs(a: Iterable[int], b: Sequence[int], within: bool, how: How, distance: int, alike: float) -> Iterator[Pair]:
    for one in a:
        for two in b:
            if not within:
                yield Pair(one, two, how, distance, alike)
            elif (how == "exact" and one < two) or (how != "exact" and one != two):
                yield Pair(min(one, two), max(one, two), how, distance, alike)
