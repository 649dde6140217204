"""How an inlined page is made from templates: what may run on it, and what outside text can do on it (nothing).

Choices: everything is escaped, and before that every outside character that could act or hide is written out; a page
loads nothing, its content policy allows its own style and script by their hashes and no other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from .model import Example
from .proof import excerpt, signs, visible


def template(name: str) -> str:
    return resources.files("zsbench.reports.templates").joinpath(name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """Nothing from outside, this style and this script only."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def environment(filters: dict[str, Callable[..., Any]]) -> Environment:
    made = Environment(
        loader=FunctionLoader(template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    made.filters |= filters
    return made


def proof(example: Example, window: int) -> Markup:
    """The caption around its match, the match in <mark> with form and level as title, in a box of its own direction."""
    parts = [Markup("<bdi>")]
    for piece in excerpt(example, window):
        if piece.mark:
            parts.append(Markup('<mark title="{}">{}</mark>').format(visible(piece.mark), _signed(piece.text)))
        else:
            parts.append(_signed(piece.text))
    return Markup("").join([*parts, Markup("</bdi>")])


def _signed(text: str) -> Markup:
    """Characters that were written out look different from the same letters in the caption."""
    return Markup("").join(
        Markup('<span class="sign">{}</span>').format(run) if written else escape(run) for run, written in signs(text)
    )


def _printed(value: Any) -> Any:
    """Every value on its way into the page; markup is our own and stays."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
