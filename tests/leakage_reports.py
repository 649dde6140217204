"""Makes leakage reports (schema 1) as the scan writes them, without a scan: plain, empty, incomplete, huge, hostile."""

from __future__ import annotations

import copy
import random
from typing import Any

INTAKE = ("records", "nulls", "empty", "malformed", "over_long", "undecodable", "nul", "non_latin")
WORDS = {  # class -> forms (text, level), a caption for each, phrases set aside
    "pottedplant": ([("potted plant", 1), ("potted plants", 1), ("houseplant", 2), ("pot plant", 2), ("bonsai", 3)],
                    ["plant pot"]),
    "sheep": ([("sheep", 0), ("lamb", 3), ("ewe", 3), ("ram", 3)], ["rack of lamb", "sheep dog"]),
    "sofa": ([("sofa", 0), ("sofas", 1), ("couch", 2), ("settee", 2), ("loveseat", 3)], ["couch potato"]),
    "train": ([("train", 0), ("trains", 1), ("railway train", 2), ("locomotive", 3)], ["to train", "wedding train"]),
    "tvmonitor": ([("tv monitor", 1), ("television", 2), ("tv", 2), ("monitor", 2)], ["monitors the", "heart monitor"]),
}  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script>", "</title><img src=x onerror=alert(1)>", '=HYPERLINK("http://evil.example","x")', "@SUM(A1)",
    "\x1b[2J\x1b[31mred", "a\x00b", "\u202egnp.exe", "\u2066iso\u2069", "\u061c\u200f", "\x9b31m", "a\r\nb\tc", "\ud800",
    "| cell | **bold** [link](javascript:alert(1))", "{{ 7*7 }}{% raw %}", "&lt;b&gt;", "`code`", "\u2028line", "\ufeff",
)  # fmt: skip


def report(counts: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """One corpus × voc5. counts: captions per class; changes: dotted fields written with "__"."""
    counts = {"pottedplant": 310, "sheep": 8448, "sofa": 12_820, "train": 24_010, "tvmonitor": 0} | (counts or {})
    captions = 12_423_374
    made = _report("cc12m.tsv", captions, [_class(name, counts[name], captions) for name in WORDS])
    made["together"] = [
        {"classes": ["sofa", "tvmonitor"], "captions": 812},
        {"classes": ["pottedplant", "sofa"], "captions": 95},
        {"classes": ["sheep", "train"], "captions": 3},
    ]
    return edited(made, **changes)


def edited(made: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(made)
    for path, value in changes.items():
        *steps, last = path.split("__")
        inner = made
        for step in steps:
            inner = inner[step]
        inner[last] = value
    return made


def nothing(**changes: Any) -> dict[str, Any]:
    """A whole scan that found no class, in a corpus drawn by zsbench."""
    said = "No caption names any of the 5 unseen classes with these forms."
    corpus = {"corpus__name": "drawn: clean", "corpus__drawn": True, "corpus__fingerprint": "c0ffee"}
    zero = report(dict.fromkeys(WORDS, 0), together=[], verdict=said, **corpus)
    for cls in zero["classes"]:
        cls["blocked"], cls["placeholders"] = [], 0
    return edited(zero, **changes)


def partial(**changes: Any) -> dict[str, Any]:
    """A scan that could not read one of its three files to the end."""
    made = report(corpus__name="laion/part-*.tsv.gz", corpus__fingerprint="1a10", complete=False, exit=1)
    why = "compressed file ends before its end-of-stream marker (after record 1,202,113)"
    made["corpus"]["sources"] = [
        _source(f"laion/part-{n}.tsv.gz", 4_141_124, malformed=7 * n, undecodable=n, broken=why if n == 1 else "")
        for n in range(3)
    ]
    made["incomplete_because"] = [f"laion/part-1.tsv.gz: {why}"]
    made["verdict"] = (
        "At least 4 of 5 unseen classes are named; the scan is incomplete: laion/part-1.tsv.gz is cut off."
    )
    made["corpus"]["totals"] |= {"malformed": 21, "undecodable": 3, "non_latin": 51_233}
    return edited(made, **changes)


def reviewed(**changes: Any) -> dict[str, Any]:
    """Precision judged for two classes, one of them also for what is shown; a limit that is exceeded."""
    made = report()
    by_name = {cls["name"]: cls for cls in made["classes"]}
    by_name["train"]["precision"] = {"named": _judged(75, 68, 24_010), "shown": _judged(75, 58, 24_010)}
    by_name["sofa"]["precision"] = {"named": _judged(100, 96, 12_820, unsure=1), "shown": None}
    made |= {"limit": {"fail_over": 0, "over": ["pottedplant", "sheep", "sofa", "train"]}, "exit": 3}
    made["outside"] = [
        {"name": "LAION-400M (NeglectedTailsVLM)", "counts": {"sofa": 512_345, "train": 1_203_442},
         "what": "captions that hold the name or a synonym, counted by Parashar et al. (CVPR 2024)"},
        {"name": "LAION-2B (NeglectedTailsVLM)", "counts": {"sofa": 2_512_345}, "what": "the same in LAION-2B"},
    ]  # fmt: skip
    return edited(made, **changes)


def many(classes: int = 171, name: str = "cc12m.tsv", seed: int = 0) -> dict[str, Any]:
    """A report of many classes with five examples each, counts over six decades."""
    draw = random.Random(seed)
    captions = 12_423_374
    found = []
    for place in range(classes):
        count = 0 if draw.random() < 0.15 else int(10 ** draw.uniform(0, 6))
        cls = _class(list(WORDS)[place % 5], count, captions)
        word = LONG_NAMES[place % len(LONG_NAMES)]
        cls["forms"] += [{"text": f"{word} of kind {n}", "level": 3, "captions": count // 9} for n in range(8)]
        for example in cls["examples"]:
            example["text"] += (
                ", one of those captions that shops write to be found, with much more in it than a picture"
            )
        found.append(cls | {"name": f"{word}-{place}"})
    made = _report(name, captions, found)
    made["split"] |= {"name": "coco171", "title": "COCO-Stuff, 171 classes", "fingerprint": "coco"}
    made["lexicon"]["name"] = "cocostuff171"
    for entry in made["lexicon"]["entries"]:
        entry["blockers"] = entry["blockers"] + [f"phrase {n} of another sense" for n in range(60)]
    named = [cls["name"] for cls in found if cls["captions"]]
    pairs = [(a, b) for place, a in enumerate(named) for b in named[:place]]
    made["together"] = [{"classes": list(pair), "captions": draw.randint(1, 9999)} for pair in pairs[:2000]]
    return edited(made, corpus__fingerprint=f"f-{seed}")


LONG_NAMES = ("playingfield", "wall-concrete", "stop sign", "floor-marble", "cardboard", "potted plant", "cow")


def hostile(**changes: Any) -> dict[str, Any]:
    """Outside text that tries everything, wherever outside text can stand."""
    made = report()
    for number, (cls, evil) in enumerate(zip(made["classes"], HOSTILE, strict=False)):
        cls["examples"] = [
            {"text": f"{text} sofa {text}", "copies": 1, "source": text, "row": text,
             "spans": [[len(text) + 1, len(text) + 5, text, 2]]}
            for text in HOSTILE
        ]  # fmt: skip
        cls["name"] = f"{evil}{number}"
        cls["forms"] = [{"text": text, "level": 0, "captions": max(1, cls["captions"])} for text in HOSTILE]
        cls["blocked"] = [{"text": text, "captions": 1} for text in HOSTILE]
        made["lexicon"]["entries"][number] |= {
            "class": cls["name"], "sense": evil, "blockers": list(HOSTILE), "keepers": list(HOSTILE),
            "forms": [{"text": text, "level": 0} for text in HOSTILE],
        }  # fmt: skip
    evil = " ".join(HOSTILE)
    made["corpus"] |= {"name": evil, "fingerprint": evil}
    made["corpus"]["sources"] = [_source(text, 5, format=text, column=text, broken=text) for text in HOSTILE]
    made["together"] = [{"classes": [HOSTILE[0], HOSTILE[1]], "captions": 4}]
    made["outside"] = [{"name": evil, "what": evil, "counts": {made["classes"][0]["name"]: 3}}]
    made |= {"command": evil, "verdict": evil, "made": evil, "zsbench": evil, "complete": False}
    made |= {"incomplete_because": list(HOSTILE), "limit": {"fail_over": 0, "over": [evil]}}
    made["split"] |= {"name": evil, "title": evil, "fingerprint": evil, "scope": evil}
    made["lexicon"] |= {"name": evil, "fingerprint": evil}
    return edited(made, **changes)


def _report(name: str, captions: int, classes: list[dict[str, Any]]) -> dict[str, Any]:
    named = sum(1 for cls in classes if cls["captions"])
    source = _source(name, captions + 6, nulls=2, empty=3, malformed=1, undecodable=14, non_latin=15_022)
    entries = [
        {"class": cls["name"], "sense": f"the usual sense of {cls['name']}", "blockers": [b["text"] for b in cls["blocked"]],
         "keepers": ["next to train"], "forms": [{"text": f["text"], "level": f["level"]} for f in cls["forms"]]}
        for cls in classes
    ]  # fmt: skip
    return {
        "schema": 1, "kind": "leakage", "zsbench": "0.1.0", "made": "2026-01-31T12:00:00Z",
        "command": f"zsbench leakage-scan --split voc5 --captions {name}",
        "corpus": {"name": name, "drawn": False, "captions": captions, "records": captions + 6, "bytes": 1_930_000_000,
                   "seconds": 5.2, "fingerprint": "9d41c2e07b55", "sources": [source],
                   "totals": {key: source[key] for key in INTAKE}},
        "split": {"name": "voc5", "title": "VOC 2012, 15 seen / 5 unseen", "fingerprint": "4e10454259f8",
                  "scope": "unseen"},
        "lexicon": {"name": "voc2012", "fingerprint": "3f9a1c2b7d10", "level": 3, "entries": entries},
        "complete": True, "incomplete_because": [],
        "verdict": f"{named} of {len(classes)} unseen classes are named: "
                   "a method trained on these captions is not zero-shot for them.",
        "named": named, "flagged": min(captions, sum(cls["captions"] for cls in classes)), "classes": classes, "together": [],
        "outside": [], "limit": None, "exit": 0,
    }  # fmt: skip


def _source(name: str, records: int, **counts: Any) -> dict[str, Any]:
    made = dict.fromkeys(INTAKE, 0) | {
        "source": name,
        "format": "tsv",
        "column": "1",
        "bytes": 1_930_000_000,
        "broken": "",
    }
    return made | {"records": records} | counts


def _class(name: str, captions: int, scanned: int) -> dict[str, Any]:
    words, aside = WORDS[name]
    levels = [0] * 5
    forms = []
    left = captions
    for place, (text, level) in enumerate(words):
        share = left if place == len(words) - 1 else left // 2
        levels[level] += share
        left -= share
        forms.append({"text": text, "level": level, "captions": share})
    return {
        "name": name, "captions": captions, "per_million": 1e6 * captions / scanned, "unique": captions * 9 // 10,
        "unique_exact": captions < 10_000, "levels": levels, "forms": forms,
        "blocked": [{"text": text, "captions": 40 + place} for place, text in enumerate(aside)],
        "placeholders": 12 if name == "sheep" else 0, "with_image": None, "precision": None,
        "examples": [_example(words[n % len(words)], n) for n in range(min(captions, 5))],
    }  # fmt: skip


def _example(form: tuple[str, int], place: int) -> dict[str, Any]:
    before = ("a red ", "two people sit beside the ", "", "photograph of an old ", "vector illustration, ")[place]
    after = (" in a bright room", " and a small table near the window", "", " at sunset, stock photo", " icon set")[
        place
    ]
    text = f"{before}{form[0]}{after}"
    span = [len(before), len(before) + len(form[0]), form[0], form[1]]
    return {"text": text, "copies": 1 + 2 * place, "source": "cc12m.tsv", "row": 17 + 1000 * place, "spans": [span]}


def _judged(judged: int, right: int, captions: int, unsure: int = 0) -> dict[str, Any]:
    share = right / judged
    low, high = max(0.0, share - 0.09), min(1.0, share + 0.05)
    return {"judged": judged, "right": right, "unsure": unsure, "estimate": share, "low": low, "high": high,
            "corrected": round(captions * share), "corrected_low": round(captions * low),
            "corrected_high": round(captions * high)}  # fmt: skip
