"""Schedules whose time runs differently: delayed, stretched, repeated."""

import abc
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator

from .. import _checks
from .._types import Number, Value
from ..formulas import host, phases
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula, Learner, Range, Window
from ..formulas.pieces import MOST, check_scalable, growth, scaled
from ..formulas.ranges import ANY, FOREVER, scaled_range, widened
from ..formulas.schedule import Member
from ..formulas.shapes import SOON
from .scheduler import LRScheduler


@dataclasses.dataclass(frozen=True)
class Around(Formula):
    """A formula around another one; a group's base learning rate scales the result."""

    scheduler: Member

    @abc.abstractmethod
    def around(self, t: Value, x: Arithmetic) -> Value:
        """The learning rate at the scheduler's own base learning rate."""

    def at(self, t: Value, x: Arithmetic) -> Value:
        """The learning rate of the scheduler inside, finite."""
        member = self.scheduler
        rate = member.formula.raw(t, member.base, x)
        return rate if self._inside_is_finite else x.minimum(rate, MOST)

    @functools.cached_property
    def _inside_is_finite(self) -> bool:
        return isinstance(self.scheduler.formula, Around)

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        return scaled(x, self.around(t, x), base, self.scheduler.base)

    def check_base(self, base: Number) -> None:
        check_scalable(base, self.scheduler.base)

    def within(self, window: Window) -> tuple[Learner, ...]:
        """What learns in the scheduler inside."""
        return tuple(learner.within(window) for learner in self.scheduler.learners())

    @abc.abstractmethod
    def around_range(self, t: Number) -> Range:
        """The range of :meth:`around` from an epoch on."""

    def range_from(self, base: Number, t: Number) -> Range:
        return scaled_range(self.around_range(t), base, self.scheduler.base)

    def inner_range(self, t: Number) -> Range:
        return self.scheduler.range_from(self.scheduler.base, t)

    def inner_changes(self) -> Iterator[Number]:
        return self.scheduler.changes(self.scheduler.base)

    def inner_phase(self, t: Number) -> str:
        return self.scheduler.phase_at(t, self.scheduler.base)


class AroundLR(LRScheduler):
    """A scheduler around another one: a formula for each of its parameter groups."""

    base_argument = None

    def __init__(
        self, scheduler: LRScheduler, last_epoch: int, around: Callable[[Member], Around]
    ) -> None:
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"scheduler must be an lrax scheduler, got {scheduler!r:.80}.")
        members = [member for member, _ in scheduler.pieces()]
        formulas = [around(member) for member in members]
        super().__init__([m.base for m in members], last_epoch, formula=formulas)


@dataclasses.dataclass(frozen=True)
class _Delay(Around):
    epochs: Number

    def around(self, t: Value, x: Arithmetic) -> Value:
        return self.at(x.since(t, self.epochs), x)

    def learners(self) -> tuple[Learner, ...]:
        return self.within(Window(start=self.epochs))

    def around_range(self, t: Number) -> Range:
        return self.inner_range(max(t - self.epochs, 0))

    def changes(self, base: Number) -> Iterator[Number]:
        return itertools.chain((self.epochs,), (self.epochs + t for t in self.inner_changes()))

    def phase_at(self, t: Number, base: Number) -> str:
        return "stable" if t < self.epochs else self.inner_phase(t - self.epochs)


class DelayLR(AroundLR):
    """A schedule that begins later: ``a.delay(epochs)``.

    To hold the first learning rate for a while.

    At epoch t, which is after t calls of ``step()``, with a = scheduler.lr::

        lr(t) = a(max(t - epochs, 0))

    Its base learning rate is that of `scheduler`; a parameter group with one of its own, g, gets
    lr(t) * g / base_lr. There is one clock, this scheduler's own.

    Parameters
    ----------
    scheduler : LRScheduler
        The schedule.
    epochs : int
        How long it holds its first learning rate, >= 0.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> print(lrax.ExponentialLR(1.0, gamma=0.5).delay(2)(np.arange(5)))
    [1.    1.    1.    0.5   0.25]

    Notes
    -----
    - optax: `transition_begin` of some schedules. torch and braintools have no such class.
    """

    def __init__(self, scheduler: LRScheduler, epochs: int, last_epoch: int = 0) -> None:
        epochs = _checks.integer("epochs", epochs)
        super().__init__(scheduler, last_epoch, lambda member: _Delay(member, epochs))


@dataclasses.dataclass(frozen=True)
class _Stretch(Around):
    factor: Number

    def around(self, t: Value, x: Arithmetic) -> Value:
        return self.at(x.divide(t, self.factor), x)

    def learners(self) -> tuple[Learner, ...]:
        return self.within(Window(factor=self.factor))

    def _first(self, epoch: Number) -> Number:
        """The epoch of which the quotient has come to `epoch`: a whole one, if it is but for rounding."""
        exact = epoch * self.factor
        near = round(exact)
        if abs(exact - near) > 1e-9 * max(near, 1):
            return exact
        return near if near / self.factor >= epoch else near + SOON

    def around_range(self, t: Number) -> Range:
        return self.inner_range(t / self.factor)

    def changes(self, base: Number) -> Iterator[Number]:
        return map(self._first, self.inner_changes())

    def phase_at(self, t: Number, base: Number) -> str:
        return self.inner_phase(t / self.factor)


class StretchLR(AroundLR):
    """A schedule that takes longer: ``a.stretch(factor)``.

    For the same schedule over more epochs, or with steps in place of epochs:
    ``factor=steps_per_epoch``.

    At epoch t, which is after t calls of ``step()``, with a = scheduler.lr::

        lr(t) = a(t / factor)

    The quotient is rounded correctly, and so no boundary comes early or late. A user's function is
    given fractional epochs. Its base learning rate is that of `scheduler`; a parameter group with
    one of its own, g, gets lr(t) * g / base_lr. There is one clock, this scheduler's own.

    Parameters
    ----------
    scheduler : LRScheduler
        The schedule.
    factor : float
        How many times as long, from 1e-9 to 1e15.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> print(lrax.StepLR(1.0, step_size=1, gamma=0.5).stretch(2)(np.arange(6)))
    [1.   1.   0.5  0.5  0.25 0.25]

    Notes
    -----
    - torch, optax and braintools have no such class.
    """

    def __init__(self, scheduler: LRScheduler, factor: float, last_epoch: int = 0) -> None:
        factor = _checks.real("factor", factor, low=1e-9, high=1e15)
        super().__init__(scheduler, last_epoch, lambda member: _Stretch(member, factor))


@dataclasses.dataclass(frozen=True)
class _Repeat(Around):
    period: Number
    decay: Number
    limit: Number | None

    def around(self, t: Value, x: Arithmetic) -> Value:
        cycle = x.floor_divide(t, self.period)
        if self.limit is not None:
            cycle = x.minimum(cycle, self.limit - 1)
        position = x.rest(t, cycle, self.period)
        if self.limit is not None:
            position = x.minimum(position, self.period)
        lr = self.at(position, x) * growth(x, self.decay, cycle)
        return lr if isinstance(self.decay, float) and self.decay <= 1 else x.minimum(lr, MOST)

    def learners(self) -> tuple[Learner, ...]:
        end = math.inf if self.limit is None else self.limit * self.period
        return self.within(Window(end=end, period=self.period))

    def around_range(self, t: Number) -> Range:
        if self.limit is not None and t >= self.limit * self.period:
            rate = self.around(t, host)
            return ANY if self.scheduler.learners() else (rate, rate)
        cycles = t // self.period, FOREVER if self.limit is None else self.limit - 1
        least, most = sorted(growth(host, self.decay, cycle) for cycle in cycles)
        low, high = self.inner_range(0)
        moves = high > 0 and (low < high or least < most)
        return widened(low * least, min(high, MOST) * most, moves)

    def changes(self, base: Number) -> Iterator[Number]:
        cycles = itertools.count() if self.limit is None else range(self.limit)
        for start in (cycle * self.period for cycle in cycles):
            # Not all of very many, so that one sees those of other cycles, too.
            first = itertools.islice(self.inner_changes(), phases.MOST)
            inner = itertools.takewhile(lambda t: t < self.period, first)
            yield from (start + t for t in inner)
            yield start + self.period

    def phase_at(self, t: Number, base: Number) -> str:
        if self.limit is not None and t >= self.limit * self.period:
            return "stable"
        return self.inner_phase(t % self.period)


class RepeatLR(AroundLR):
    """A schedule again and again: ``a.repeat(period, decay, limit)``.

    For restarts of any schedule. Of a cosine, CosineAnnealingWarmRestarts has cycles that grow,
    too.

    At epoch t, which is after t calls of ``step()``, with a = scheduler.lr::

        i     = t // period                                  which cycle
        lr(t) = decay ** i * a(t - i * period)               t < limit * period
                decay ** (limit - 1) * a(period)             t >= limit * period

    Its base learning rate is that of `scheduler`; a parameter group with one of its own, g, gets
    lr(t) * g / base_lr. There is one clock, this scheduler's own.

    Parameters
    ----------
    scheduler : LRScheduler
        The schedule.
    period : int
        Length of a cycle in epochs, >= 1.
    decay : float, default 1.0
        Factor from one cycle to the next, > 0.
    limit : int, optional
        Number of cycles, >= 1; None: it goes on for ever.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> cycle = lrax.LinearLR(1.0, 1.0, 0.0, total_iters=2)
    >>> print(cycle.repeat(2, decay=0.5, limit=2)(np.arange(6)))
    [1.   0.5  0.5  0.25 0.   0.  ]

    Notes
    -----
    - torch, optax and braintools have no such class.
    """

    def __init__(
        self,
        scheduler: LRScheduler,
        period: int,
        decay: float = 1.0,
        limit: int | None = None,
        last_epoch: int = 0,
    ) -> None:
        period = _checks.integer("period", period, low=1)
        decay = _checks.positive("decay", decay)
        limit = _checks.number_or_none("limit", limit)
        super().__init__(
            scheduler, last_epoch, lambda member: _Repeat(member, period, decay, limit)
        )
