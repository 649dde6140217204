"""What pretrained weights were trained on: the word before the first underscore of an open_clip tag tells.

Image-text corpora name everything, unseen classes included; which one it was stands beside each score.
"""

from __future__ import annotations

LOCAL_DIR = "local-dir"  # open_clip's word for a folder with configuration and weights
SUFFIXES = (".safetensors", ".pt", ".bin", ".pth")
UNKNOWN = "unknown corpus"

CORPORA = {
    "openai": "WIT-400M (OpenAI, not public)",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "laion5b": "LAION-5B",
    "frozen": "LAION-5B (text), LAION-2B (image)",  # frozen_laion5b: its image tower is a LAION-2B model's
    "laion": "LAION-Aesthetic",
    "mscoco": "LAION-2B and MS COCO captions",  # mscoco_finetuned_laion2b
    "merged2b": "Merged-2B (LAION-2B and COYO-700M)",
    "datacomp": "DataComp",
    "datacomp1b": "DataComp-1B",
    "datacompdr": "DataCompDR (DataComp-1B with synthetic captions)",
    "commonpool": "CommonPool",
    "metaclip": "MetaCLIP (Common Crawl)",
    "metaclip2": "MetaCLIP 2 (Common Crawl)",
    "meta": "Perception Encoder's image-text and video pairs (Meta, not public)",
    "dfn2b": "DFN-2B (Common Crawl)",
    "dfn5b": "DFN-5B (Common Crawl)",
    "dfndr2b": "DFNDR-2B (DFN-2B with synthetic captions)",
    "cc12m": "CC12M",
    "yfcc15m": "YFCC15M",
    "webli": "WebLI",
}


def corpus_of(pretrained: str, arch: str = "") -> str:
    """The corpus behind an open_clip tag; an unknown tag, a file or a `local-dir:` is never called clean."""
    if arch.startswith(LOCAL_DIR):
        return UNKNOWN
    if not pretrained:
        return "nothing"
    return UNKNOWN if is_path(pretrained) else CORPORA.get(pretrained.split("_")[0], UNKNOWN)


def is_path(pretrained: str) -> bool:
    """A weights file or a folder rather than a tag; whether it exists is asked later."""
    return pretrained.endswith(SUFFIXES) or "/" in pretrained or pretrained.startswith(LOCAL_DIR)
