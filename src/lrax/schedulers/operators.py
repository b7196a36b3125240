"""What schedulers combine with, by operators and methods: every result is a scheduler."""

from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from .._types import Scalar
from ..formulas.shapes import Shape

S = TypeVar("S")


class Operators(Generic[S]):
    """The algebra of schedulers.

    A new scheduler begins at the epoch of the first one that it was made of, and knows what they
    have learned from metrics. The others' clocks are neither read nor moved.
    """

    made_by: ClassVar[dict[str, Any]] = {}
    """What makes the scheduler that an operator results in, by its name."""

    __array_ufunc__ = None  # so that a number of NumPy on the left leaves it to the scheduler

    def __add__(self, other: S | Scalar) -> S:
        return self.made_by["+"](self, other)

    def __radd__(self, other: S | Scalar) -> S:
        return self.made_by["+"](other, self)

    def __mul__(self, other: S | Scalar) -> S:
        return self.made_by["*"](self, other)

    def __rmul__(self, other: S | Scalar) -> S:
        return self.made_by["*"](other, self)

    def __truediv__(self, other: S | Scalar) -> S:
        if isinstance(other, Operators):
            raise _no_schedule(f"{_shown(self)} / {_shown(other)}")
        return self.made_by["/"](self, other)

    def __rtruediv__(self, other: S | Scalar) -> NoReturn:
        raise _no_schedule(f"{_shown(other)} / {_shown(self)}")

    def __sub__(self, other: S | Scalar) -> NoReturn:
        raise _no_schedule(f"{_shown(self)} - {_shown(other)}")

    def __rsub__(self, other: S | Scalar) -> NoReturn:
        raise _no_schedule(f"{_shown(other)} - {_shown(self)}")

    def __neg__(self) -> NoReturn:
        raise _no_schedule(f"-{_shown(self)}")

    def clip(self, low: S | Scalar, high: S | Scalar) -> S:
        """Not below `low` and not above `high`, numbers or schedulers: ``minimum(maximum(self, low), high)``."""
        return self.made_by["clip"](self, low, high)

    def delay(self, epochs: int) -> S:
        """The first learning rate for `epochs` epochs more: lr(max(t - epochs, 0))."""
        return self.made_by["delay"](self, epochs)

    def stretch(self, factor: float) -> S:
        """`factor` times as long: lr(t / factor)."""
        return self.made_by["stretch"](self, factor)

    def repeat(self, period: int, decay: float = 1.0, limit: int | None = None) -> S:
        """From the start again every `period` epochs, each time `decay` times as high, `limit` times.

        Afterwards the learning rate at the end of the last period is held.
        """
        return self.made_by["repeat"](self, period, decay, limit)

    def with_warmup(
        self, steps: int, shape: Shape = "linear", start_lr: float = 0.0, *, running: bool = False
    ) -> S:
        """A rise from `start_lr` to the first learning rate in front of it.

        It begins after the rise; or, if `running`, it runs meanwhile and is multiplied.
        """
        return self.made_by["with_warmup"](self, steps, shape, start_lr, running)

    def with_cooldown(
        self, start: int, steps: int, shape: Shape = "linear", eta_min: float = 0.0
    ) -> S:
        """From the learning rate at epoch `start` down to `eta_min` in `steps` epochs, and held there.

        So a training that was to go on for ever comes to its end, from any checkpoint.
        """
        return self.made_by["with_cooldown"](self, start, steps, shape, eta_min)


def _shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, Operators) else f"{value!r:.80}"


def _no_schedule(what: str) -> TypeError:
    return TypeError(
        f"{what} is no schedule: rates don't cancel, as a difference could be negative and a quotient infinite. "
        "Add, multiply, or divide by a number; bounds are lrax.minimum(a, b), lrax.maximum(a, b) and a.clip(low, high)."
    )
