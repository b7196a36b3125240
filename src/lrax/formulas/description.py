"""Descriptions of schedules: numbers in nested dicts with str keys, and schedules out of them.

No strings among the leaves (orbax takes none) and no lists (msgpack makes dicts of them): names
travel as keys, and lists as dicts from "0" on. A string is ``{text: 1}``, None ``{"None": 0}``, a
formula or scheduler ``{class name: {argument: value}}``, a function ``{"function": 0}``.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._checks import refuse_traced
from .._types import Plain
from .formula import Formula, hyper_parameters
from .schedule import Items, Member, Schedule

FUNCTION = {"function": 0}
"""In place of what a description cannot hold."""


def described(schedule: Schedule, *, whole: bool) -> dict[str, Plain]:
    """``{class name: {argument: value}}``; functions are only named, or refused if it must be `whole`."""
    return named(schedule.kind.__name__, schedule.arguments().items(), whole=whole)


def named(
    kind: str, values: Iterable[tuple[str, Any]], *, whole: bool
) -> dict[str, dict[str, Plain]]:
    """The same for the arguments of anything that has a name."""
    return {kind: {name: _plain(f"{name} of {kind}", value, whole) for name, value in values}}


def _plain(name: str, value: Any, whole: bool) -> Plain:
    if isinstance(value, (bool, int, float)):
        # What is beyond int32 could not be put on a device.
        large = not -(2**31) <= value < 2**31 and abs(value) <= 2**53
        return float(value) if large else value
    if value is None:
        return {"None": 0}
    if isinstance(value, str):
        plain = not value.isdigit() and value not in ("str", "dict", "function")
        return {value: 1} if plain else {"str": {value: 1}}
    if isinstance(value, tuple):
        return {str(i): _plain(name, entry, whole) for i, entry in enumerate(value)}
    if isinstance(value, Items):
        return {"dict": _plain(name, value.pairs, whole)}
    if isinstance(value, Member):
        return described(Schedule((value,)), whole=whole)
    if isinstance(value, Schedule):
        return described(value, whole=whole)
    if isinstance(value, Formula):
        return named(type(value).__name__, hyper_parameters(value), whole=whole)
    refuse_traced(name, value)
    if whole:
        raise TypeError(
            f"{name} is your own: a configuration cannot hold its code. Construct it yourself."
        )
    return FUNCTION


def restored(value: Plain, classes: Mapping[str, Any]) -> Any:
    """What was described; schedulers and formulas are constructed, if their class is among `classes`."""
    if not isinstance(value, dict):
        return value
    if set(value) == set(map(str, range(len(value)))):
        return [restored(value[key], classes) for key in map(str, range(len(value)))]
    if len(value) != 1 or not isinstance(key := next(iter(value)), str) or key.isdigit():
        raise ValueError(
            f"config must hold a list as a dict with the keys '0', '1', ..., got {value!r:.80}."
        )
    inner = value[key]
    if key == "None" and inner == 0:
        return None
    if not isinstance(inner, dict):
        return key
    if key == "str":
        return next(iter(inner))
    if key == "dict":
        return dict(restored(inner, classes))
    return constructed(key, inner, classes)


def constructed(name: str, arguments: Plain, classes: Mapping[str, Any]) -> Any:
    """The scheduler or formula of that class."""
    if name not in classes:
        raise ValueError(
            f"config must name one of {', '.join(sorted(classes))}, got {name!r}. "
            f"A class of your own is passed along: from_config(config, classes=[{name}])."
        )
    if not isinstance(arguments, dict):
        raise ValueError(f"config[{name!r}] must be a dict of arguments, got {arguments!r:.80}.")
    values = {key: restored(value, classes) for key, value in arguments.items()}
    if "formula" in values:  # a piece of a scheduler
        values["formula"] = _pieces(values["formula"])
    try:
        return _call(classes[name], values)
    except TypeError as error:
        raise ValueError(f"config[{name!r}] does not fit: {error}") from None


def _pieces(value: Any) -> Any:
    if isinstance(value, list):
        return [_pieces(entry) for entry in value]
    return value.pieces()[0][0] if hasattr(value, "pieces") else value


def _call(kind: type, values: dict[str, Any]) -> Any:
    """`kind`, constructed from arguments by name, of which some can only be given by their place."""
    parameters = inspect.signature(kind).parameters.values()
    star = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
    placed: list[Any] = []
    for p in parameters:
        before_star = p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and values.get(star or "")
        if p.kind is inspect.Parameter.POSITIONAL_ONLY or before_star:
            placed.append(values.pop(p.name, p.default))
    if star is not None:
        placed += values.pop(star, ())
    return kind(*placed, **values)


_NOTHING = {"nothing": 0}


def differences(saved: Plain, own: Plain, name: str = "") -> list[str]:
    """Where two descriptions differ, with both values."""
    if isinstance(saved, list):  # who read the file has made a list of it again
        saved = {str(i): entry for i, entry in enumerate(saved)}
    missing = saved is _NOTHING or own is _NOTHING
    if isinstance(own, dict) and isinstance(saved, dict) and not missing:
        if len(saved) == len(own) == 1 and saved.keys() != own.keys():
            return [f"{name or 'class'}: saved {_shown(saved)}, here {_shown(own)}"]
        return [
            line
            for key in sorted({*saved, *own}, key=repr)
            for line in differences(
                saved.get(key, _NOTHING), own.get(key, _NOTHING), f"{name}.{key}" if name else key
            )
        ]
    same = _same(saved, own)
    return [] if same else [f"{name}: saved {_shown(saved)}, here {_shown(own)}"]


def _shown(value: Plain) -> str:
    """A described value, for an error: a class or text by its name."""
    name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
    return name if isinstance(name, str) and not name.isdigit() else f"{value!r:.80}"


def _same(saved: Any, own: Any) -> bool:
    """Equal numbers, or one of them is the other after a detour through float32."""
    if not (isinstance(saved, (int, float)) and isinstance(own, (int, float))):
        return False
    if saved == own or (isinstance(saved, int) and isinstance(own, int)):
        return saved == own
    try:
        with np.errstate(over="ignore"):
            a, b = (float(np.float32(value)) for value in (saved, own))
    except OverflowError:
        return False
    return a == b and (saved == a or own == b)
