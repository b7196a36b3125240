"""Which States a compiled step may take memory from, and how it may write them."""

import brainstate

from .clock import Clock
from .memory import Memory
from .published import LearningRates

NEVER_LENT = (Clock, Memory, LearningRates)
"""A few bytes that people log, and that a step reads to its end: given away, they had to be copied first."""

_WRITERS = {c._write_value for c in (brainstate.State, Clock, Memory, LearningRates)}


def writes_as_is(state: brainstate.State) -> bool:
    """Whether the State keeps what a program that was traced with it returns, without a conversion."""
    return type(state)._write_value in _WRITERS
