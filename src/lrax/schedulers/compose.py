"""Schedules made of schedules: one after the other, and multiplied."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from .. import _checks
from .._checks import Number
from ..formulas.arithmetic import Arithmetic
from ..formulas.formula import Formula
from ..formulas.pieces import ratio
from ._base import LRScheduler


@dataclasses.dataclass(frozen=True)
class _Piece:
    """A formula with the base learning rate of the scheduler it came from."""

    formula: Formula
    base: Number

    def raw(self, t: Any, scale: Any, x: Arithmetic) -> Any:
        return self.formula.raw(t, self.base * scale, x)


@dataclasses.dataclass(frozen=True)
class _Composite(Formula):
    pieces: tuple[_Piece, ...]

    def with_reductions(self, counts: Iterator[Any]) -> Formula:
        pieces = tuple(
            _Piece(piece.formula.with_reductions(counts), piece.base) for piece in self.pieces
        )
        return dataclasses.replace(self, pieces=pieces)


@dataclasses.dataclass(frozen=True)
class _Sequential(_Composite):
    milestones: tuple[Number, ...]

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        scale = ratio(x, base, self.pieces[0].base)

        def part(i: int) -> Any:
            piece, start = self.parts[i]
            return piece.raw(x.maximum(t - start, 0) if i else t, scale, x)

        return x.choose(self.milestones, t, part)

    @functools.cached_property
    def parts(self) -> tuple[tuple[_Piece, Number], ...]:
        """The pieces, each with the epoch at which it takes over."""
        return tuple(zip(self.pieces, (0, *self.milestones), strict=True))

    def plateaus(self, start: Any = 0) -> tuple[tuple[Any, Any], ...]:
        return sum((piece.formula.plateaus(start + begin) for piece, begin in self.parts), ())


@dataclasses.dataclass(frozen=True)
class _Chained(_Composite):
    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        lr = base
        for piece in self.pieces:
            lr = lr * ratio(x, piece.raw(t, 1, x), piece.base)
        return lr

    def plateaus(self, start: Any = 0) -> tuple[tuple[Any, Any], ...]:
        return sum((piece.formula.plateaus(start) for piece in self.pieces), ())


def _members(schedulers: Any) -> tuple[list[LRScheduler], int]:
    """The checked members of a composite, and for how many parameter groups they are made."""
    if not isinstance(schedulers, (list, tuple)) or not schedulers:
        raise TypeError(f"schedulers must be a list of at least one scheduler, got {schedulers!r}.")
    for i, scheduler in enumerate(schedulers):
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"schedulers[{i}] must be an lrax scheduler, got {scheduler!r}.")
    groups = _checks.group_count(
        **{f"schedulers[{i}]": s.pieces() for i, s in enumerate(schedulers)}
    )
    return list(schedulers), groups


def _pieces(schedulers: list[LRScheduler], group: int) -> tuple[_Piece, ...]:
    return tuple(_Piece(*s.pieces()[min(group, len(s.pieces()) - 1)]) for s in schedulers)


class SequentialLR(LRScheduler):
    """Run one scheduler after the other, each from its own epoch 0 on.

    For warmups, and for schedules of several phases. To have several at the same time, multiplied,
    use ChainedScheduler.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = schedulers[i].lr(t - start)      i = number of milestones <= t,
                                                 start = milestones[i - 1], or 0 for i = 0

    The last scheduler goes on as it does by itself. A milestone that is listed twice leaves out the
    scheduler in between. For a parameter group with a base learning rate of its own those of all
    `schedulers` are scaled by its ratio to the first's; an `eta_min` or `warmup_start_lr` stays.

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
    - torch: the same values for plain schedulers, but a cosine in last place rises again. A
      composite inside runs one epoch ahead (in first place) or fails (later), a OneCycleLR inside
      changes the base learning rate of the others, and a plateau is refused.
    - braintools: the same values eagerly; compiled, it stands still, or fails when attached.
    - optax: ``join_schedules(schedules, boundaries)``.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], milestones: Any, last_epoch: int = 0
    ) -> None:
        members, groups = _members(schedulers)
        milestones = _checks.milestones("milestones", milestones)
        if len(members) != len(milestones) + 1:
            raise ValueError(
                "milestones must have one entry fewer than schedulers, at which the next one takes over, "
                f"got {len(milestones)} milestones for {len(members)} schedulers."
            )
        formulas = [_Sequential(_pieces(members, group), milestones) for group in range(groups)]
        super().__init__([f.pieces[0].base for f in formulas], last_epoch, formula=formulas)


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

    def __init__(self, schedulers: Sequence[LRScheduler], last_epoch: int = 0) -> None:
        members, groups = _members(schedulers)
        formulas = [_Chained(_pieces(members, group)) for group in range(groups)]
        for i, piece in [pair for formula in formulas for pair in enumerate(formula.pieces)]:
            if not _checks.is_traced(piece.base) and piece.base == 0:
                raise ValueError(
                    f"schedulers[{i}] must have a base_lr > 0, since its factor is lr / base_lr, got 0."
                )
        super().__init__([f.pieces[0].base for f in formulas], last_epoch, formula=formulas)
