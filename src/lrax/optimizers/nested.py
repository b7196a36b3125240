"""For a transformation of the user's: the weights in nested dicts of the keys with which they were registered."""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import optax

from .._types import Leaf, PyTree
from .weights import in_dicts, parts_of

Keys: TypeAlias = Mapping[str, tuple[Any, ...]]
"""The keys that lead to each leaf, by its path."""


def on_nested(
    tx: optax.GradientTransformationExtraArgs, keys: Keys, objectives: tuple[str, ...]
) -> optax.GradientTransformationExtraArgs:
    """`tx` for weights by path; the arguments called `objectives` are functions of such."""

    def init(params: Any) -> PyTree:
        return tx.init(_nested(params, _ways(params, keys)))

    def update(updates: Any, state: PyTree, params: Any = None, **more: Any) -> tuple[Any, PyTree]:
        ways = _ways(params, keys)
        if isinstance(more.get("grad"), dict):
            more["grad"] = _nested(more["grad"], ways)
        for name in objectives:
            if callable(more.get(name)):
                more[name] = _of_nested(more[name], ways)
        new, state = tx.update(_nested(updates, ways), state, _nested(params, ways), **more)
        return _by_path(new, ways), state

    return optax.GradientTransformationExtraArgs(init, update)


def _ways(paths: Iterable[str], keys: Keys) -> Keys:
    """The keys of these weights: as they are, or else as texts, or else the paths, if no dict can have them beside each other."""
    own = {path: keys[path] for path in paths}
    if _make_dicts(own):
        return own
    texts = {path: tuple(map(str, parts_of(way))) for path, way in own.items()}
    return texts if _make_dicts(texts) else {path: (path,) for path in own}


def _make_dicts(keys: Keys) -> bool:
    """Whether nested dicts have these keys: jax has to sort them, and no leaf may have others below it."""
    levels: dict[tuple[Any, ...], set[Any]] = {}
    for way in keys.values():
        for i, key in enumerate(way):
            levels.setdefault(way[:i], set()).add(key)
    try:
        for level in levels.values():
            sorted(level)
    except TypeError:
        return False
    return levels.keys().isdisjoint(keys.values())


def _nested(leaves: Mapping[str, Leaf], ways: Keys) -> PyTree:
    return in_dicts((ways[path], leaf) for path, leaf in leaves.items())


def _by_path(tree: PyTree, ways: Keys) -> dict[str, Leaf]:
    return {path: functools.reduce(operator.getitem, way, tree) for path, way in ways.items()}


def _of_nested(objective: Callable[..., Any], ways: Keys) -> Callable[..., Any]:
    return lambda tree, *args, **more: objective(_by_path(tree, ways), *args, **more)
