"""Schedules made of schedules: one after the other, and multiplied."""

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import jax

from .. import _checks
from .._checks import is_traced
from .._names import NOT_NEEDED
from .._types import Number, Value
from ..formulas import host
from ..formulas.arithmetic import SMALLEST, Arithmetic
from ..formulas.formula import Formula, Learner, Range, Window, holds_users, is_ours, replaced
from ..formulas.phases import merged, phase_of_first
from ..formulas.pieces import MOST, check_scalable, ratio
from ..formulas.ranges import Monotone, hull, range_of
from ..formulas.schedule import Member, in_groups
from .scheduler import LRScheduler


class _Phase(NamedTuple):
    """A member from its first epoch to the next one's."""

    member: Member
    start: Number
    end: Number


@dataclasses.dataclass(frozen=True)
class _Sequential(Formula):
    schedulers: tuple[Member, ...]
    milestones: tuple[Number, ...]

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        scale = ratio(x, base, self.schedulers[0].base)
        if x is host:  # which works out one phase only
            member, start, _ = self.phases[bisect.bisect_right(self._starts, t)]
            return member.formula.raw(t - start, member.base * scale, x)
        if self._kinds:
            return self._by_kinds(t, scale, x)
        return x.choose(self._starts, t, functools.partial(self._part, t, scale, x))

    def _part(self, t: Value, scale: Value, x: Arithmetic, i: int) -> Value:
        member, start, end = self.phases[i]
        own = x.since(t, start) if i else t
        if self._asks[i]:
            # A user's function need not be defined outside of its phase: there it is not asked.
            own = x.where(t < end, own, 0)
        return member.formula.raw(own, member.base * scale, x)

    def _by_kinds(self, t: Value, scale: Value, x: Arithmetic) -> Value:
        """The same with one formula for all members of a kind, which takes the numbers of the phase that runs."""
        rates = [self._rate_of_kind(kind, t, scale, x) for kind in self._kinds]
        kind_of = sorted((i, k) for k, kind in enumerate(self._kinds) for i in kind)
        which = x.steps(self._starts, t, [k for _, k in kind_of])
        return x.choose(range(1, len(rates)), which, rates.__getitem__)

    def _rate_of_kind(self, kind: Sequence[int], t: Value, scale: Value, x: Arithmetic) -> Value:
        def number(of: Callable[[_Phase], Number]) -> Value:
            there = {i: of(self.phases[i]) for i in kind}
            first = there[kind[0]]
            if all(value == first for value in there.values()):
                return first
            every = (there.get(i, first) for i in range(len(self.phases)))
            return x.steps(self._starts, t, tuple(every))

        if len(kind) == 1:
            return self._part(t, scale, x, kind[0])
        formula = self.phases[kind[0]].member.formula
        names = [field.name for field in dataclasses.fields(formula)]
        fields = {n: number(lambda phase, n=n: getattr(phase.member.formula, n)) for n in names}
        start, base = number(lambda phase: phase.start), number(lambda phase: phase.member.base)
        return replaced(formula, **fields).raw(x.since(t, start), base * scale, x)

    @functools.cached_property
    def _kinds(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the phases whose formulas are the same but for numbers; none if they are not many."""
        if any(map(is_traced, self._starts)):
            return ()
        kinds: dict[Hashable, list[int]] = {}
        for i, (member, _, _) in enumerate(self.phases):
            kinds.setdefault(_kind(member) or i, []).append(i)
        many = max(map(len, kinds.values())) >= _MANY
        return tuple(map(tuple, kinds.values())) if many else ()

    def range_from(self, base: Number, t: Number) -> Range:
        scale = ratio(host, base, self.schedulers[0].base)
        left = [(member, max(t - start, 0)) for member, start, end in self.phases if t < end]
        return hull(*(member.range_from(member.base * scale, own) for member, own in left))

    def changes(self, base: Number) -> Iterator[Number]:
        for member, start, end in self.phases:
            yield start
            inner = (start + t for t in member.changes(member.base))
            yield from itertools.takewhile(lambda t, end=end: t < end, inner)

    def phase_at(self, t: Number, base: Number) -> str:
        member, start, _ = self.phases[bisect.bisect_right(self._starts, t)]
        return member.phase_at(t - start, member.base)

    def check_base(self, base: Number) -> None:
        own = self.schedulers[0].base
        check_scalable(base, own)
        scale = 1.0 if is_traced(base) or is_traced(own) else ratio(host, base, own)
        for member in self.schedulers:
            # A composite that begins at 0 could not be scaled, like this one.
            zero = scale != 1 and not is_traced(member.base) and member.base == 0
            member.check_base(SMALLEST if zero else member.base * scale)

    @functools.cached_property
    def phases(self) -> tuple[_Phase, ...]:
        """Those of the members, and of the members of such a member in its place; without those known to have no epoch."""
        starts, ends = (0, *self.milestones), (*self.milestones, math.inf)
        own = itertools.starmap(_Phase, zip(self.schedulers, starts, ends, strict=True))
        every = (p for phase in own for p in _inner_phases(phase))
        return tuple(p for p in every if any(map(is_traced, p[1:])) or p.start < p.end)

    @functools.cached_property
    def _asks(self) -> tuple[bool, ...]:
        """Whether each of them asks a function or a formula of the user's."""
        return tuple(holds_users(member) for member, _, _ in self.phases)

    @functools.cached_property
    def _starts(self) -> tuple[Number, ...]:
        """The epochs at which the next of them takes over."""
        return tuple(start for _, start, _ in self.phases[1:])

    def learners(self) -> tuple[Learner, ...]:
        ends = (*self.milestones, math.inf)
        windows = map(Window, (0, *self.milestones), ends)
        phases = zip(self.schedulers, windows, strict=True)
        return tuple(learner.within(w) for member, w in phases for learner in member.learners())


_MANY = 16


def _kind(member: Member) -> Hashable:
    """Equal for two members whose formulas differ in numbers only, which may be others in each epoch; None if there are none."""
    formula = member.formula
    if not (isinstance(formula, Monotone) and is_ours(formula)):
        return None
    values = [getattr(formula, field.name) for field in dataclasses.fields(formula)]
    if any(isinstance(value, jax.Array) for value in (member.base, *values)):
        return None
    return type(formula), *(None if type(v) in (int, float) else (type(v), v) for v in values)


def _inner_phases(phase: _Phase) -> list[_Phase]:
    """The phases of a member that is a sequence itself, where it runs: its program is shorter without it."""
    member, start, end = phase
    base, formula = member.base, member.formula
    if not isinstance(formula, _Sequential):
        return [phase]
    inner, first = formula.phases, formula.schedulers[0].base
    numbers = base, first, start, end, *(number for p in inner for number in p[1:])
    if any(map(is_traced, numbers)) or base != first:
        return [phase]
    return [_Phase(p.member, start + p.start, min(start + p.end, end)) for p in inner]


@dataclasses.dataclass(frozen=True)
class _Chained(Formula):
    schedulers: tuple[Member, ...]

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        rates = [member.formula.raw(t, member.base, x) for member in self.schedulers]
        return self._product(rates, base, x)

    def _product(self, rates: Sequence[Value], base: Value, x: Arithmetic) -> Value:
        first = self.schedulers[0]
        lr = rates[0] * ratio(x, base, first.base)
        for member, rate in zip(self.schedulers[1:], rates[1:], strict=True):
            # infinity times 0 would be NaN
            lr = x.minimum(lr, MOST) * ratio(x, rate, member.base)
        return lr

    def range_from(self, base: Number, t: Number) -> Range:
        ranges = [member.range_from(member.base, t) for member in self.schedulers]
        return range_of(lambda rates: self._product(rates, base, host), ranges)

    def changes(self, base: Number) -> Iterator[Number]:
        return merged(member.changes(member.base) for member in self.schedulers)

    def phase_at(self, t: Number, base: Number) -> str:
        return phase_of_first(self.schedulers, t)


def _members(schedulers: Sequence[LRScheduler]) -> list[tuple[Member, ...]]:
    """The checked members of a composite, for each parameter group."""
    found = list(schedulers) if _checks.is_list(schedulers) else []
    if not found:
        remedy = f" {NOT_NEEDED['optimizer']}" if _checks.has(schedulers, "param_groups") else ""
        raise TypeError(
            f"schedulers must be a list of at least one scheduler, got {schedulers!r:.80}.{remedy}"
        )
    for i, scheduler in enumerate(found):
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"schedulers[{i}] must be an lrax scheduler, got {scheduler!r}.")
    members = {
        f"schedulers[{i}]": tuple(member for member, _ in scheduler.pieces())
        for i, scheduler in enumerate(found)
    }
    return in_groups(members)


class SequentialLR(LRScheduler):
    """Run one scheduler after the other, each from its own epoch 0 on.

    For warmups, and for schedules of several phases. To have several at the same time, multiplied,
    use ChainedScheduler.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = schedulers[i].lr(t - start)      i = number of milestones <= t,
                                                 start = milestones[i - 1], or 0 for i = 0

    The last scheduler goes on as it does by itself, and none is asked for an epoch outside of its
    phase. A milestone that is listed twice leaves out the scheduler in between. Traced milestones
    have to be in order, too; else the learning rate is not defined. For a parameter group with a
    base learning rate of its own those of all `schedulers` are scaled by its ratio to the first's;
    an `eta_min` or `warmup_start_lr` stays.

    There is one clock, this scheduler's own: those of `schedulers` are neither read nor moved. They
    may be composites themselves. With a ReduceLROnPlateau among them every step needs a metric,
    ``step(metric=...)``, from which it learns from the epoch on at which it takes over.

    Parameters
    ----------
    schedulers : list of LRScheduler
        At least one.
    milestones : sequence of int
        Epochs at which the next scheduler takes over, >= 0, in non-decreasing order, one fewer than
        schedulers.
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
    >>> warmup = lrax.WarmupScheduler(base_lr=1.0, warmup_epochs=2)
    >>> decay = lrax.ExponentialLR(base_lr=1.0, gamma=0.5)
    >>> print(lrax.SequentialLR([warmup, decay], milestones=[2])(np.arange(6)))
    [0.    0.5   1.    0.5   0.25  0.125]

    Notes
    -----
    - torch: the same values for plain schedulers, but a cosine in last place rises again. It
      refuses a plateau, and a composite in a later place. In first place a SequentialLR changes
      over one epoch early, and the ExponentialLR, PolynomialLR and CosineAnnealingLR of either
      composite are one step ahead. A OneCycleLR inside changes the others' base learning rate.
    - braintools: the same values eagerly; compiled, it stands still, or fails when attached.
    - optax: ``join_schedules(schedules, boundaries)``.
    """

    base_argument = None

    def __init__(
        self, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = 0
    ) -> None:
        groups = _members(schedulers)
        checked = _checks.milestones("milestones", milestones)
        if len(groups[0]) != len(checked) + 1:
            raise ValueError(
                "milestones must have one entry fewer than schedulers, at which the next one takes over, "
                f"got {len(checked)} milestones for {len(groups[0])} schedulers."
            )
        formulas = [_Sequential(members, checked) for members in groups]
        super().__init__([members[0].base for members in groups], last_epoch, formula=formulas)


class ChainedScheduler(LRScheduler):
    """Multiply schedulers: the first one's base learning rate times the factor of each.

    For effects that act at the same time, such as a warmup over a staircase. For one after the
    other use SequentialLR.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr * f_1(t) * f_2(t) * ...      base_lr = schedulers[0].base_lr
        f_i(t) = schedulers[i].lr(t) / schedulers[i].base_lr

    Each factor goes on as its scheduler does by itself. The base learning rates of the second and
    later schedulers cancel. A parameter group with a base learning rate of its own has it in place
    of `base_lr`.

    There is one clock, this scheduler's own: those of `schedulers` are neither read nor moved. They
    may be composites themselves. With a ReduceLROnPlateau among them every step needs a metric,
    ``step(metric=...)``.

    Parameters
    ----------
    schedulers : list of LRScheduler
        At least one, each with ``base_lr > 0``.
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
    >>> warmup = lrax.WarmupScheduler(base_lr=1.0, warmup_epochs=2)
    >>> decay = lrax.ExponentialLR(base_lr=1.0, gamma=0.5)
    >>> print(lrax.ChainedScheduler([warmup, decay])(np.arange(6)))
    [0.      0.25    0.25    0.125   0.0625  0.03125]

    Notes
    -----
    - torch: lets each scheduler in turn change the learning rate. That is the product for members
      that only multiply; a cosine with ``eta_min > 0`` gives other values (LinearLR from 0.5 in 4
      epochs and a cosine over 8 down to 0.1: 0.605 at epoch 1, here 0.604), a LambdaLR discards
      what stands before it, and a plateau cannot be used.
    - braintools: the same values; it hands a metric to every member, as an epoch, and cannot be
      compiled when attached. It has no `last_epoch`.
    - optax has no such function.
    """

    base_argument = None

    def __init__(self, schedulers: Sequence[LRScheduler], last_epoch: int = 0) -> None:
        groups = _members(schedulers)
        for i, member in [pair for members in groups for pair in enumerate(members)]:
            if not is_traced(member.base) and member.base == 0:
                raise ValueError(
                    f"schedulers[{i}] must have a base_lr > 0, since its factor is lr / base_lr, got 0."
                )
        formulas = [_Chained(members) for members in groups]
        super().__init__([members[0].base for members in groups], last_epoch, formula=formulas)
