"""What `zsbench data prepare` does: everything is looked at before the first file is written, then unpacked and counted."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from zsbench.errors import UserError, unknown
from zsbench.prepare.archive import Member, open_archive
from zsbench.prepare.image_lists import write_cocostuff_lists, write_context_lists
from zsbench.prepare.journal import FOLDER, Journal
from zsbench.prepare.kinds import BIG, CONTEXT, CONTEXT_LISTS, DATA, SMALL, VOC, Rule, recognise
from zsbench.prepare.plain import DETAIL, recognise_plain
from zsbench.prepare.unpack import Item, Plan, plan, unpack

SPARE = 2**26  # bytes that are left free on the disk
# How it is known that what lies there is what the archive has.
COMPARED = {
    "zip": "checksums as in the archive",
    "file": "the same contents",
    "tar": "checksums as when unpacked",
    "tar.gz": "checksums as when unpacked",
}
_ALL_THERE = "all is there already; nothing is written"


def prepare(files: Sequence[Path], out: Path, data: str | None = None, dry: bool = False) -> Iterator[str]:
    """Lines for people, as things happen. dry: nothing is written.

    Raises `UserError` before anything is written where an archive is unknown, unsafe, of other data than `data`, or the
    disk is too small; while unpacking where an archive is damaged. What is unpacked then is kept.
    """
    if data is not None and data not in DATA:
        raise unknown("data set to prepare", data, DATA)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: --out is a file; name a folder, it is made where it does not exist.")
    plans = [_look(file, out, data) for file in {file.resolve(): file for file in files}.values()]
    _refuse_clashes(plans)
    _refuse_other_editions(plans, out)
    for todo in plans:
        yield from _lines(todo, dry)
    _refuse_small_disk(plans, out)
    if dry:
        ahead = [item for todo in plans for item in todo.ahead]
        yield f"would write {_amount(ahead)} below {out}; nothing is written (--list)" if ahead else _ALL_THERE
        return
    yield from _unpack(plans, out)
    yield from _check_lines(plans, out)


def _look(file: Path, out: Path, data: str | None) -> Plan:
    with tqdm(desc=f"looking through {file.name}", unit=" members", disable=None, delay=1, leave=False) as bar:

        def watch(members: Iterable[Member]) -> Iterator[Member]:
            for member in members:
                bar.update()
                yield member

        archive = open_archive(file, watch)
    kind = recognise_plain(file) if archive.format == "file" else recognise(archive)
    if data is not None and data not in kind.data:
        raise UserError(f"{file} is {kind.title}, no part of {data}; it belongs to {' and '.join(kind.data)}.")
    with tqdm(desc=f"comparing with {file.name}", unit=" files", disable=None, delay=1, leave=False) as bar:

        def seen(items: Iterable[Item]) -> Iterator[Item]:
            for item in items:
                yield item
                bar.update()

        return plan(archive, kind, out, seen)


def _lines(todo: Plan, dry: bool) -> Iterator[str]:
    yield f"{todo.archive.file}: {todo.kind.title}"
    for rule, count in todo.counts().items():
        official = f" (official: {rule.official:,})" if rule.official not in (None, count) else ""
        there = sum(item.rule is rule for item in todo.items if item.target in todo.there)
        already = f", {there:,} already there ({COMPARED[todo.archive.format]})" if there else ""
        yield f"  {count:>9,} {rule.what:<25} {rule.folder}{official}{already}"
        if dry:
            yield f"            {_span(rule, todo.items)}"


def _span(rule: Rule, items: Sequence[Item]) -> str:
    names = [item.target.rpartition("/")[2] for item in items if item.rule is rule]
    return names[0] if len(names) == 1 else f"{min(names)} … {max(names)}"


def _unpack(plans: Sequence[Plan], out: Path) -> Iterator[str]:
    ahead = [item for todo in plans for item in todo.ahead]
    total = sum(item.member.size for item in ahead)
    with tqdm(total=total, desc="unpacking", unit="B", unit_scale=True, disable=None) as bar:
        for todo in plans:
            unpack(todo, bar)
    yield f"written {_amount(ahead)} below {out}" if ahead else _ALL_THERE
    given = [item.target for todo in plans for item in todo.items]
    lists = [part for part in ("train", "val") if f"{CONTEXT_LISTS}/{part}.txt" in given]
    if any(todo.kind.folder == CONTEXT for todo in plans):
        yield from write_context_lists(out, f"{CONTEXT}/{DETAIL}" in given, lists)
    if any(todo.kind.folder == BIG for todo in plans):
        yield from write_cocostuff_lists(out)


def _check_lines(plans: Sequence[Plan], out: Path) -> Iterator[str]:
    for folder in dict.fromkeys(todo.kind.folder for todo in plans):
        if lacking := _lacking(folder, out):
            yield f"still needed for {folder}: {lacking}"
        else:
            yield f"Check it: zsbench data check {shlex.quote(str(out / folder))}"


NEEDED = {
    VOC: {"JPEGImages": "VOCtrainval_11-May-2012.tar"},
    CONTEXT: {"JPEGImages": "VOCtrainval_03-May-2010.tar", "trainval": "trainval.tar.gz"},
    BIG: {"images": "val2017.zip (and train2017.zip)", "annotations": "stuffthingmaps_trainval2017.zip"},
    SMALL: {"annotations": "cocostuff-10k-v1.1.zip"},
}


def _lacking(folder: str, out: Path) -> str:
    """Archives without which the folder cannot be read."""
    lacking = [archive for part, archive in NEEDED[folder].items() if not _is_there(folder, part, out)]
    return ", ".join(lacking)


def _is_there(folder: str, part: str, out: Path) -> bool:
    others = {
        (CONTEXT, "JPEGImages"): f"{VOC}/JPEGImages",
        (CONTEXT, "trainval"): f"{CONTEXT}/SegmentationClassContext",
    }
    places = [f"{folder}/{part}", others.get((folder, part), f"{folder}/{part}")]
    return any((out / place).is_dir() for place in places)


def _refuse_clashes(plans: Sequence[Plan]) -> None:
    owner: dict[str, Path] = {}
    for todo in plans:
        for item in todo.items:
            if (other := owner.setdefault(item.target, todo.archive.file)) != todo.archive.file:
                raise UserError(f"{other} and {todo.archive.file} both hold {item.target}; name one of them.")


def _refuse_other_editions(plans: Sequence[Plan], out: Path) -> None:
    """Two versions of one archive have the same names for other contents; half of each would be neither."""
    for todo in plans:
        ahead = {item.target for item in todo.ahead if item.rule.tells}
        own = Journal(out, todo.archive.file).file.name
        for file in sorted((out / FOLDER).glob("*.jsonl")) if todo.archive.format != "file" else ():
            shared = ahead & Journal.read(file).keys() if file.name != own else set()
            if shared := {target for target in shared if (out / target).exists()}:
                folders = dict.fromkeys(item.rule.folder for item in todo.ahead if item.target in shared)
                raise UserError(
                    f"{out} holds {len(shared):,} file{'s' * (len(shared) != 1)} of another archive in the places of "
                    f"{todo.archive.file}, such as {min(shared)}; give another --out, or remove "
                    f"{' and '.join(str(out / folder) for folder in folders)} first."
                )


def _refuse_small_disk(plans: Sequence[Plan], out: Path) -> None:
    needed = sum(todo.bytes_ahead for todo in plans)
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed and needed + SPARE > free:
        raise UserError(
            f"{out}: {_size(needed)} are to be written and {_size(free)} are free there. Nothing is unpacked; name another --out."
        )


def _amount(items: Sequence[Item]) -> str:
    size = _size(sum(item.member.size for item in items))
    return f"{len(items):,} file{'s' * (len(items) != 1)} ({size})"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
