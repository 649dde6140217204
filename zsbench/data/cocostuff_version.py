"""Which ids the label maps of COCO-Stuff 10k hold: version 1.0 and 1.1 look alike and mean other classes by the same id.

Every file is asked: its own list of names (172 in v1.0, 182 in v1.1) and ids that only one version can have (v1.1: 0 and
those above 172; v1.0: an id of an empty class of v1.1). The answers must agree with each other, with a label file in the
folder and with what the user says. A folder that gives no answer is refused: a guess would score plausible wrong classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zsbench.data.class_file import ClassFile, outside, plain, read_class_file
from zsbench.data.cocostuff_ids import EMPTY, NAMES_182, VERSIONS
from zsbench.data.matlab import open_mat
from zsbench.data.universes import COCOSTUFF_171
from zsbench.errors import UserError

LABEL_FILES = ("cocostuff-labels.txt", "labels.txt", "labels_2.txt")
SAY = "Say which it is: --classes v1.0 or --classes v1.1, or --classes with the class file that came with them."
PROBED = 24  # files that are asked on opening, spread over the lists; all of them where these give no answer


class Evidence(NamedTuple):
    version: str
    where: Path | str
    why: str

    def __str__(self) -> str:
        return f"{self.where} ({self.why}: {self.version})"


def read_mat_ids(file: Path) -> tuple[np.ndarray, list[Evidence]]:
    """(H, W) uint8 ids as stored in a .mat file of COCO-Stuff 10k, and what tells its version."""
    mat = open_mat(file, "a label map of COCO-Stuff 10k, a MATLAB file with ids 0 to 182 in 'S'")
    stored = mat.label_map("S")
    ids = stored.astype(np.uint8)
    if not np.array_equal(ids, stored):
        raise UserError(f"{file}: S holds values that are no ids; expected whole numbers from 0 to 182.")
    names = mat.texts("names")
    told = [_named(file, names)] if names else []
    return ids, told + _by_ids(file, ids)


def _named(file: Path, names: Sequence[str]) -> Evidence:
    first = int(outside(names[0]))
    count = len(names) - first
    version = {len(COCOSTUFF_171): "v1.0", len(NAMES_182): "v1.1"}.get(count)
    if version is None:
        raise UserError(f"{file}: its list of names has {len(names)} rows; expected 172 (v1.0) or 182 (v1.1).")
    refuse_other_order(file, dict(enumerate(names[first:])), version)
    return Evidence(version, file, f"{len(names)} names")


def _by_ids(file: Path, ids: np.ndarray) -> list[Evidence]:
    values = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()
    only_new = [i for i in values if i == 0 or 172 < i <= 182]
    only_old = [i for i in values if i - 1 in EMPTY]
    told = [Evidence("v1.1", file, f"id {only_new[0]}")] if only_new else []
    return told + ([Evidence("v1.0", file, f"id {only_old[0]}")] if only_old else [])


def settle(
    files: Sequence[Path], label_file: Path | None, said: Path | None, folder: Path
) -> tuple[str | None, list[str]]:
    """The version of the .mat `files`, or None and the fault that says why it is not known."""
    told: list[Evidence] = []
    try:
        if said is not None:
            told.append(said_version(said))
        if label_file is not None:
            told.append(_of_class_file(label_file))
        told += _ask(files)
    except UserError as fault:
        return None, [str(fault)]
    versions = {evidence.version: evidence for evidence in reversed(told)}  # the first of each: names before ids
    if not versions:
        return None, [
            f"{folder}: COCO-Stuff 10k, but of version 1.0 or 1.1? No file lists its names, and their ids fit both. {SAY}"
        ]
    if len(versions) > 1:
        return None, [
            f"{folder}: label maps of both versions of COCO-Stuff 10k, or a class file of the other one: "
            f"{' but '.join(map(str, versions.values()))}. The same id means another class in each; keep one version's."
        ]
    return told[0].version, []


def _ask(files: Sequence[Path]) -> list[Evidence]:
    """What the files themselves say: a few spread over all, then one after the other until one says something."""
    few = files[:: max(1, len(files) // PROBED)]
    if told := [evidence for file in few for evidence in read_mat_ids(file)[1]]:
        return told
    return next((told for file in files if (told := read_mat_ids(file)[1])), [])


def said_version(said: Path) -> Evidence:
    """What the user says: the version in a word, or a class file."""
    word = said.name.lower().removeprefix("v")
    if f"v{word}" in VERSIONS and not said.is_file():
        return Evidence(f"v{word}", f"--classes {said}", "said")
    return _of_class_file(said)


def _of_class_file(file: Path) -> Evidence:
    told = read_class_file(file)
    names = _classes(told)
    version = {len(COCOSTUFF_171): "v1.0", len(NAMES_182): "v1.1"}.get(len(names))
    if version is None:
        raise UserError(f"{file}: {len(names)} classes; expected 171 (version 1.0) or 182 (version 1.1).")
    first = {"v1.0": (1, 2), "v1.1": (1,)}[version]  # v1.0 counts "unlabeled" as 1; a list of names may count it as 0
    if min(names) not in first and not told.open:
        raise UserError(f"{file}: its ids start at {min(names)}; in label maps of {version} at {first[-1]}.")
    refuse_other_order(file, {i - min(names): name for i, name in names.items()}, version)
    return Evidence(version, file, f"{len(names)} classes")


def agree_164k(file: Path, train_ids: bool) -> str | None:
    """The fault of a class file beside 164k label maps: its rows must be the ids as stored, or those plus one.

    183 rows start with "unlabeled" and count it as 0: row = id + 1, a trap for whoever reads label maps by row.
    """
    try:
        told = read_class_file(file)
        names = _classes(told)
        if len(names) == len(COCOSTUFF_171) and train_ids and min(names) == 0:
            refuse_other_order(file, names, "v1.0")
            return None
        if len(names) != len(NAMES_182):
            return (
                f"{file}: {len(names)} classes; the label file of COCO-Stuff has 182, and a row for unlabelled pixels."
            )
        rest = len(told.names) - len(names)
        if min(names) != rest:
            return (
                f"{file}: its ids start at {min(names)} and it has {len(told.names)} rows. Label maps of COCO-Stuff 164k "
                "start at 0 (182 rows); a file of 183 rows counts 'unlabeled' as 0 and is one more. Mixing the two "
                "shifts every class: take the file that came with the label maps, or remove this one."
            )
        refuse_other_order(file, {i - rest: name for i, name in names.items()}, "v1.1")
    except UserError as fault:
        return str(fault)
    return None


def _classes(told: ClassFile) -> dict[int, str]:
    return {i: name for i, name in told.names.items() if not outside(name)}


def refuse_other_order(file: Path, names: Mapping[int, str], version: str) -> None:
    """Raises UserError where a name is known to be another id's. names: by position, unlabelled left out.

    Spellings that nobody knows are let pass: the files' own differ (door-things, hairbrush).
    """
    right = COCOSTUFF_171 if version == "v1.0" else NAMES_182
    places: dict[str, set[int]] = {}
    for position, name in enumerate(right):
        places.setdefault(_bare(name), set()).add(position)
    for position, name in sorted(names.items()):
        known = places.get(_bare(name))
        if known and position not in known:
            expected = right[position] if position < len(right) else "nothing"
            raise UserError(
                f"{file}: class {position + 1} is '{name}'; in COCO-Stuff's own order it is '{expected}'. "
                "Ids in another order cannot be read."
            )


def _bare(name: str) -> str:
    return plain(name).removesuffix("stuff").removesuffix("things")
