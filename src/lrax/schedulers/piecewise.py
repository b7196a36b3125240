"""Schedules given by values or by a function."""

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

from .. import _checks
from .._types import Function, Number, RatesLike, Value
from ..formulas import shapes
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula
from ..formulas.phases import way
from ..formulas.pieces import check_scalable, ramp, ratio
from ..formulas.ranges import Turning
from ..formulas.schedule import Member
from ..formulas.shapes import Shape
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class _PiecewiseConstant(Turning):
    boundaries: tuple[Number, ...]
    values: tuple[Number, ...]

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return x.steps(self.boundaries, t, self.values) * ratio(x, base, self.values[0])

    def constant_from(self, base: Number) -> Number | None:
        return max(self.boundaries, default=0)

    def changes(self, base: Number) -> Iterator[Number]:
        return iter(self.boundaries)

    def phase_at(self, t: Number, base: Number) -> str:
        return "stable"

    def check_base(self, base: Number) -> None:
        check_scalable(base, self.values[0])


class PiecewiseConstantSchedule(LRScheduler):
    """Hold each of `values` until the next boundary.

    For recipes that are a table of learning rates. If each value is the one before times a fixed
    factor, MultiStepLR says it in fewer numbers.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = values[n]        n = number of boundaries <= t

    After the last boundary the learning rate is ``values[-1]``. The values are learning rates, not
    factors of `base_lr`, as those of PiecewiseSchedule are, which goes through points. A parameter
    group that was added with a learning rate b of its own follows ``values[n] * b / values[0]``,
    for which ``values[0]`` must not be 0.
    Traced boundaries have to be in order, too; else the learning rate is not defined.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Not used, except that a list of n entries makes n parameter groups.
    boundaries : sequence of int, default (1000, 2000)
        Epochs at which the next value begins, >= 0, in non-decreasing order.
    values : sequence of float, default (1.0, 0.1, 0.01)
        Learning rates, >= 0, one more than boundaries.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.PiecewiseConstantSchedule(boundaries=[2, 4], values=[0.1, 0.05, 0.01])
    >>> print(scheduler(np.arange(6)))
    [0.1  0.1  0.05 0.05 0.01 0.01]

    Notes
    -----
    - braintools: the same values; it takes boundaries out of order, and negative values.
    - optax: ``piecewise_constant_schedule(init_value, {boundary: scale})`` takes factors, which
      multiply up, where this class takes learning rates.
    - torch has no such class; there it is a LambdaLR.
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        boundaries: Sequence[int] | None = None,
        values: Sequence[float] | None = None,
        last_epoch: int = 0,
    ) -> None:
        starts = _checks.milestones(
            "boundaries", (1000, 2000) if boundaries is None else boundaries
        )
        given = (1.0, 0.1, 0.01) if values is None else values
        rates = _checks.sequence("values", given, _checks.non_negative, of="numbers")
        if len(rates) != len(starts) + 1:
            raise ValueError(
                f"values must have one entry more than boundaries, got {len(rates)} values for {len(starts)} boundaries."
            )
        bases = [rates[0]] * len(_checks.learning_rates("base_lr", base_lr))
        super().__init__(bases, last_epoch, formula=_PiecewiseConstant(starts, rates))


@dataclasses.dataclass(frozen=True)
class _Piecewise(Turning):
    epochs: tuple[Number, ...]
    values: tuple[Number, ...]
    interpolation: Shape

    @functools.cached_property
    def starts(self) -> tuple[Number, ...]:
        """Where each piece begins; the first and the last one have no length."""
        return (0, *self.epochs)

    @functools.cached_property
    def lengths(self) -> tuple[Number, ...]:
        lengths = [end - start for start, end in itertools.pairwise(self.epochs)]
        return (0, *lengths, 0)

    @functools.cached_property
    def first(self) -> tuple[Number, ...]:
        return (self.values[0], *self.values)

    @functools.cached_property
    def last(self) -> tuple[Number, ...]:
        return (*self.values, self.values[-1])

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        tables = self.first, self.last, self.starts, self.lengths
        first, last, start, length = (x.steps(self.epochs, t, table) for table in tables)
        return base * ramp(x, first, last, t - start, length, self.interpolation)

    def constant_from(self, base: Number) -> Number | None:
        return self.epochs[-1]

    def changes(self, base: Number) -> Iterator[Number]:
        ways = zip(self.epochs, self.lengths[1:], self.values, self.last[1:], strict=True)
        return itertools.chain.from_iterable(
            shapes.changes_of(self.interpolation, start, length, last > first)
            for start, length, first, last in ways
        )

    def phase_at(self, t: Number, base: Number) -> str:
        piece = bisect.bisect_right(self.epochs, t)
        first, last = self.first[piece], self.last[piece]
        return "stable" if first == last else way(first, last)


class PiecewiseSchedule(LRScheduler):
    """Go through given points, in straight lines or along another shape.

    For every schedule that one could draw: warmups, plateaus, decays and jumps in any order. The
    values are factors of `base_lr`; PiecewiseConstantSchedule holds learning rates between its
    boundaries.

    At epoch t, which is after t calls of ``step()``, for epochs[n] <= t < epochs[n + 1]::

        p     = (t - epochs[n]) / (epochs[n + 1] - epochs[n])
        a, b  = values[n], values[n + 1]
        lr(t) = base_lr * (b + (a - b) * fall(p))         a >= b, with fall(0) = 1 and fall(1) = 0
                base_lr * (a + (b - a) * fall(1 - p))     a < b

    Before the first point it is ``base_lr * values[0]``, after the last one ``base_lr *
    values[-1]``. An epoch that is given twice is a jump: from it on the later value counts. Traced
    epochs have to be in order, too; else the learning rate is not defined.

    Parameters
    ----------
    base_lr : float or list of float
        Learning rate where the value is 1, >= 0; a list has one entry for each parameter group.
    epochs : sequence of int
        Epochs of the points, at least one, >= 0, in non-decreasing order.
    values : sequence of float
        Factors of `base_lr` there, >= 0, one for each of `epochs`.
    interpolation : str, tuple or callable, default "linear"
        Shape of the way between two points: "linear" (fall(p) = 1 - p), "cosine", "1-sqrt",
        "square", "exponential", "power", "log", "rex", "tanh", "harmonic" (for values > 0),
        "constant", a pair like ("power", 3.0), or a function fall(p).
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> import numpy as np
    >>> scheduler = lrax.PiecewiseSchedule(0.1, epochs=[0, 2, 4, 4, 6], values=[0, 1, 1, 0.5, 0.3])
    >>> print(scheduler(np.arange(8)))
    [0.   0.05 0.1  0.1  0.05 0.04 0.03 0.03]

    Notes
    -----
    - optax: ``piecewise_interpolate_schedule(interpolation, init_value, boundaries_and_scales)``,
      "linear" or "cosine", whose first point is at 0 and whose scales multiply up.
    - torch and braintools have no such class; there it is a function of the epoch.
    """

    def __init__(
        self,
        base_lr: RatesLike,
        epochs: Sequence[int],
        values: Sequence[float],
        interpolation: Shape = "linear",
        last_epoch: int = 0,
    ) -> None:
        starts = _checks.milestones("epochs", epochs)
        factors = _checks.sequence("values", values, _checks.non_negative, of="numbers")
        if not starts or len(factors) != len(starts):
            raise ValueError(
                "values must have one entry for each of epochs, of which there must be at least one, got "
                f"{len(factors)} values for {len(starts)} epochs."
            )
        shape = shapes.checked("interpolation", interpolation)
        ends = {f"values[{i}]": factor for i, factor in enumerate(factors)}
        shapes.check_ends("interpolation", shape, **ends)
        formula = _Piecewise(starts, factors, shape)
        super().__init__(base_lr, last_epoch, formula=formula)


@dataclasses.dataclass(frozen=True)
class _Lambda(Formula):
    lr_lambda: Function

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return base * x.call(self.lr_lambda, t)


class LambdaLR(LRScheduler):
    """Multiply the base learning rate by a function of the epoch.

    For every schedule that has no class. Where there is one, its values are more accurate and its
    checkpoints know its arguments; a function's are not saved.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr * lr_lambda(t)

    It ends where the function does. NaN or a negative number is an error; in a compiled program NaN
    is published as it is, and a negative number is 0.

    On the host the function is called with a Python number: an int, or a float for a fractional
    epoch; and once more with a float64 if it returns no Python number. In a compiled program, a
    function that works with a traced float is compiled into it; one with ``if``, ``math``, a dict
    or ``table[epoch]`` is called back on the host at every step, which is slower
    (``table[jnp.int32(epoch)]`` is compiled). The numbers are the same, whatever types its
    constants have, unless the function asks for the epoch's type or changes it, or rounds a
    quotient (``jnp.floor(epoch / 49)``, for which write ``epoch // 49``).

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Learning rate that is multiplied, >= 0; a list has one entry for each parameter group.
    lr_lambda : callable or list of callable
        Function from the epoch to a factor; a list has one for each parameter group. Required.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    The schedule of the Transformer, for a width of 512 and 4000 steps of warmup:

    >>> import lrax
    >>> import numpy as np
    >>> def transformer(step):
    ...     return 512**-0.5 * min((step + 1) ** -0.5, (step + 1) * 4000**-1.5)
    >>> scheduler = lrax.LambdaLR(base_lr=1.0, lr_lambda=transformer)
    >>> print([f"{lr:.2e}" for lr in scheduler(np.array([0, 1999, 3999, 15999]))])
    ['1.75e-07', '3.49e-04', '6.99e-04', '3.49e-04']

    Notes
    -----
    - torch: the same values; it lets a negative learning rate or NaN through.
    - braintools has no such class; optax takes any function of the count as a schedule.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need",
    https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        lr_lambda: Function | Sequence[Function] | None = None,
        last_epoch: int = 0,
    ) -> None:
        # Before a function in its place is missed.
        bases = _checks.learning_rates("base_lr", base_lr)
        functions = _checks.per_group(
            "lr_lambda", lr_lambda, _checks.function, of="a function of the epoch"
        )
        super().__init__(bases, last_epoch, formula=[_Lambda(f) for f in functions])


def of_function(function: Function) -> Member:
    """A function of the epoch as the part of something else."""
    return Member(LambdaLR, 1.0, _Lambda(function))
