"""The drawn caption corpora as something to scan: their arms by name, and the phrases by which some of them name."""

from __future__ import annotations

from pathlib import Path

from zsbench.data.scene_arms import parse_arm
from zsbench.data.scene_captions import spoken_name
from zsbench.data.scene_classes import IDS
from zsbench.data.scenes import ensure_drawn, is_drawn
from zsbench.errors import UserError
from zsbench.leakage.lexicon import Entry, Form, Lexicon
from zsbench.leakage.words import form_of
from zsbench.split import Split


def arm_file(spec: str, data: Path | None) -> Path | None:
    """The captions of a drawn arm called `spec` (in the folder `data`, or drawn once), None if there is no such arm."""
    try:
        parse_arm(spec)
    except UserError:
        return None
    root = data or ensure_drawn()
    path = root / "captions" / f"{spec}.jsonl"
    if not path.is_file():
        arms = ", ".join(sorted(found.stem for found in path.parent.glob("*.jsonl")))
        raise UserError(
            f"{root} has no caption arm '{spec}' (it has {arms}); draw it: zsbench data draw DIR --arm {spec}"
        )
    return path


def drawn_arm(path: Path) -> str | None:
    """The arm whose captions `path` holds, None for captions of any other kind."""
    in_place = path.suffix == ".jsonl" and path.parent.name == "captions" and is_drawn(path.parent.parent)
    return path.stem if in_place else None


def names_by_looks(arm: str) -> bool:
    """Whether the arm calls its classes by phrases of their looks ("checked magenta square")."""
    return parse_arm(arm).comp


def looks_lexicon(split: Split, scope: str = "unseen") -> Lexicon:
    """The phrases of a split's classes, which are the only names they have in a compositional arm."""
    names = split.unseen if scope == "unseen" else [name for name in split.names if name != "background"]
    strangers = [name for name in names if name not in IDS]
    if strangers:
        raise UserError(f"drawn scenes show the classes of VOC; {split.name} has {', '.join(strangers[:5])}.")
    phrases = {name: form_of(spoken_name(IDS[name], comp=True)) for name in names}
    entries = (Entry(name, f"a drawn {phrase}", (Form(phrase, 0),)) for name, phrase in phrases.items())
    return Lexicon("looks of drawn classes", 0, tuple(entries))
