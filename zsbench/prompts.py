"""How class names are spoken to a method: what a person, or a caption, calls the class."""

from __future__ import annotations

from collections.abc import Sequence

from zsbench.split import OWN, Split

# Data set strings that run words together. Only the spacing is mended; choosing other words is a method's own business.
SPACED = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}


def spoken_names(split: Split, kind: str, captions: str | None) -> Sequence[str]:
    """The split's names in order, as the method hears them: of users' own classes as written, but for underscores.

    Drawn scenes keep VOC's strings, as their captions do (opaque words: their looks have nothing to do with the real
    thing); where captions speak of looks ("comp" corpora), classes are called by their looks.
    """
    if kind == "real":
        own = split.dataset == OWN
        return [SPACED.get(name, name.replace("_", " ").strip() if own else name) for name in split.names]
    if captions is not None and captions.startswith("drawn: comp_"):
        from zsbench.data.scene_captions import spoken_name
        from zsbench.data.universes import VOC_CLASSES

        return [
            spoken_name(VOC_CLASSES.index(name), comp=True) if name != "background" else name for name in split.names
        ]
    return list(split.names)
