"""Schedules that run at the same time: sum, product, minimum and maximum."""

import abc
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

import jax
import numpy as np

from .. import _checks
from .._checks import is_known
from .._transfers import fetched
from .._types import Number, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic, wide
from ..formulas.formula import Formula, Range, holds_users
from ..formulas.phases import merged, phase_of_first
from ..formulas.pieces import MOST, check_scalable, scaled
from ..formulas.ranges import range_of, scaled_range
from ..formulas.schedule import Member, in_groups
from ..formulas.traced import Traced
from .scheduler import LRScheduler

Operand: TypeAlias = Member | Number
"""One group of a scheduler, or a number."""


@dataclasses.dataclass(frozen=True)
class _Combined(Formula):
    """Learning rates combined two by two; a group's base learning rate scales the result."""

    schedulers: tuple[Operand, ...]
    computes: ClassVar[bool] = True
    """Whether it computes with learning rates, so that what is negative could vanish in it; if not, it picks one."""

    own: Number = dataclasses.field(init=False)
    """The base learning rate: the same of those of its members."""

    def __post_init__(self) -> None:
        bases = [of.base if isinstance(of, Member) else of for of in self.schedulers]
        traced = [base for base in bases if _checks.is_traced(base)]
        if traced:
            dtype = jax.dtypes.canonicalize_dtype(np.float64)
            with wide():
                x = Traced(False)
                own = self.combined(map(x.array, bases), x).astype(dtype)
        else:
            own = self.combined(bases, host)
        object.__setattr__(self, "own", own)

    @staticmethod
    @abc.abstractmethod
    def two(a: Value, b: Value, x: Arithmetic) -> Value:
        """Two learning rates combined."""

    def combined(self, rates: Iterable[Value], x: Arithmetic) -> Value:
        value, *others = rates
        for rate in others:
            value = self.two(value, rate, x)
        return value

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        rates = [of.formula.raw(t, of.base, x) if runs else of for of, runs in self._parts]
        for i in self._users:
            rates[i] = _not_negative(self.schedulers[i], rates[i], t, x)
        return scaled(x, self.combined(rates, x), base, self.own)

    @functools.cached_property
    def _parts(self) -> tuple[tuple[Any, bool], ...]:
        """Its members and numbers, and which of them are members."""
        return tuple((of, isinstance(of, Member)) for of in self.schedulers)

    @functools.cached_property
    def _users(self) -> tuple[int, ...]:
        """Which of them ask a function or a formula of the user's, in what could hide a negative number."""
        return tuple(i for i, of in enumerate(self.schedulers) if self.computes and holds_users(of))

    def check_base(self, base: Number) -> None:
        check_scalable(base, self.own)

    def range_from(self, base: Number, t: Number) -> Range:
        ranges = [
            of.range_from(of.base, t) if isinstance(of, Member) else (of, of)
            for of in self.schedulers
        ]
        found = range_of(lambda rates: self.combined(rates, host), ranges, self.computes)
        return scaled_range(found, base, self.own)

    def changes(self, base: Number) -> Iterator[Number]:
        return merged(member.changes(member.base) for member in self._members())

    def phase_at(self, t: Number, base: Number) -> str:
        return phase_of_first(self._members(), t)

    def _members(self) -> list[Member]:
        return [of for of in self.schedulers if isinstance(of, Member)]


def _not_negative(of: Operand, rate: Value, t: Value, x: Arithmetic) -> Value:
    # Two negative ones would make one that looks right.
    if is_known(rate) and is_known(t) and np.any(np.less(fetched(rate), 0)):
        rates, epochs = np.broadcast_arrays(fetched(rate), fetched(t))
        first = np.unravel_index((rates < 0).argmax(), rates.shape)
        raise ValueError(
            f"{of!r:.80} must have a learning rate >= 0, got {rates[first]:g} at epoch {epochs[first]:g}, in a sum or "
            "product. Let its function return a number >= 0, for example max(0.0, value)."
        )
    return x.maximum(rate, 0.0)


class _Sum(_Combined):
    @staticmethod
    def two(a: Value, b: Value, x: Arithmetic) -> Value:
        return a + b


class _Product(_Combined):
    @staticmethod
    def two(a: Value, b: Value, x: Arithmetic) -> Value:
        return x.minimum(a, MOST) * x.minimum(b, MOST)


class _Minimum(_Combined):
    computes = False

    @staticmethod
    def two(a: Value, b: Value, x: Arithmetic) -> Value:
        return x.minimum(a, b)


class _Maximum(_Combined):
    computes = False

    @staticmethod
    def two(a: Value, b: Value, x: Arithmetic) -> Value:
        return x.maximum(a, b)


class _CombinesLR(LRScheduler):
    """What the four have in common: schedulers and numbers, and one formula for all of them."""

    base_argument = None
    formula_class: ClassVar[type[_Combined]]

    def __init__(self, schedulers: Sequence[LRScheduler | float], last_epoch: int = 0) -> None:
        formulas = [self.formula_class(self._flat(of)) for of in _operands(schedulers)]
        super().__init__([f.own for f in formulas], last_epoch, formula=formulas)

    def _flat(self, operands: Sequence[Operand]) -> tuple[Operand, ...]:
        """A sum of sums is one sum: a long one is not deep."""
        found: list[Operand] = []
        for of in operands:
            inner = of.formula if isinstance(of, Member) else None
            same = isinstance(inner, self.formula_class)
            found += inner.schedulers if same else [of]
        return tuple(found)


class SumLR(_CombinesLR):
    """The sum of learning rates: ``a + b``, ``a + 0.01``.

    For a floor under a schedule that moves with it, or a small oscillation on a decay.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = schedulers[0].lr(t) + schedulers[1].lr(t) + ...

    There is one clock, this scheduler's own. Its base learning rate is the sum of
    the members';
    a parameter group with one of its own, g, gets lr(t) * g / base_lr. With a plateau among the
    members every step needs a metric, ``step(metric=...)``.

    Parameters
    ----------
    schedulers : list of LRScheduler or float
        At least one scheduler; a number, >= 0, is a constant learning rate.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> scheduler = lrax.ExponentialLR(1.0, gamma=0.5) + 0.25
    >>> print(scheduler(np.arange(4)))
    [1.25  0.75  0.5   0.375]
    >>> scheduler
    SumLR(schedulers=(ExponentialLR(base_lr=1.0, gamma=0.5), 0.25))

    Notes
    -----
    - torch, optax and braintools have no such class.
    """

    formula_class = _Sum


class ProductLR(_CombinesLR):
    """The product of learning rates and numbers: ``a * b``, ``2 * a``, ``a / 2``.

    To scale a schedule, or to multiply it with a factor that is a schedule itself.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = schedulers[0].lr(t) * schedulers[1].lr(t) * ...

    There is one clock, this scheduler's own. Its base learning rate is the product of
    the members';
    a parameter group with one of its own, g, gets lr(t) * g / base_lr. With a plateau among the
    members every step needs a metric, ``step(metric=...)``.

    Parameters
    ----------
    schedulers : list of LRScheduler or float
        At least one scheduler; a number, >= 0, is a constant learning rate.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> twice = 2 * lrax.ExponentialLR(0.1, gamma=0.5)
    >>> print(twice(np.arange(4)))
    [0.2   0.1   0.05  0.025]
    >>> warm = lrax.WarmupScheduler(base_lr=1.0, warmup_epochs=2)  # a factor: from 0 to 1
    >>> print((twice * warm)(np.arange(4)))
    [0.    0.05  0.05  0.025]

    Notes
    -----
    - ChainedScheduler takes one base learning rate and a factor of each scheduler. Here whole
      learning rates are multiplied: of a factor, let `base_lr` be 1.
    - torch, optax and braintools have no such class.
    """

    formula_class = _Product


class MaximumLR(_CombinesLR):
    """The largest of several learning rates: ``lrax.maximum(a, b, 1e-5)``.

    For a floor under a schedule. Between two numbers see ``a.clip(low, high)``.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = max(schedulers[0].lr(t), schedulers[1].lr(t), ...)

    There is one clock, this scheduler's own. Its base learning rate is the largest of
    the members';
    a parameter group with one of its own, g, gets lr(t) * g / base_lr. With a plateau among the
    members every step needs a metric, ``step(metric=...)``.

    Parameters
    ----------
    schedulers : list of LRScheduler or float
        At least one scheduler; a number, >= 0, is a constant learning rate.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> fast, slow = lrax.ExponentialLR(1.0, gamma=0.5), lrax.ExponentialLR(0.3, gamma=0.9)
    >>> print(lrax.maximum(fast, slow)(np.arange(4)).round(3))
    [1.    0.5   0.25  0.219]

    Notes
    -----
    - torch, optax and braintools have no such class.
    """

    formula_class = _Maximum


class MinimumLR(_CombinesLR):
    """The smallest of several learning rates: ``lrax.minimum(a, b, 1e-5)``.

    For a cap over a schedule. Between two numbers see ``a.clip(low, high)``.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = min(schedulers[0].lr(t), schedulers[1].lr(t), ...)

    There is one clock, this scheduler's own. Its base learning rate is the smallest of
    the members';
    a parameter group with one of its own, g, gets lr(t) * g / base_lr. With a plateau among the
    members every step needs a metric, ``step(metric=...)``.

    Parameters
    ----------
    schedulers : list of LRScheduler or float
        At least one scheduler; a number, >= 0, is a constant learning rate.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax, numpy as np
    >>> fast, slow = lrax.ExponentialLR(1.0, gamma=0.5), lrax.ExponentialLR(0.3, gamma=0.9)
    >>> print(lrax.minimum(fast, slow)(np.arange(4)).round(3))
    [0.3   0.27  0.243 0.125]

    Notes
    -----
    - torch, optax and braintools have no such class.
    """

    formula_class = _Minimum


def _operands(values: Any) -> list[tuple[Operand, ...]]:
    """The checked members of a combination, for each parameter group."""
    found = list(values) if _checks.is_list(values) else []
    if not any(isinstance(value, LRScheduler) for value in found):
        raise TypeError(
            f"schedulers must be a list of schedulers and numbers, with at least one scheduler, got {values!r:.80}."
        )
    columns = {f"schedulers[{i}]": _operand(f"schedulers[{i}]", v) for i, v in enumerate(found)}
    return in_groups(columns)


def _operand(name: str, value: Any) -> tuple[Operand, ...]:
    if isinstance(value, LRScheduler):
        return tuple(member for member, _ in value.pieces())
    return (_checks.non_negative(name, value),)
