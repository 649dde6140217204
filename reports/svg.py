"""Matplotlib drawings as inline SVG that follows the page: its colours, its type, its light and dark.

Choices: drawings use four stand-in colours that are exchanged for the style sheet's variables; styles become
attributes, because the page's content policy forbids inline styles; ids carry the drawing's name, so that many
drawings live on one page; text stays text, set in the page's font. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, ACCENT, WARNING, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", ACCENT: "--accent", WARNING: "--warning", PAPER: "--paper"}
PLACES = ("d", "x", "y", "width", "height", "cx", "cy", "r", "transform")  # what is measured in pixels: 2 digits do
INCH = 72  # SVG units; sizes below are in CSS pixels at the drawing's natural width
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 11, "axes.edgecolor": RULE, "axes.labelcolor": MUTED,
    "xtick.color": MUTED, "ytick.color": MUTED, "text.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 1, "xtick.major.size": 0, "ytick.major.size": 0, "xtick.major.pad": 5, "ytick.major.pad": 6,
    "grid.color": RULE, "grid.linewidth": 0.8, "axes.axisbelow": True, "lines.solid_capstyle": "round",
}  # fmt: skip


class Drawing:
    """A figure in the making; `markup` is set when its `with` block ends."""

    def __init__(self, figure: Figure, axes: Axes) -> None:
        self.figure, self.axes = figure, axes
        self.markup = Markup()


@contextmanager
def drawing(name: str, title: str, width: int, height: int, margins: tuple[int, int, int, int]) -> Iterator[Drawing]:
    """One pair of axes on a transparent ground. Sizes in pixels; margins are left, top, right, bottom.

    `name` must be unique on the page; `title` is read aloud in place of the drawing.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    left, top, right, bottom = margins
    with mpl.rc_context(cast("Any", SETTINGS | {"svg.hashsalt": name})), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that the measuring font lacks; the page's font draws them
        figure = Figure(figsize=(width / INCH, height / INCH))
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
        made = Drawing(figure, figure.add_axes(box, facecolor="none"))
        yield made
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        made.markup = themed(text.getvalue(), name, title, width)


def themed(text: str, name: str, title: str, width: int) -> Markup:
    """The SVG text of matplotlib, cleaned for inlining. See the module's choices."""
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _clean(element, name)
    _without_empty(root)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    aloud = "".join(sign if sign.isprintable() else " " for sign in title)  # names from outside turn nothing around
    root.attrib |= {"role": "img", "aria-label": aloud, "class": "drawing", "width": str(width)}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by the serialiser


def _without_empty(element: ElementTree.Element) -> None:
    """Removes groups that hold nothing, and those that only hold others and say nothing of them."""
    for place, child in reversed(list(enumerate(element))):
        _without_empty(child)
        if child.tag == "g" and not child.attrib and not child.text and not child.tail:
            element[place : place + 1] = list(child)


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1]


def _clean(element: ElementTree.Element, name: str) -> None:
    element.tag = _local(element.tag)
    element.tail = None if not (element.tail or "").strip() else element.tail
    attributes = {_local(key): value for key, value in element.attrib.items()}
    if not (element.text or "").strip():
        element.text = None  # the indent that matplotlib writes is a tenth of a drawing
    if element.tag == "g":
        attributes.pop("id", None)  # "figure_1", "axes_1": the same in every drawing
    if attributes.get("transform", "").startswith("rotate(-0 "):
        attributes.pop("transform")
    for pair in attributes.pop("style", "").split(";"):
        key, _, value = pair.partition(":")
        if key.strip() and key.strip() != "font-family":
            attributes[key.strip()] = VARIABLES.get(value.strip(), value.strip())
    element.attrib.clear()
    for key, value in attributes.items():
        element.attrib[key] = _value(key, value, name)


def _value(key: str, value: str, name: str) -> str:
    if value.startswith("--"):
        return f"var({value})"
    if key == "id":
        return f"{name}-{value}"
    if key in ("href", "clip-path"):
        return value.replace("#", f"#{name}-")
    if key == "d":
        value = re.sub(r" ?([MLCQz]) ?", r"\1", " ".join(value.split()))
    return re.sub(r"-?\d+\.\d+", _shorter, value) if key in PLACES else value


def _shorter(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
