"""For a transformation of the user's: the weights in nested dicts of the keys with which they were registered."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import optax

from .._types import Leaf, PyTree

Keys: TypeAlias = Mapping[str, tuple[Any, ...]]
"""The keys that lead to each leaf, by its path."""


def on_nested(
    tx: optax.GradientTransformationExtraArgs, keys: Keys, objectives: tuple[str, ...]
) -> optax.GradientTransformationExtraArgs:
    """`tx` for weights by path; the arguments called `objectives` are functions of such."""

    def init(params: Any) -> PyTree:
        return tx.init(_nested(params, keys))

    def update(updates: Any, state: PyTree, params: Any = None, **more: Any) -> tuple[Any, PyTree]:
        if isinstance(more.get("grad"), dict):
            more["grad"] = _nested(more["grad"], keys)
        for name in objectives:
            if callable(more.get(name)):
                more[name] = _of_nested(more[name], params, keys)
        new, state = tx.update(_nested(updates, keys), state, _nested(params, keys), **more)
        return _by_path(new, params, keys), state

    return optax.GradientTransformationExtraArgs(init, update)


def _nested(leaves: Mapping[str, Leaf], keys: Keys) -> PyTree:
    tree: dict[Any, Any] = {}
    for path, leaf in leaves.items():
        *above, last = keys[path]
        functools.reduce(lambda place, key: place.setdefault(key, {}), above, tree)[last] = leaf
    return tree


def _by_path(tree: PyTree, paths: Mapping[str, Leaf], keys: Keys) -> dict[str, Leaf]:
    return {path: functools.reduce(operator.getitem, keys[path], tree) for path in paths}


def _of_nested(
    objective: Callable[..., Any], paths: Mapping[str, Leaf], keys: Keys
) -> Callable[..., Any]:
    return lambda tree, *args, **more: objective(_by_path(tree, paths, keys), *args, **more)
