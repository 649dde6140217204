"""Where things lie in a folder of COCO-Stuff: photographs, label maps, image lists, and what is missing or wrong there.

    coco_stuff164k/images/{train2017,val2017}/NAME.jpg          or {train2017,val2017}/NAME.jpg
                   annotations/{train2017,val2017}/NAME.png     or stuffthingmaps/{train2017,val2017}/NAME.png
    coco_stuff10k/images/NAME.jpg                               or images/{train2014,test2014}/NAME.jpg
                  annotations/NAME.mat                          or annotations/{train2014,test2014}/NAME_labelTrainIds.png
                  imageLists/{train,test}.txt

An image list is a file where there is one (a name or a path per line), else the names in the folders. Original label maps
come before converted ones (`_labelTrainIds.png`). Looks at names only; the version of 10k is settled elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import scandir
from pathlib import Path

from zsbench.data.lists import SAFE_NAME, examples
from zsbench.errors import UserError

LAYOUT = (
    "coco_stuff164k with images and annotations (or stuffthingmaps) in train2017 and val2017; or coco_stuff10k with "
    "images, annotations and imageLists"
)
TRAIN_IDS = "_labelTrainIds"
_LARGEST = 2**25  # bytes of an image list; train2017 with paths has 2^22
_PARTS = {"164k": {"train": "train2017", "val": "val2017"}, "10k": {"train": "train2014", "val": "test2014"}}
_NAMES = ("coco_stuff164k", "cocostuff164k", "coco_stuff10k", "cocostuff10k")
_MASKS_164K = ("annotations", "stuffthingmaps")
_LIST_FOLDERS = ("imageLists", "imagesLists", "")
_LIST_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "164k": {"train": ("train2017", "train", "train_id"), "val": ("val2017", "val", "val_id")},
    "10k": {"train": ("train", "train_id"), "val": ("test", "val", "val_id")},
}


@dataclass
class CocoFolder:
    """parts: list name -> image names in order; photos: image name -> the folder of its photograph; masks: -> its label map.

    edition: "164k" or "10k". protected: every folder that holds data.
    """

    root: Path
    edition: str
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    photos: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    protected: tuple[Path, ...] = ()


def recognises(root: Path) -> bool:
    return bool(_places(root))


def look(root: Path) -> tuple[CocoFolder, list[str]]:
    """What is there, and everything that is wrong with it. Raises `UserError` when nothing at all can be found."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected {LAYOUT}.")
    places = _places(root)
    if not places:
        raise UserError(f"{root}: not a folder of COCO-Stuff; expected {LAYOUT}.")
    if len(places) > 1:
        names = " and ".join(str(folder) for folder, _ in places)
        raise UserError(f"{root} holds more than one data set of COCO-Stuff: {names}; name the folder of one.")
    folder, edition = places[0]
    found = CocoFolder(folder.resolve(), edition)
    photos, masks = (_164k if found.edition == "164k" else _10k)(found)
    faults = list(_fill(found, photos, masks))
    folders = [folder for part in (photos, masks) for folders in part.values() for folder in folders]
    found.protected = tuple(dict.fromkeys([found.root, *(folder for folder in folders if folder.is_dir())]))
    return found, [*faults, *_overlap(found), *_missing(found)]


def _places(root: Path) -> list[tuple[Path, str]]:
    """The folder at `root`, else those below it, each with its edition."""
    if edition := _edition(root):
        return [(root, edition)]
    return [(root / name, edition) for name in _NAMES if (edition := _edition(root / name))]


def _edition(folder: Path) -> str | None:
    if any(_photo_folder(folder, part).is_dir() and _mask_folder(folder, part) for part in ("train2017", "val2017")):
        return "164k"
    lists = any((folder / name).is_dir() for name in ("imageLists", "imagesLists"))
    converted = any((folder / "annotations" / name).is_dir() for name in ("train2014", "test2014"))
    there = (folder / "images").is_dir() and (folder / "annotations").is_dir()
    return "10k" if there and (lists or converted) else None


def _photo_folder(folder: Path, part: str) -> Path:
    return folder / "images" / part if (folder / "images" / part).is_dir() else folder / part


def _mask_folder(folder: Path, part: str) -> Path | None:
    return next((folder / name / part for name in _MASKS_164K if (folder / name / part).is_dir()), None)


Folders = dict[str, list[Path]]  # list name -> folders where its files may lie, the first one that has a file counts


def _164k(found: CocoFolder) -> tuple[Folders, Folders]:
    photos: Folders = {}
    masks: Folders = {}
    for part, name in _PARTS["164k"].items():
        photo, mask = _photo_folder(found.root, name), _mask_folder(found.root, name)
        if photo.is_dir() and mask:
            photos[part], masks[part] = [photo], [mask]
        elif photo.is_dir() or mask:
            lacking = "label maps" if photo.is_dir() else "photographs"
            found.notes.append(f"no {part} list: {name} has no {lacking}")
    return photos, masks


def _10k(found: CocoFolder) -> tuple[Folders, Folders]:
    def folders(kind: str) -> Folders:
        return {part: [found.root / kind, found.root / kind / name] for part, name in _PARTS["10k"].items()}

    return folders("images"), folders("annotations")


def _fill(found: CocoFolder, photos: Folders, masks: Folders) -> Iterator[str]:
    """Lists, photographs and label maps of every part."""
    for part in photos:
        there = {name: folder for folder in reversed(photos[part]) for name in _stems(folder, ".jpg")}
        maps, converted = _label_maps(found.edition, masks[part])
        file = _list_file(found, part)
        if file is not None:
            names, wrong = _read_list(file, _PARTS[found.edition][part] if found.edition == "164k" else None)
            yield from wrong
        elif found.edition == "164k":
            names = tuple(sorted({*there, *maps}))
        elif photos[part][1].is_dir():  # converted: a folder per list
            names = tuple(sorted(_stems(photos[part][1], ".jpg")))
        else:
            continue
        found.parts[part] = names
        for name in names:
            if name in there:
                found.photos.setdefault(name, there[name])
            if name in maps:
                found.masks.setdefault(name, maps[name])
        used = sum(maps[name].stem.endswith(TRAIN_IDS) for name in names if name in maps)
        if used:
            found.notes.append(f"{part}: {used:,} label maps in train ids ({TRAIN_IDS}.png)")
        elif both := sum(name in converted for name in names):
            found.notes.append(f"{part}: {both:,} label maps in train ids beside the original ones, which are read")
    if not found.parts:
        yield f"{found.root}: no image lists; expected imageLists/train.txt and imageLists/test.txt."
    elif not any(found.parts.values()):
        yield f"{found.root}: no images in its lists and folders."


def _label_maps(edition: str, folders: Sequence[Path]) -> tuple[dict[str, Path], set[str]]:
    """Image name -> label map, an original one where there is one; and the names that have a converted one."""
    converted = {
        stem.removesuffix(TRAIN_IDS): folder / f"{stem}.png"
        for folder in reversed(folders)
        for stem in _stems(folder, ".png")
        if stem.endswith(TRAIN_IDS)
    }
    suffix = ".png" if edition == "164k" else ".mat"
    originals = {
        stem: folder / f"{stem}{suffix}"
        for folder in reversed(folders)
        for stem in _stems(folder, suffix)
        if not stem.endswith(TRAIN_IDS)
    }
    return converted | originals, set(converted)


def _list_file(found: CocoFolder, part: str) -> Path | None:
    for folder in _LIST_FOLDERS:
        for name in _LIST_NAMES[found.edition][part]:
            if (file := found.root / folder / f"{name}.txt").is_file():
                return file
    return None


def _read_list(file: Path, folder: str | None) -> tuple[tuple[str, ...], list[str]]:
    """Image names of a list of names, or of paths such as /images/val2017/NAME.jpg with more columns behind.

    folder: the only one that such paths may name.
    """
    try:
        if file.stat().st_size > _LARGEST:
            return (), [f"{file}: larger than {_LARGEST >> 20} MiB; expected one image name per line."]
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        return (), [f"{file}: cannot be read as a list of image names ({fault})."]
    entries = [(number, line.split()[0]) for number, line in enumerate(lines, 1) if line.strip()]
    paths = [(number, entry, entry.strip("/").split("/")) for number, entry in entries]
    names = [(path[-1].removesuffix(".jpg"), path[:-1]) for _, _, path in paths]
    faults = []
    if not entries:
        faults.append(f"{file}: the list is empty; expected one image name per line, such as 000000000139.")
    odd = [f"line {n} {entry[:80]!r}" for n, entry, path in paths if not _is_name(path)]
    if odd:
        faults.append(f"{file}: {examples(odd)}: not an image name; expected one per line, such as 000000000139.")
    if astray := [f"{'/'.join(above)}/{name}" for name, above in names if folder and above and above[-1] != folder]:
        faults.append(f"{file}: {examples(astray)}: images of another folder than {folder}.")
    if twice := [name for name, times in Counter(name for name, _ in names).items() if times > 1]:
        faults.append(f"{file}: {examples(twice)}: listed more than once.")
    right = dict.fromkeys(name for (name, _), (_, _, path) in zip(names, paths, strict=True) if _is_name(path))
    return tuple(right), faults


def _is_name(path: Sequence[str]) -> bool:
    return all(SAFE_NAME.fullmatch(step) for step in path)


def _overlap(found: CocoFolder) -> Iterator[str]:
    if shared := sorted(set(found.parts.get("train", ())) & set(found.parts.get("val", ()))):
        yield (
            f"{found.root}: train and val share {len(shared):,} images ({examples(shared)}): a method would be tested on "
            "what it was trained on. Take them out of the train list."
        )


def _missing(found: CocoFolder) -> Iterator[str]:
    for part, names in found.parts.items():
        if lost := [name for name in names if name not in found.photos]:
            yield f"{found.root}: {len(lost):,} photographs of the {part} list are not there ({examples(lost)})."
        if lost := [name for name in names if name not in found.masks]:
            yield f"{found.root}: {len(lost):,} label maps of the {part} list are not there ({examples(lost)})."


def _stems(folder: Path, suffix: str) -> list[str]:
    """One listing of a folder instead of a hundred thousand questions whether a file exists. Hidden files are no images."""
    if not folder.is_dir():
        return []
    with scandir(folder) as entries:
        stems = [entry.name.removesuffix(suffix) for entry in entries if entry.name.endswith(suffix)]
    return [stem for stem in stems if SAFE_NAME.fullmatch(stem)]
