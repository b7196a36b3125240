"""Hyper-parameters that follow a schedule."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._types import Number, Unchecked
from ..formulas.arithmetic import SMALLEST
from ..formulas.evaluate import evaluate_vector, is_concrete
from ..formulas.formula import Formula
from ..formulas.hyper import Hyper, share
from ..formulas.schedule import Member
from ..schedulers.linear import constant
from ..schedulers.piecewise import of_function
from ..schedulers.scheduler import LRScheduler
from ..states.clock import LAST_EPOCH

_SHARES = ("momentum", "beta", "rho", "b1", "b2", "b3", "adam_b1", "adam_b2")
"""How the names begin of what must lie in [0, 1)."""


def as_schedule(name: str, value: Unchecked) -> Member | None:
    """The schedule that is a scheduler, or a function of the epoch; None for anything else."""
    if isinstance(value, Member):
        return value
    if isinstance(value, LRScheduler):
        member, *others = (member for member, _ in value.pieces())
        if others:
            raise ValueError(
                f"{name} must be a scheduler with one base_lr, not a list of {1 + len(others)}, got {value!r:.80}. "
                "Make one for each parameter group."
            )
        return member
    if callable(value) and not isinstance(value, type):
        return of_function(value)
    return None


def fixed_at(number: Number) -> Member:
    """A schedule that always gives this number."""
    return constant(number).pieces()[0][0]


def within_range(name: str, schedule: Formula) -> Hyper:
    """The schedule of a hyper-parameter of that name, kept in the range that its optimizer needs."""
    if name.startswith("grad_clip"):
        return Hyper(name, schedule, low=SMALLEST)
    if name.startswith(_SHARES):
        return share(name, schedule)
    return Hyper(name, schedule)


def check_range(name: str, schedule: Any) -> None:
    """Refuse a schedule that is out of its range at an epoch where it can be known."""
    if not isinstance(schedule, Member) or not is_concrete((schedule, schedule.base)):
        return
    hyper = within_range(name, schedule)
    epochs = np.zeros(1, np.int64)
    if not _calls_functions(schedule):
        epochs = _telling_epochs(schedule, far=hyper.low == 0)  # in the long run a decay is 0
    found = evaluate_vector((Hyper(name, schedule),), (schedule.base,), epochs, LRScheduler)[:, 0]
    bad = (found > hyper.high) | (found < hyper.low)
    if bad.any():
        requirement = "a number in [0, 1)" if hyper.low == 0 else "a number > 0"
        where = bad.argmax()
        raise ValueError(
            f"{name} must be {requirement}, got {found[where]:g} at epoch {epochs[where]} of {schedule!r:.200}."
        )


def _telling_epochs(schedule: Formula, far: bool) -> np.ndarray:
    """The first epochs, those beside the whole numbers that it is made of, and if `far` ever fewer up to the last.

    And beside the sums of two, since what begins at a milestone ends later by its length.
    """
    numbers = {0, *_whole_numbers(schedule)}
    if len(numbers) <= 64:
        numbers = {a + b for a in numbers for b in numbers}
    few = [*range(1024), *np.geomspace(1024, LAST_EPOCH, 512)] if far else [0]
    near = [n + d for n in numbers for d in (-1, 0, 1)]
    epochs = np.unique(np.array([*few, *near], np.int64))
    return epochs[(epochs >= 0) & (epochs <= LAST_EPOCH)]


def _fields(formula: Formula) -> Iterator[Any]:
    for field in dataclasses.fields(formula):
        value = getattr(formula, field.name)
        yield from value if isinstance(value, tuple) else (value,)


def _whole_numbers(formula: Formula) -> Iterator[int]:
    for value in _fields(formula):
        if isinstance(value, Formula):
            yield from _whole_numbers(value)
        elif isinstance(value, (int, float)) and 0 <= value <= LAST_EPOCH and value == int(value):
            yield int(value)


def _calls_functions(formula: Formula) -> bool:
    """Whether a function of the user's would be called, which need not be defined at every epoch."""
    return any(
        _calls_functions(value) if isinstance(value, Formula) else callable(value)
        for value in _fields(formula)
        if not isinstance(value, type)
    )
