"""How class names become text features: templates, synonyms, and what is kept so that no name is encoded twice.

A class is asked for in several sentences ("a photo of a {}.", CLIP's 80, 85 with a scene) and, where a file names any, in
several words. Sentences are always averaged: unit features, mean, unit again (MaskCLIP). Words are averaged with them
(ZegFormer) or kept apart, and the best one speaks for its class (SCLIP, NACLIP, ClearCLIP).
Legend: N names, Q queries (one per name, or one per word), D joint width.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.errors import UserError, unknown
from zsbench.method import Job
from zsbench.nn import clip
from zsbench.nn.clip import Towers, text_features
from zsbench.nn.feature_cache import FeatureCache
from zsbench.record import code_sha256

Rule = Literal["average", "max"]
SINGLE, CLIP_80, CLIP_85 = "single", "80", "85"
# What MaskCLIP adds to CLIP's 80 sentences.
SCENES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
TEXT_CACHE_BYTES = 1 << 28  # all names of all data sets fit many times
CHUNK = 1_024  # prompts encoded at a time
MOST_TOLD = 1_000  # prompts that a record spells out; of more it has the sentences, the words and the hash


@dataclass(frozen=True)
class Wording:
    """The sentences and words a class is asked for in. words: name -> what to say for it, where that is not the name."""

    templates: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rule: Rule = "average"

    def said(self, name: str) -> tuple[str, ...]:
        return self.words.get(name, (name,))

    def queries(self, names: Sequence[str]) -> list[list[str]]:
        """Prompts of every query: one list per name, or per word where the best word speaks."""
        groups = [[word] for name in names for word in self.said(name)] if self.rule == "max" else map(self.said, names)
        return [[template.replace("{}", word) for word in group for template in self.templates] for group in groups]

    def owners(self, names: Sequence[str]) -> list[int]:
        """Place of the name that every query asks for."""
        counts = [len(self.said(name)) if self.rule == "max" else 1 for name in names]
        return [place for place, count in enumerate(counts) for _ in range(count)]

    def told(self, names: Sequence[str]) -> dict[str, Any]:
        """For the record: sentences, words, and the hash over every prompt in its order."""
        prompts = [prompt for query in self.queries(names) for prompt in query]
        template = self.templates[0] if len(self.templates) == 1 else f"{len(self.templates)} templates"
        return {
            "template": template,
            "templates": list(self.templates),
            "words": {name: list(self.words[name]) for name in names if name in self.words},
            "unused_words": sorted(set(self.words) - set(names)),
            "rule": self.rule if self.words else None,
            "prompts": prompts if len(prompts) <= MOST_TOLD else None,
            "count": len(prompts),
            "sha256": sha256(prompts),
        }


def sha256(told: Sequence[Any]) -> str:
    """Of texts in their order and grouping: no text can pass for two."""
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def templates(asked: str, prompt: str) -> tuple[str, ...]:
    """ "single" (the field `prompt`), CLIP's "80", MaskCLIP's "85", or a text file with a template on every line.

    Raises UserError for another word, a file without a template, and a template without a place for the name.
    """
    if asked == SINGLE:
        found: Sequence[str] = (prompt,)
    elif asked in (CLIP_80, CLIP_85):
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

        found = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
        found = [*found, *SCENES] if asked == CLIP_85 else found
    elif Path(asked).is_file():
        found = [line.strip() for line in _text(Path(asked)).splitlines() if line.strip()]
        if not found:
            raise UserError(f"{asked} holds no template: a line such as 'a photo of a {{}}.' was expected")
    else:
        raise unknown("set of templates (or file)", asked, [SINGLE, CLIP_80, CLIP_85])
    if nameless := [template for template in found if "{}" not in template]:
        raise UserError(f"template {nameless[0]!r}: it needs {{}} where the class name goes, e.g. 'a photo of a {{}}.'")
    return tuple(found)


def words(path: str) -> dict[str, tuple[str, ...]]:
    """A TOML file of `class = ["word", "another word"]`; empty for no file. Raises UserError for anything else in it."""
    if not path:
        return {}
    if not Path(path).is_file():
        raise UserError(f'no file of synonyms at {path}; each of its lines: tvmonitor = ["television", "monitor"]')
    try:
        table = tomllib.loads(_text(Path(path)))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    for name, listed in table.items():
        if not isinstance(listed, list) or not listed or not all(isinstance(w, str) and w.strip() for w in listed):
            raise UserError(f"{path}: {name} = {listed!r}: a list of words was expected, at least one")
        if strange := [word for word in listed if not word.isprintable()]:
            raise UserError(f"{path}: {name}: {strange[0]!r} holds characters that are no text")
    return {name: tuple(listed) for name, listed in table.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error


class Speaker:
    """Text features of names under one wording; encoded once per text tower and prompts, and kept beside the runs."""

    def __init__(self, towers: Towers, wording: Wording, job: Job):
        self.towers, self.wording, self.job = towers, wording, job
        self.cache = FeatureCache((job.stages or job.folder / "stages").parent / "features" / "text", TEXT_CACHE_BYTES)
        self._asked: tuple[str, ...] | None = None

    def queries(self, names: Sequence[str]) -> Tensor:
        """(Q, D) unit features in fp32, on the job's device. Raises UserError without any name."""
        if not names:
            raise UserError("there are no class names to look for: a split has at least one")
        if self.wording.words and not set(self.wording.words) & set(names):
            near = get_close_matches(next(iter(self.wording.words)), names, n=1, cutoff=0)[0]
            raise UserError(f"the file of synonyms has words for none of the names; they are called e.g. {near!r}")
        if self._asked != tuple(names):
            self._text_QD = self._encoded(self.wording.queries(names)).to(self.job.device)
            self._owner_Q = torch.tensor(self.wording.owners(names), device=self.job.device)
            self._asked = tuple(names)
        return self._text_QD

    def best(self, scores_BQhw: Tensor, names: Sequence[str]) -> Tensor:
        """Scores of queries -> scores of names (B, N, h, w): the best of each name's queries."""
        if scores_BQhw.shape[1] == len(names):
            return scores_BQhw
        of = self._owner_Q[None, :, None, None].expand_as(scores_BQhw)
        empty = scores_BQhw.new_full((len(scores_BQhw), len(names), *scores_BQhw.shape[2:]), -torch.inf)
        return empty.scatter_reduce(1, of, scores_BQhw, "amax")

    def _encoded(self, queries: Sequence[Sequence[str]]) -> Tensor:
        made_by = (self._model, code_sha256(), torch.__version__, self.job.device.type)
        return self.cache.get_or_make(
            sha256([made_by, queries]), lambda: torch.cat([*map(self._features, _chunks(queries))])
        )

    def _features(self, queries: Sequence[Sequence[str]]) -> Tensor:
        """One unit feature per query: the mean of its prompts' unit features, made unit again."""
        with torch.no_grad():
            rows = text_features(self.towers, [prompt for query in queries for prompt in query], self.job.device)
            means = [own.mean(0) for own in rows.split([len(query) for query in queries])]
            return F.normalize(torch.stack(means), dim=-1).cpu()

    @cached_property
    def _model(self) -> str:
        """The model by its weights, and its tokenizer by the configuration: no name can pass for another model's."""
        return clip.digest(self.towers.model) + repr(sorted(self.towers.config.items()))


def _chunks(queries: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Queries of about a thousand prompts at a time: twenty thousand names under 85 sentences must not fill the memory."""
    chunk: list[Sequence[str]] = []
    for query in queries:
        chunk.append(query)
        if sum(map(len, chunk)) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
