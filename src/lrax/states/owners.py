"""Who may write the learning rates of an optimizer."""

import itertools
import weakref
from typing import Any

import brainstate
from brainstate.graph import Node


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
