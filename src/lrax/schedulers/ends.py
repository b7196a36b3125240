"""A warmup in front of a schedule, and a cooldown behind it."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

from .. import _checks
from .._types import Number, Value
from ..formulas import host, shapes
from ..formulas.arithmetic import Arithmetic
from ..formulas.evaluate import is_concrete
from ..formulas.formula import Learner, Range, Window
from ..formulas.phases import merged
from ..formulas.pieces import ramp, ratio
from ..formulas.ranges import ANY, hull
from ..formulas.schedule import Member
from ..formulas.shapes import Shape
from .scheduler import LRScheduler
from .shift import Around, AroundLR


@dataclasses.dataclass(frozen=True)
class _WithWarmup(Around):
    steps: Number
    shape: Shape
    start_lr: Number
    running: bool

    def around(self, t: Value, x: Arithmetic) -> Value:
        if not self.running:
            lr = self.at(x.since(t, self.steps), x)
            first = self._known_first if self.scheduler.foreseeable else lr
            return ramp(x, self.start_lr, first, t, self.steps, self.shape, after=lr)
        lr = self.at(t, x)
        if not _checks.is_traced(self.start_lr) and self.start_lr == 0:
            return lr * ramp(x, 0.0, 1.0, t, self.steps, self.shape)
        first = self._known_first if self.scheduler.foreseeable else self.at(x.minimum(t, 0), x)
        factor = ratio(x, ramp(x, self.start_lr, first, t, self.steps, self.shape), first)
        return x.where(t < self.steps, lr * factor, lr)

    @functools.cached_property
    def _known_first(self) -> Number:
        return self.at(0, host)

    def check_first(self) -> None:
        """Raise ValueError where a learning rate of 0 would have to become `start_lr` by a factor."""
        concrete = self.running and is_concrete((self.scheduler, self.start_lr))
        known = concrete and not self.scheduler.learners()
        if known and self.start_lr > 0 and self.at(0, host) == 0:
            raise ValueError(
                f"start_lr must be 0 with running=True in front of a schedule that begins at 0, got {self.start_lr}: it is "
                "multiplied. Let it begin after the warmup, with running=False."
            )

    def learners(self) -> tuple[Learner, ...]:
        return self.within(Window(start=self._begin))

    @property
    def _begin(self) -> Number:
        """The epoch at which the schedule begins."""
        return 0 if self.running else self.steps

    def around_range(self, t: Number) -> Range:
        if t >= self.steps:
            return self.inner_range(t - self._begin)
        if callable(self.shape) or (self.running and self.start_lr > 0):
            return ANY
        low, high = self.inner_range(0)
        return (0.0, high) if self.running else (min(low, self.start_lr), max(high, self.start_lr))

    def changes(self, base: Number) -> Iterator[Number]:
        inner = (self._begin + t for t in self.inner_changes())
        begins_at_0 = self.running and self.start_lr == 0  # a factor from 0 to 1
        rises = begins_at_0 or self._known_first > self.start_lr
        return merged([shapes.changes_of(self.shape, 0, self.steps, rises), inner])

    def phase_at(self, t: Number, base: Number) -> str:
        return "warmup" if t < self.steps else self.inner_phase(t - self._begin)


class WithWarmupLR(AroundLR):
    """A schedule with a rise in front: ``a.with_warmup(steps, shape, start_lr)``.

    In front of anything: the schedule begins after the rise. With ``running=True`` it runs
    meanwhile.

    At epoch t, which is after t calls of ``step()``, with a = scheduler.lr::

        lr(t) = start_lr + (a(0) - start_lr) * rise(t / steps)        t < steps
                a(t - steps)                                          t >= steps
        with running=True
        lr(t) = a(t) * (s + (1 - s) * rise(t / steps))      t < steps, s = start_lr / a(0)
                a(t)                                        t >= steps

    where ``rise(p)`` is the mirror in time of the fall that `shape` names. Its base learning rate
    is that of `scheduler`; a parameter group with one of its own, g, gets lr(t) * g / base_lr.
    There is one clock, this scheduler's own.

    Parameters
    ----------
    scheduler : LRScheduler
        The schedule.
    steps : int
        Length of the warmup in epochs, >= 0; 0 means none.
    shape : str, (str, float) or callable, default "linear"
        Way of the rise: a name ("linear", "cosine", "1-sqrt", ...), a name with its number, or a
        function of the fraction that falls from 1 to 0.
    start_lr : float, default 0.0
        Learning rate at epoch 0, >= 0.
    running : bool, default False
        Whether the schedule runs from epoch 0 on, multiplied by the rise.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> decay = lrax.ExponentialLR(1.0, gamma=0.5)
    >>> print(decay.with_warmup(2)(np.arange(5)))
    [0.   0.5  1.   0.5  0.25]
    >>> print(decay.with_warmup(2, running=True)(np.arange(5)))
    [0.     0.25   0.25   0.125  0.0625]

    Notes
    -----
    - pytorch_warmup multiplies, too, by (t + 1) / steps. torch, optax and braintools have no such
      class; there it is a composite.
    """

    def __init__(
        self,
        scheduler: LRScheduler,
        steps: int,
        shape: Shape = "linear",
        start_lr: float = 0.0,
        running: bool = False,
        last_epoch: int = 0,
    ) -> None:
        steps = _checks.integer("steps", steps)
        shape = shapes.checked("shape", shape)
        start_lr = _checks.non_negative("start_lr", start_lr)
        shapes.check_ends("shape", shape, start_lr=start_lr)
        running = _checks.flag("running", running)

        def around(member: Member) -> _WithWarmup:
            formula = _WithWarmup(member, steps, shape, start_lr, running)
            formula.check_first()
            return formula

        super().__init__(scheduler, last_epoch, around)


@dataclasses.dataclass(frozen=True)
class _WithCooldown(Around):
    start: Number
    steps: Number
    shape: Shape
    eta_min: Number

    def around(self, t: Value, x: Arithmetic) -> Value:
        known = self._known_top
        lr = self.at(x.minimum(t, self.start) if known is None else t, x)
        top = lr if known is None else known

        def part(of: int) -> Value:
            return ramp(x, top, self.eta_min, t - self.start, self.steps, self.shape) if of else lr

        return x.choose((self.start,), t, part)

    @functools.cached_property
    def _known_top(self) -> Number | None:
        known = self.scheduler.foreseeable and not _checks.is_traced(self.start)
        return self.at(self.start, host) if known else None

    def learners(self) -> tuple[Learner, ...]:
        return self.within(Window(end=self.start))

    def around_range(self, t: Number) -> Range:
        last = (self.eta_min, self.eta_min)
        if t >= self.start + self.steps:
            return last
        return ANY if callable(self.shape) else hull(self.inner_range(min(t, self.start)), last)

    def changes(self, base: Number) -> Iterator[Number]:
        inner = itertools.takewhile(lambda t: t < self.start, self.inner_changes())
        rises = self.eta_min > self.at(self.start, host)
        way = shapes.changes_of(self.shape, self.start, self.steps, rises)
        return itertools.chain(inner, way)

    def phase_at(self, t: Number, base: Number) -> str:
        if t < self.start:
            return self.inner_phase(t)
        return "cooldown" if t < self.start + self.steps else "stable"


class WithCooldownLR(AroundLR):
    """A schedule that comes to an end: ``a.with_cooldown(start, steps, shape, eta_min)``.

    To end a training that was to go on for ever, from any of its checkpoints: it begins at the
    epoch of the schedule, and ``attach_optimizer`` or ``optimizer.add_scheduler`` puts it in its
    place.

    At epoch t, which is after t calls of ``step()``, with a = scheduler.lr::

        lr(t) = a(t)                                                              t < start
                eta_min + (a(start) - eta_min) * fall((t - start) / steps)        t < start + steps
                eta_min                                                           t >= start + steps

    where ``fall(p)`` is what `shape` names. A plateau inside learns no more from `start` on. Its
    base learning rate is that of `scheduler`; a parameter group with one of its own, g, gets lr(t)
    * g / base_lr. There is one clock, this scheduler's own.

    Parameters
    ----------
    scheduler : LRScheduler
        The schedule.
    start : int
        Epoch at which the cooldown begins, >= 0.
    steps : int
        Its length in epochs, >= 0.
    shape : str, (str, float) or callable, default "linear"
        Way of the fall: a name ("linear", "cosine", "1-sqrt", ...), a name with its number, or a
        function of the fraction that falls from 1 to 0.
    eta_min : float, default 0.0
        Last learning rate, >= 0.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> print(lrax.StepLR(1.0, step_size=2, gamma=0.5).with_cooldown(3, 2)(np.arange(7)))
    [1.   1.   0.5  0.5  0.25 0.   0.  ]

    Notes
    -----
    - torch, optax and braintools have no such class.
    """

    def __init__(
        self,
        scheduler: LRScheduler,
        start: int,
        steps: int,
        shape: Shape = "linear",
        eta_min: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        start = _checks.integer("start", start)
        steps = _checks.integer("steps", steps)
        shape = shapes.checked("shape", shape)
        eta_min = _checks.non_negative("eta_min", eta_min)
        shapes.check_ends("shape", shape, eta_min=eta_min)
        super().__init__(
            scheduler,
            last_epoch,
            lambda member: _WithCooldown(member, start, steps, shape, eta_min),
        )
