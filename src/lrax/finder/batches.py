"""What a range test may be given as batches, and how it goes through them."""

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import has
from .._types import Leaf, PyTree, Unchecked

PARTS = 20
"""In so many calls of a program all batches are gone through where it holds them: between two of them the host may look."""

POSITIONS = (("get_state", "set_state"), ("state_dict", "load_state_dict"))
"""How loaders are asked where they are, and put there: grain's and torchdata's."""


def portions(batches: Unchecked, total: int) -> Iterator[tuple[PyTree, int]]:
    """Batches along a first axis, and the number of those that have been used after them: `total` at the end.

    There may be fewer on the axis: they are used again.
    """
    listed = _listed(batches)
    if listed is not None:
        stack = _stacked([_arguments(batch) for batch in listed[:total]])
        if stack is not None:
            size = max(total // PARTS, 1)
            yield from ((stack, min(i, total)) for i in range(size, total + size, size))
            return
    endless = _endless(batches if listed is None else listed)
    for i, batch in enumerate(itertools.islice(endless, total)):
        yield _stacked([_arguments(batch)]), i + 1


@contextlib.contextmanager
def kept_position(batches: Unchecked) -> Iterator[None]:
    """Afterwards a loader that can say where it is is there again."""
    for get, put in POSITIONS:
        if has(batches, get) and has(batches, put):
            before = copy.deepcopy(getattr(batches, get)())
            try:
                yield
            finally:
                getattr(batches, put)(before)
            return
    yield


def _listed(batches: Unchecked) -> list[Any] | None:
    """All batches, if there is no need to iterate for them."""
    several = isinstance(batches, tuple) and bool(batches)
    several = several and all(isinstance(batch, tuple) for batch in batches)
    if several or (isinstance(batches, list) and batches):
        return list(batches)
    return [batches] if isinstance(batches, (tuple, dict, np.ndarray, jax.Array)) else None


def _endless(batches: Unchecked) -> Iterator[Any]:
    try:
        iterator = iter(batches)
    except TypeError:
        raise TypeError(
            f"batches must be a batch, such as a tuple of arrays, a list of batches, or what gives them one by one, got {batches!r:.80}."
        ) from None
    if iterator is batches:
        iterator = itertools.cycle(iterator)
    while True:
        empty = True
        for batch in iterator:
            empty = False
            yield batch
        if empty:
            raise ValueError(
                f"batches must give at least one batch whenever it is gone through, got {batches!r:.80}."
            )
        iterator = iter(batches)


def _arguments(batch: Unchecked) -> tuple[PyTree, ...]:
    """What the loss is called with."""
    return jax.tree.map(_array, tuple(batch) if isinstance(batch, (list, tuple)) else (batch,))


def _array(leaf: Unchecked) -> Leaf:
    array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
    try:
        jnp.result_type(array)
    except TypeError:
        raise TypeError(f"batches must hold arrays and numbers, got {leaf!r:.80}.") from None
    return array


def _stacked(batches: Sequence[PyTree]) -> PyTree | None:
    """Batches along a first axis; None if they are not alike."""
    kinds = [
        (jax.tree.structure(batch), [(x.shape, x.dtype) for x in jax.tree.leaves(batch)])
        for batch in batches
    ]
    if any(kind != kinds[0] for kind in kinds):
        return None
    return jax.tree.map(lambda *x: (jnp if isinstance(x[0], jax.Array) else np).stack(x), *batches)
