"""What formulas are made of: the base class, the vocabulary of ``raw``, and the accurate pieces.

A formula of your own from these is as exact as those of lrax: ``ramp`` between two values along a
shape (``straight``, ``half_cosine``), ``growth`` for powers of a factor, ``remainder_power`` for
powers of what is left, ``ratio`` for values that scale with the base learning rate.
"""

from .arithmetic import Arithmetic as Arithmetic
from .formula import Formula as Formula
from .pieces import growth as growth
from .pieces import half_cosine as half_cosine
from .pieces import ramp as ramp
from .pieces import ratio as ratio
from .pieces import remainder_power as remainder_power
from .pieces import straight as straight

__all__ = [
    "Arithmetic",
    "Formula",
    "growth",
    "half_cosine",
    "ramp",
    "ratio",
    "remainder_power",
    "straight",
]
