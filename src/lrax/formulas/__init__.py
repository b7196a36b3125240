"""What formulas are made of: the base class, the vocabulary of ``raw``, and the accurate pieces.

A formula of your own from these is as exact as those of lrax: ``ramp`` between two values along a
shape, ``powered`` for powers of a fraction of the way between them, ``growth`` for powers of a
factor, ``ratio`` for values that scale with the base learning rate, ``half_cosine``.
"""

from .arithmetic import Arithmetic
from .formula import Formula
from .pieces import growth, powered, ramp, ratio
from .shapes import half_cosine

__all__ = [
    "Arithmetic",
    "Formula",
    "growth",
    "half_cosine",
    "powered",
    "ramp",
    "ratio",
]
