"""Where a value lives, and with which dtype."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from brainstate.graph import Node

from .._checks import is_traced
from .._transfers import fetched, guarded, meant
from .._types import Leaf, PyTree, Rates
from .internals import VALUE


def place(value: Leaf, old: Leaf) -> Leaf:
    """A host value where `old` lives: on its mesh or device if it was put there, else left on the host."""
    if not is_traced(old) and getattr(old, "committed", False):
        return jax.device_put(value, old.sharding)
    return value


def strong(value: Leaf, dtype: np.dtype, old: Leaf = None) -> Leaf:
    """`value` with that dtype, never weakly typed, and where `old` was put."""
    if not isinstance(value, jax.Array):
        return place(np.asarray(value, dtype)[()], old)
    if value.dtype != dtype or value.weak_type:
        value = value.astype(dtype)
    if is_traced(value) or value.committed:
        return value
    return place(value, old)


def beside(values: Iterable[PyTree]) -> jax.sharding.Sharding | None:
    """Where numbers live that live where these values do; None if they have not been put anywhere."""
    leaves = jax.tree.leaves(list(values))
    arrays = [v for v in leaves if isinstance(v, jax.Array) and not is_traced(v)]
    sharding = next((leaf.sharding for leaf in arrays if leaf.committed), None)
    if isinstance(sharding, jax.sharding.NamedSharding):
        return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return sharding


def given(tree: PyTree) -> PyTree:
    """What a compiled program takes: `tree` itself, but under a guard against transfers its host leaves are put."""
    if not guarded():
        return tree
    sharding = beside([tree])
    put = lambda v: v if isinstance(v, jax.Array) else jax.device_put(v, sharding)  # noqa: E731
    return jax.tree.map(put, tree)


@contextlib.contextmanager
def unchanged_by_errors(states: Sequence[brainstate.State]) -> Iterator[None]:
    """The States are as they were if a function of the user's fails, or gives no learning rate."""
    old = [state.value for state in states]
    try:
        yield
    except BaseException:
        for state, value in zip(states, old, strict=True):
            state.value = value
        raise


@contextlib.contextmanager
def room_for_all(states: Iterable[brainstate.State]) -> Iterator[None]:
    """For what is loaded into all of these States: what a call that failed has lost is 0 meanwhile, and stays lost if it is not loaded."""
    cells = [cell for cell in map(vars, states) if _is_lost(cell[VALUE])]
    lost = [cell[VALUE] for cell in cells]
    with meant():
        room = [jax.tree.map(_zeros_for_lost, value) for value in lost]
    for cell, value in zip(cells, room, strict=True):
        cell[VALUE] = value
    loaded = False
    try:
        yield
        loaded = True
    finally:
        for cell, old, zeros in zip(cells, lost, room, strict=True):
            if not loaded or cell[VALUE] is zeros:
                cell[VALUE] = old


def _is_lost(value: PyTree) -> bool:
    arrays = (leaf for leaf in jax.tree.leaves(value) if isinstance(leaf, jax.Array))
    return any(not is_traced(array) and _is_gone(array) for array in arrays)


def _is_gone(array: jax.Array) -> bool:
    """Whether it was given away, or is what a program should have returned that failed while nobody waited for it."""
    try:
        return array.block_until_ready().is_deleted()
    except RuntimeError:
        return True


def _zeros_for_lost(leaf: Leaf) -> Leaf:
    if not _is_lost(leaf):
        return leaf
    return jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding if leaf.committed else None)


def held_states(attributes: Any, name: str = "") -> dict[str, brainstate.State]:
    """The States in attributes and in what they hold, by name; what is none of them is left alone."""
    if isinstance(attributes, brainstate.State):
        return {name: attributes}
    if isinstance(attributes, Node):
        states: Any = brainstate.graph.states(attributes)
        return {".".join(map(str, (name, *path))): state for path, state in states.items()}
    if isinstance(attributes, (list, tuple)):
        attributes = dict(enumerate(attributes))
    if not isinstance(attributes, dict):
        return {}
    found: dict[str, brainstate.State] = {}
    for key, value in attributes.items():
        if isinstance(value, (brainstate.State, Node, list, tuple, dict)):
            found |= held_states(value, f"{name}.{key}" if name else str(key))
    return found


def is_key(leaf: Leaf) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def key_numbers(leaf: Leaf) -> Leaf:
    """A leaf, or what a typed random key is made of."""
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def on_host(value: Leaf) -> Leaf:
    """A NumPy value for one that is known, the tracer for one that is not."""
    return value if is_traced(value) else fetched(value)[()]


def in_front(rates: Rates, columns: Rates) -> Rates:
    """The columns, the first of which are these rates."""
    on_host = isinstance(rates, np.ndarray) and isinstance(columns, np.ndarray)
    module: Any = np if on_host else jnp
    with meant():
        return module.concatenate([rates, columns[..., rates.shape[-1] :]], axis=-1)
