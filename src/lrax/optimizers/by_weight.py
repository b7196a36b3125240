"""What an optimizer has learned, by the paths of the weights."""

from typing import Any, NamedTuple

import jax

from .._types import Leaf, PyTree
from ..states.saving import plain_key
from .update import Part
from .weights import path_of

BESIDE = ("mean", "part", "group")
"""What there is of a weight beside its moments, which may have the same names."""


class Own(NamedTuple):
    """What an optimizer has learned."""

    counters: list[Leaf]
    states: list[PyTree]
    """The optax state of each part."""

    beside: dict[str, Any]
    parts: tuple[Part, ...]


def _places(state: PyTree, part: Part) -> list[tuple[str | None, str]]:
    """For each leaf of an optax state whose it is (None: of all weights), and its name there."""
    found, leaves = [], frozenset(part.leaves)
    for keys, _ in jax.tree_util.tree_flatten_with_path(state)[0]:
        names = [plain_key(key) for key in keys]
        dicts = [isinstance(key, jax.tree_util.DictKey) for key in keys]
        own = _path_among(names, dicts, leaves)
        path = path_of(names[own]) if own else None
        if own:
            del names[own]
        name = ".".join(map(str, names))
        found.append((path, f".{name}" if own and name in BESIDE else name))
    return found


def _path_among(names: list[Any], dicts: list[bool], leaves: frozenset[str]) -> slice | None:
    """Where the last and longest path of a weight stands among keys, in one dict or in several."""
    for end in range(len(names), 0, -1):
        for start in range(end):
            if all(dicts[start:end]) and path_of(names[start:end]) in leaves:
                return slice(start, end)
    return None


def by_weight(own: Own) -> dict[str, Any]:
    """The leaves of all states in a dict of what belongs to each weight, and to each part."""
    weights: dict[str, Any] = {path: {} for part in own.parts for path in part.leaves}
    parts: dict[str, Any] = {str(i): {} for i, _ in enumerate(own.parts)}
    for i, (state, part) in enumerate(zip(own.states, own.parts, strict=True)):
        for (path, name), leaf in zip(_places(state, part), jax.tree.leaves(state), strict=True):
            place = parts[str(i)] if path is None else weights[path]
            place[name] = leaf
    for path, leaf in own.beside.get("means", {}).items():
        weights[path]["mean"] = leaf
    return {"weights": weights, "parts": parts}


def from_weights(found: dict[str, Any], own: Own) -> Own:
    """What :func:`by_weight` was given, with these leaves."""
    states = []
    for i, (state, part) in enumerate(zip(own.states, own.parts, strict=True)):
        leaves = [
            found["parts"][str(i)][name] if path is None else found["weights"][path][name]
            for path, name in _places(state, part)
        ]
        states.append(jax.tree.structure(state).unflatten(leaves))
    beside = dict(own.beside)
    if "means" in beside:
        beside["means"] = {path: found["weights"][path]["mean"] for path in beside["means"]}
    return own._replace(states=states, beside=beside)
