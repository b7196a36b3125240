"""Who shares memory with whom: what may be given away, and what has to be copied first."""

from typing import Any

import jax
import jax.numpy as jnp

from .._types import Leaf


def _buffers(leaf: jax.Array) -> set[Any]:
    """What tells two arrays apart that share memory: where it is, on each device of this process."""
    try:
        return {
            (shard.device.id, shard.data.unsafe_buffer_pointer())
            for shard in leaf.addressable_shards
        }
    except (ValueError, RuntimeError, NotImplementedError):
        return {id(leaf)}


def exclusive(lent: list[Leaf], others: list[Leaf]) -> list[Leaf]:
    """`lent`, which will be donated, with copies of the arrays that appear twice or in `others`."""
    try:
        buffers = [
            leaf.unsafe_buffer_pointer() for leaf in lent + others if isinstance(leaf, jax.Array)
        ]
        if len(set(buffers)) == len(buffers):
            return lent
    except (ValueError, RuntimeError, NotImplementedError):
        pass  # one is gone, or on many devices
    taken: set[Any] = set()
    for leaf in others:
        if isinstance(leaf, jax.Array) and not leaf.is_deleted():
            taken |= _buffers(leaf)
    own: list[Leaf] = []
    for leaf in lent:
        if isinstance(leaf, jax.Array) and not leaf.is_deleted():
            buffers = _buffers(leaf)
            leaf = jnp.copy(leaf) if buffers & taken else leaf
            taken |= buffers
        own.append(leaf)
    return own
