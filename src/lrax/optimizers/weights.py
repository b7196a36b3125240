"""Weights by name, and their gradients."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .._types import Leaf, PyTree
from ..states.placement import beside
from ..states.saving import plain_key


class Weight(NamedTuple):
    """A registered weight."""

    path: tuple[Any, ...]
    """The keys that lead to its gradient."""

    state: brainstate.State

    def leaf_names(self) -> list[str]:
        """The path of each of its leaves, such as ``layers.0.weight.bias``."""
        return [name for name, _ in named_leaves(self.state.value, self.path)]

    def leaf_keys(self) -> dict[str, tuple[Any, ...]]:
        """The keys that lead to each of its leaves, by its path."""
        leaves = _leaves_with_keys(self.state.value, self.path)
        return {path_of(keys): keys or (path_of(keys),) for keys, _ in leaves}


def _has_unit(value: Any) -> bool:
    return hasattr(value, "mantissa") and hasattr(value, "unit")


def named_leaves(tree: PyTree, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The path of each leaf of a tree and the leaf, which may be a number with a unit."""
    return ((path_of(keys), leaf) for keys, leaf in _leaves_with_keys(tree, path))


def _leaves_with_keys(tree: PyTree, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_has_unit):
        yield (*path, *map(plain_key, keys)), leaf


UNIT_OF = "unit of "
"""What the unit of a weight is called in a state dict, before the path."""


def units_of(leaves: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """The units of these leaves in those of the SI, as they are described in a state dict."""
    found = {name: leaf.unit for name, leaf in leaves if _has_unit(leaf)}
    return {f"{UNIT_OF}{name}": f"{unit.magnitude:g} {unit.dim}" for name, unit in found.items()}


def named_weights(tree: PyTree, known: dict[str, Weight]) -> dict[str, Weight]:
    """The States in `tree` that are not `known`, by name; one that appears twice is taken once."""
    seen = {id(weight.state) for weight in known.values()}
    paths = {path for weight in known.values() for path in weight.leaf_names()}
    new: dict[str, Weight] = {}
    is_state = lambda leaf: isinstance(leaf, brainstate.State)  # noqa: E731
    for keys, state in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_state)[0]:
        path = tuple(plain_key(key) for key in keys)
        name = path_of(path)
        if not is_state(state):
            raise TypeError(
                f"param_states must hold brainstate.State objects, got {type(state).__name__} at {name!r}. "
                "Of a model they are model.states(brainstate.ParamState)."
            )
        if id(state) in seen:
            continue
        _check_weight(name, state)
        if name in known or name in new:
            raise ValueError(
                f"There is another weight named {name!r}, so that their gradients could not be told apart. {_ONE_DICT}"
            )
        for leaf in Weight(path, state).leaf_names():
            if leaf in paths:
                raise ValueError(
                    f"There is another weight named {leaf!r}, so that the two could not be told apart. "
                    "Rename a key: a dot in one looks like a level of the tree."
                )
            paths.add(leaf)
        seen.add(id(state))
        new[name] = Weight(path, state)
    return new


def parts_of(path: Iterable[Any]) -> tuple[Any, ...]:
    """The keys of a path one by one, where brainstate makes a tuple of several."""
    return tuple(part for key in path for part in (key if isinstance(key, tuple) else (key,)))


def path_of(keys: Iterable[Any]) -> str:
    """What these keys lead to is called so."""
    return ".".join(map(str, parts_of(keys))) or "weights"


def _check_weight(name: str, state: brainstate.State) -> None:
    for leaf in jax.tree.leaves(state.value):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"Weights must hold floating-point numbers, got {jnp.result_type(leaf)} in {name!r}. Leave it out."
            )


def trainable_weights(tree: PyTree, known: dict[str, Weight]) -> dict[str, Weight]:
    """Those of :func:`named_weights`, of which none is a statistic, or what a neuron holds."""
    new = named_weights(tree, known)
    for name, weight in new.items():
        if isinstance(weight.state, (brainstate.BatchState, brainstate.ShortTermState)):
            raise TypeError(
                f"Weights must be what gradients train, got a {type(weight.state).__name__} in {name!r}, which holds statistics, "
                "or the state of a neuron. Leave it out: model.states(brainstate.ParamState)."
            )
    return new


def refuse_complex(weights: dict[str, Leaf]) -> None:
    for name, leaf in weights.items():
        if jnp.iscomplexobj(leaf):
            raise ValueError(
                f"grad_clip_value must be None for complex weights, which have no order, but {name!r} is "
                f"{jnp.result_type(leaf)}. Use grad_clip_norm=..."
            )


_ONE_DICT = (
    "Gradients come by name, so take them with respect to the same states that were registered, and all groups out of one "
    "dict of them: states = model.states(brainstate.ParamState), and {k: s for k, s in states.items() if 'head' in k}."
)


def gradient_of(grads: PyTree, name: str, weights: dict[str, Weight], value: PyTree) -> PyTree:
    """The gradient of a weight of that value, out of those of all: in a tree like the registered one, by name, or in nested dicts."""
    path, structure, others = weights[name].path, jax.tree.structure(value), []
    for found in _found(grads, _ways(name, path)):
        if jax.tree.structure(found) == structure:
            return found
        others.append(found)
    if others:
        return others[0]
    leaves, depth = jax.tree_util.tree_leaves_with_path(grads), len(path)
    there = dict.fromkeys(path_of(map(plain_key, keys[:depth])) for keys, _ in leaves)
    raise ValueError(
        f"grads must hold a gradient for every registered weight, but {name!r} is missing: "
        f"registered are {some(weights)}; grads has {some(there) or 'nothing'}. {_ONE_DICT}"
    )


def _ways(name: str, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The keys that may lead to a gradient, the usual ones first."""
    yield path
    yield (name,)
    yield parts_of(path)


def _found(grads: PyTree, ways: Iterable[tuple[Any, ...]]) -> Iterator[PyTree]:
    for way in ways:
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
            yield functools.reduce(_entry, way, grads)


def _entry(tree: PyTree, key: Any) -> PyTree:
    kind = type(tree)
    fields = getattr(kind, "_fields", getattr(kind, "__dataclass_fields__", ()))
    by_name = isinstance(key, str) and (key in fields or not hasattr(kind, "__getitem__"))
    return getattr(tree, key) if by_name else tree[key]


def some(names: Iterable[str]) -> str:
    first = [repr(name) for name in itertools.islice(names, 6)]
    return ", ".join([*first[:5], "..."] if len(first) > 5 else first)


def put_beside(values: Iterable[PyTree]) -> Callable[[Leaf], Leaf] | None:
    """What puts numbers where these weights live; None if they have not been put anywhere."""
    sharding = beside(values)
    if sharding is None:
        return None
    # A scalar elsewhere would be moved, and compiled for, at every change of place.
    return lambda v: v if getattr(v, "committed", False) else jax.device_put(v, sharding)


def accurate(dtype: Any) -> Any:
    """float32 for half precision, in which an average of many numbers stands still; others as they are."""
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def widened(weights: PyTree) -> PyTree:
    """Weights as their moments need them: of half precision as float32."""
    return jax.tree.map(lambda w: jnp.asarray(w, accurate(jnp.result_type(w))), weights)


def as_gradient(name: str, gradient: Leaf, weight: Leaf) -> Leaf:
    """A checked gradient in the dtype that the moments of the weight have."""
    dtype = getattr(gradient, "dtype", None)
    kinds = np.number, np.bool_
    numbers = isinstance(dtype, np.dtype) and (
        dtype == jax.dtypes.float0 or any(jnp.issubdtype(dtype, kind) for kind in kinds)
    )
    if not (numbers or isinstance(gradient, (int, float))):
        raise TypeError(
            f"The gradient of {name!r} must be an array of numbers, got {gradient!r:.80}."
        )
    if np.shape(gradient) != np.shape(weight):
        raise ValueError(
            f"The gradient of {name!r} must have the weight's shape {np.shape(weight)}, got {np.shape(gradient)}."
        )
    dtype = jnp.result_type(weight)
    if jnp.iscomplexobj(gradient) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(
            f"The gradient of {name!r} must be real, as the weight is, got {jnp.result_type(gradient)}. Pass its .real."
        )
    return jnp.asarray(gradient, accurate(dtype))


def as_registered(values: dict[str, PyTree], weights: dict[str, Weight]) -> PyTree:
    """What is known by name, in nested dicts of the keys with which it was registered."""
    found = [
        (weight.path, values.get(name, weight.state.value)) for name, weight in weights.items()
    ]
    for path, value in found:
        if not path:
            return value
    return in_dicts(found)


def in_dicts(entries: Iterable[tuple[tuple[Any, ...], Any]]) -> dict[Any, Any]:
    """Entries with their keys, in nested dicts."""
    tree: dict[Any, Any] = {}
    for (*above, last), value in entries:
        functools.reduce(lambda place, key: place.setdefault(key, {}), above, tree)[last] = value
    return tree
