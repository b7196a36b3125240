"""Weights by name, and their gradients."""

from collections.abc import Callable, Iterable
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


def named_weights(tree: PyTree, known: dict[str, Weight]) -> dict[str, Weight]:
    """The States in `tree` that are not `known`, by name; one that appears twice is taken once."""
    seen = {id(weight.state) for weight in known.values()}
    new: dict[str, Weight] = {}
    is_state = lambda leaf: isinstance(leaf, brainstate.State)  # noqa: E731
    for keys, state in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_state)[0]:
        path = tuple(plain_key(key) for key in keys)
        parts = (part for key in path for part in (key if isinstance(key, tuple) else (key,)))
        name = ".".join(map(str, parts)) or "weights"
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
                f"There is another weight named {name!r}. Register both in one nested dict."
            )
        seen.add(id(state))
        new[name] = Weight(path, state)
    return new


def _check_weight(name: str, state: brainstate.State) -> None:
    for leaf in jax.tree.leaves(state.value):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"Weights must hold floating-point numbers, got {jnp.result_type(leaf)} in {name!r}. Leave it out."
            )


def gradient_of(grads: PyTree, name: str, weight: Weight) -> PyTree:
    """The gradient of a weight, out of those of all."""
    value = grads
    for key in weight.path:
        try:
            by_name = isinstance(key, str) and hasattr(type(value), "_fields")
            value = getattr(value, key) if by_name else value[key]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ValueError(
                f"grads must hold a gradient for every registered weight; {name!r} is missing. "
                "Take the gradient with respect to the same states that were registered."
            ) from None
    return value


def put_beside(values: Iterable[PyTree]) -> Callable[[Leaf], Leaf] | None:
    """What puts numbers where these weights live; None if they have not been put anywhere."""
    sharding = beside(values)
    if sharding is None:
        return None
    # A scalar elsewhere would be moved, and compiled for, at every change of place.
    return lambda v: v if getattr(v, "committed", False) else jax.device_put(v, sharding)


def as_gradient(name: str, gradient: Leaf, weight: Leaf) -> Leaf:
    """A checked gradient as a floating-point array; one of whole numbers gets the dtype of the weight."""
    if not hasattr(gradient, "dtype") and not isinstance(gradient, (int, float)):
        raise TypeError(f"The gradient of {name!r} must be an array, got {gradient!r:.80}.")
    if np.shape(gradient) != np.shape(weight):
        raise ValueError(
            f"The gradient of {name!r} must have the weight's shape {np.shape(weight)}, got {np.shape(gradient)}."
        )
    if isinstance(gradient, (int, float)) or not jnp.issubdtype(gradient.dtype, jnp.inexact):
        return jnp.asarray(gradient, jnp.result_type(weight))
    return gradient
