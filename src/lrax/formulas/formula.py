"""What a schedule is: a frozen formula, the learning rate as a pure function of the epoch."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from .arithmetic import Arithmetic


@dataclasses.dataclass(frozen=True)
class Formula:
    """Base class of formulas: a frozen dataclass whose fields are the hyper-parameters.

    Subclass it, give it fields and :meth:`raw`, and hand it to ``LRScheduler(formula=...)``.

    Examples
    --------
    >>> import dataclasses, lrax
    >>> @dataclasses.dataclass(frozen=True)
    ... class InverseTime(lrax.Formula):
    ...     rate: float
    ...
    ...     def raw(self, t, base, x):
    ...         return base / (1 + self.rate * t)
    >>> scheduler = lrax.LRScheduler(0.1, formula=InverseTime(0.5))
    >>> print(scheduler(2))
    0.05
    """

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        """The learning rate at epoch `t` for base learning rate `base`, before rounding.

        Called with Python numbers, NumPy arrays and jax tracers alike, so it uses operators and the
        functions of `x`, and no ``if`` on `t` or on anything that may be traced. It must be finite
        for every ``t >= 0``.
        """
        raise NotImplementedError

    def plateaus(self, start: Any = 0) -> tuple[tuple[Any, Any], ...]:
        """The parts that learn from metrics, each with the epoch at which it begins."""
        return ()

    def with_reductions(self, counts: Iterator[Any]) -> "Formula":
        """This formula with the number of reductions of each of its plateaus filled in."""
        return self
