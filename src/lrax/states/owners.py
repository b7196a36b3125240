"""Who may write the learning rates of an optimizer, and for whom a step was compiled."""

import dataclasses
import itertools
import weakref
from collections.abc import Hashable
from typing import Any

import brainstate
import jax
from brainstate.graph import Node


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Mark:
    """A part of the structure of a State: what was compiled with another one does not fit."""

    of: Hashable


class Owners:
    """A number for each scheduler that has written to a State: the same in every process, and for life.

    A copy of the State shares them, but is another State: it begins with none of its own.
    """

    def __init__(self) -> None:
        self._next = itertools.count(1)
        self._of: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, int]] = (
            weakref.WeakKeyDictionary()
        )

    def number(self, published: brainstate.State, scheduler: Node) -> int:
        """The number of a scheduler: that of the last time, if there was one."""
        known = self._of.setdefault(published, weakref.WeakKeyDictionary())
        if scheduler not in known:
            known[scheduler] = next(self._next)
        return known[scheduler]

    def remember(self, published: brainstate.State, scheduler: Node, number: int) -> None:
        """What number a scheduler has, which may be a copy and have it from its original."""
        self._of.setdefault(published, weakref.WeakKeyDictionary())[scheduler] = number
