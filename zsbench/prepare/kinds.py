"""The official archives that are known: how their contents tell them, and where each member that a layout needs goes.

A table and nothing else decides that: a rule has a pattern for a member's name, and a place below `--out` that is made of
the rule's own words and of the one plain file name that the pattern lets through. What no rule names is not unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zsbench.errors import UserError
from zsbench.prepare.archive import Archive, Member

VOC, CONTEXT, BIG, SMALL = "VOCdevkit/VOC2012", "VOCdevkit/VOC2010", "coco_stuff164k", "coco_stuff10k"
SBD = "benchmark_RELEASE/dataset"
MAIN, CONTEXT_LISTS = f"{CONTEXT}/ImageSets/Main", f"{CONTEXT}/ImageSets/SegmentationContext"
PHOTO, MASK, LIST = 2**26, 2**24, 2**24  # bytes of one file; the largest official ones have a tenth of that
_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)"


@dataclass(frozen=True)
class Rule:
    """Which members these are, and the place of each: `pattern` behind any folders, `place` with the groups filled in.

    official: how many there are in the official archive, where that is known; tells: whether an archive without them is
    another one.
    """

    what: str
    pattern: str
    place: str
    limit: int
    official: int | None = None
    tells: bool = True

    @property
    def folder(self) -> str:
        return self.place.rpartition("/")[0]


@dataclass(frozen=True)
class Kind:
    """data: which data sets it is a part of, as in --as; folder: what `zsbench data check` is then asked about."""

    name: str
    title: str
    data: tuple[str, ...]
    folder: str
    rules: tuple[Rule, ...]


KINDS = (
    Kind("VOCtrainval_11-May-2012.tar", "PASCAL VOC 2012", ("voc2012", "context"), VOC, (
        Rule("photographs", rf"VOC2012/JPEGImages/{_NAME}\.jpg", f"{VOC}/JPEGImages/{{name}}.jpg", PHOTO, 17_125),
        Rule("label maps", rf"VOC2012/SegmentationClass/{_NAME}\.png", f"{VOC}/SegmentationClass/{{name}}.png", MASK, 2_913),
        Rule("image lists", r"VOC2012/ImageSets/Segmentation/(?P<name>train|val|trainval)\.txt",
             f"{VOC}/ImageSets/Segmentation/{{name}}.txt", LIST, 3),
    )),
    Kind("VOCtrainval_03-May-2010.tar", "PASCAL VOC 2010: the photographs of PASCAL Context", ("context",), CONTEXT, (
        Rule("photographs", rf"VOC2010/JPEGImages/{_NAME}\.jpg", f"{CONTEXT}/JPEGImages/{{name}}.jpg", PHOTO),
        Rule("image lists", r"VOC2010/ImageSets/Main/(?P<name>train|val)\.txt", f"{MAIN}/{{name}}.txt", LIST, 2, False),
    )),
    Kind("benchmark.tgz", "SBD: more label maps for PASCAL VOC 2012", ("voc2012",), VOC, (
        Rule("label maps", rf"dataset/cls/{_NAME}\.mat", f"{SBD}/cls/{{name}}.mat", MASK, 11_355),
        Rule("image lists", r"dataset/(?P<name>train|val)\.txt", f"{SBD}/{{name}}.txt", LIST, 2),
    )),
    Kind("trainval.tar.gz", "PASCAL Context: label maps of 459 classes", ("context",), CONTEXT, (
        Rule("label maps", rf"trainval/{_NAME}\.mat", f"{CONTEXT}/trainval/{{name}}.mat", MASK, 10_103),
        Rule("class file", r"labels\.txt", f"{CONTEXT}/labels.txt", LIST, 1, False),
    )),
    Kind("train2017.zip", "COCO 2017: photographs for training", ("cocostuff",), BIG, (
        Rule("photographs", rf"train2017/{_NAME}\.jpg", f"{BIG}/images/train2017/{{name}}.jpg", PHOTO, 118_287),
    )),
    Kind("val2017.zip", "COCO 2017: photographs for validation", ("cocostuff",), BIG, (
        Rule("photographs", rf"val2017/{_NAME}\.jpg", f"{BIG}/images/val2017/{{name}}.jpg", PHOTO, 5_000),
    )),
    Kind("stuffthingmaps_trainval2017.zip", "COCO-Stuff 164k: label maps", ("cocostuff",), BIG, (
        Rule("label maps for training", rf"train2017/{_NAME}\.png", f"{BIG}/annotations/train2017/{{name}}.png", MASK, 118_287,
             False),
        Rule("label maps for validation", rf"val2017/{_NAME}\.png", f"{BIG}/annotations/val2017/{{name}}.png", MASK, 5_000),
    )),
    Kind("cocostuff-10k-v1.1.zip", "COCO-Stuff 10k, version 1.0 or 1.1", ("cocostuff",), SMALL, (
        Rule("photographs", rf"images/{_NAME}\.jpg", f"{SMALL}/images/{{name}}.jpg", PHOTO, 10_000),
        Rule("label maps", rf"annotations/{_NAME}\.mat", f"{SMALL}/annotations/{{name}}.mat", MASK, 10_000),
        Rule("image lists", r"imageLists/(?P<name>train|test|all)\.txt", f"{SMALL}/imageLists/{{name}}.txt", LIST, 3, False),
        Rule("class file", r"cocostuff-labels\.txt", f"{SMALL}/cocostuff-labels.txt", LIST, 1, False),
    )),
)  # fmt: skip
DATA = tuple(dict.fromkeys(data for kind in KINDS for data in kind.data))


def recognise(archive: Archive) -> Kind:
    """Which archive this is by what it holds; its own name says nothing. Raises UserError with all that are known."""
    found: dict[str, set[str]] = {}
    for kind, rule, _, _ in _matches(archive.members, KINDS):
        found.setdefault(kind.name, set()).add(rule.what)
    whole = [
        kind
        for kind in KINDS
        if {rule.what for rule in kind.rules if rule.tells} <= found.get(kind.name, set()) and found
    ]
    if len(whole) == 1:
        return whole[0]
    names = ", ".join(member.name[:60] for member in archive.members[:3]) or "nothing"
    what = f"more than one archive ({', '.join(kind.name for kind in whole)})" if whole else "no archive that is known"
    raise UserError(f"{archive.file}: holds {what} ({names} …). Known: {known()}.")


def known() -> str:
    named = "; ".join(f"{kind.name} ({kind.title})" for kind in KINDS)
    return f"{named}; and for PASCAL Context trainval_merged.json, class files and lists train.txt, val.txt"


def chosen(archive: Archive, kind: Kind) -> Iterator[tuple[Rule, Member, str]]:
    """Every member that the layout needs, with its place below --out.

    Raises `UserError` where such a member is a link, is larger than such files are, or has the place of another.
    """
    taken: dict[str, str] = {}
    for _, rule, member, target in _matches(archive.members, (kind,)):
        if member.kind != "file":
            raise UserError(
                f"{archive.file}: {member.name} is a link or device where a file is needed. Nothing is unpacked."
            )
        if member.size > rule.limit:
            raise UserError(
                f"{archive.file}: {member.name} promises {member.size:,} bytes; such a file has at most {rule.limit:,}. "
                "Nothing is unpacked."
            )
        if target in taken:
            raise UserError(
                f"{archive.file}: {taken[target]} and {member.name} would be the same file {target}. Nothing is unpacked."
            )
        taken[target] = member.name
        yield rule, member, target


def _matches(members: Iterable[Member], kinds: tuple[Kind, ...]) -> Iterator[tuple[Kind, Rule, Member, str]]:
    compiled = [(kind, rule, re.compile(rf"(?:[^/]+/)*{rule.pattern}")) for kind in kinds for rule in kind.rules]
    for member in members:
        if member.kind == "folder":
            continue
        name = member.name.removeprefix("./")
        for kind, rule, pattern in compiled:
            if match := pattern.fullmatch(name):
                yield kind, rule, member, rule.place.format(**match.groupdict())
