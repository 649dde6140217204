"""A method's configuration: defaults, what changes on drawn scenes, a TOML file, then `--set key=value`.

Fields are read from the method's dataclass, so a wrong name or value is refused with the nearest right one.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zsbench.errors import UserError, unknown

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Configured:
    """A method ready to run, what the user gave, and every field that differs from the paper with its reason."""

    method: Any
    given: dict[str, Any]
    departures: list[dict[str, Any]]

    @property
    def config(self) -> dict[str, Any]:
        return dataclasses.asdict(self.method)


def configure(cls: type, given: Mapping[str, Any], kind: str, called: str = "NAME") -> Configured:
    """`cls` (a method's dataclass) with `given` fields; `kind` is the data's ("drawn" or "real").

    called: the method's name or file as the user wrote it, for errors.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in given:
        if name not in fields:
            raise unknown("field", name, fields, f"zsbench show method {called}")
    own = {name: parse(value, hints[name], name) for name, value in given.items()}
    drawn = getattr(cls, "drawn", {}) if kind == "drawn" else {}
    values = {name: departure.value for name, departure in drawn.items()} | own
    return Configured(cls(**values), dict(own), _departures(cls, fields, values, own, drawn))


def _departures(
    cls: type, fields: Mapping[str, Any], values: Mapping[str, Any], own: Mapping[str, Any], drawn: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row per field that is not the paper's. Where the paper gives no usable value, "paper" is None."""
    why: Mapping[str, str] = getattr(cls, "departures", {})
    rows = []
    for name, field in fields.items():
        value = values.get(name, field.default)
        if name in why or value != field.default:
            changed = "set for this run" if name in own else drawn[name].reason if name in drawn else ""
            reason = "; ".join(filter(None, (changed, why.get(name, ""))))
            rows.append(
                {"field": name, "paper": None if name in why else field.default, "value": value, "reason": reason}
            )
    return rows


def parse(value: Any, hint: Any, field: str) -> Any:
    """`value` (a string of the command line or a TOML value) as the field's type."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value in options:
            return value
        text = {str(option): option for option in options}
        if str(value) in text:
            return text[str(value)]
        raise UserError(f"{field} = {value!r}: one of {', '.join(map(str, options))} was expected")
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if type(None) in options and str(value).lower() in ("none", ""):
            return None
        return parse(value, next(option for option in options if option is not type(None)), field)
    return _scalar(value, hint, field)


def _scalar(value: Any, kind: type, field: str) -> Any:
    if kind is bool:
        word = str(value).lower()
        if word in WORDS or word in ("0", "1"):
            return WORDS.get(word, word == "1")
    elif kind in (int, float):
        try:
            number = float(str(value).replace("_", ""))
        except ValueError:
            number = float("nan")
        if math.isfinite(number) and (kind is float or number.is_integer()):
            return kind(number)
    elif kind is str:
        return str(value)
    raise UserError(f"{field} = {value!r}: {_KINDS.get(kind, kind.__name__)} was expected")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def refuse_below(method: Any, may_be_zero: Sequence[str] = ()) -> None:
    """Raises UserError for a number of a method's fields that is negative, or 0 where that means nothing."""
    for name, value in vars(method).items():
        if type(value) in (int, float) and (value < 0 or (value == 0 and name not in may_be_zero)):
            at_least = "of 0 or more" if name in may_be_zero else "above 0"
            raise UserError(f"{name} = {value}: a number {at_least} was expected")


def parse_sets(sets: Iterable[str]) -> Mapping[str, str]:
    """`field=value` strings as a mapping."""
    pairs = {}
    for item in sets:
        field, equals, value = item.partition("=")
        if not equals or not field:
            raise UserError(f"--set {item}: FIELD=VALUE was expected, e.g. --set steps=200")
        pairs[field.strip().replace("-", "_")] = value.strip()
    return pairs


def describe(loaded: Any) -> str:
    """Text for `zsbench show method NAME`: supervision, every field with its default, and why some differ."""
    cls = loaded.cls
    lines = [f"{loaded.name}: {loaded.title}", "", "learns from (with the defaults)"]
    lines += [f"  {name:<16} {value}" for name, value in cls().supervision.ledger().items()]
    drawn, why = getattr(cls, "drawn", {}), getattr(cls, "departures", {})
    hints = typing.get_type_hints(cls)
    lines += ["", "fields (--set FIELD=VALUE)", f"  {'field':<22} {'default':<12} {'on drawn scenes':<16} values"]
    for f in dataclasses.fields(cls):
        on_drawn = str(drawn[f.name].value) if f.name in drawn else ""
        lines.append(f"  {f.name:<22} {f.default!s:<12} {on_drawn:<16} {_values(hints[f.name])}".rstrip())
    if why or drawn:
        lines += ["", "departures from the paper"]
        lines += [f"  {name:<22} {reason}" for name, reason in why.items()]
        lines += [f"  {name:<22} on drawn scenes: {departure.reason}" for name, departure in drawn.items()]
    return "\n".join(lines)


def _values(hint: Any) -> str:
    options = typing.get_args(hint)
    return " | ".join(map(str, options)) if typing.get_origin(hint) is Literal else str(getattr(hint, "__name__", hint))
