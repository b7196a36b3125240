"""What a picture shows: learning rates and hyper-parameters at many epochs, and the phases between."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from .. import _checks
from .._types import Epochs, Number, Rates, Scalar
from ..formulas.evaluate import evaluate
from ..formulas.hyper import Hyper, share
from ..formulas.schedule import Member, Schedule

POINTS = 1200
"""Of a curve; a run of fewer epochs is drawn at each of them."""


class Drawn(Protocol):
    """A scheduler."""

    boundaries: Any
    total_steps: Any
    publishing: Any
    formulas: Any

    @property
    def schedule(self) -> Schedule: ...
    def lr_at(self, epoch: Epochs) -> Rates: ...
    def phase_at(self, epoch: Scalar) -> str: ...
    def refuse_memory(self) -> None: ...
    def momentum_schedule(self) -> Member | None: ...


@dataclasses.dataclass(frozen=True)
class Phase:
    """What a schedule does from one epoch to another."""

    start: int
    end: int
    name: str


@dataclasses.dataclass(frozen=True)
class Curve:
    """A schedule from epoch 0 to `steps`."""

    label: str
    epochs: np.ndarray
    rates: np.ndarray
    """One column for each parameter group."""

    hyper: tuple[tuple[str, np.ndarray], ...]
    """The names and values of the hyper-parameters that follow a schedule."""

    phases: tuple[Phase, ...]

    @property
    def steps(self) -> int:
        return int(self.epochs[-1])


def curve(scheduler: Drawn, steps: int, label: str = "", whole: bool = False) -> Curve:
    """The learning rate and whatever else is published: at as many epochs as a picture can show, or at all."""
    epochs = np.arange(steps + 1) if whole else telling_epochs(scheduler, steps)
    rates = _rates(scheduler, epochs)
    values = [
        (formula.name, evaluate((formula,), (base,), epochs, type(scheduler))[:, 0])
        for formula, base in _hyper(scheduler)
    ]
    return Curve(label, epochs, rates, tuple(values), tuple(_phases(scheduler, steps)))


def _rates(scheduler: Drawn, epochs: np.ndarray) -> Rates:
    """Of the groups of the optimizer that shows them, where each of them is known; else of the scheduler's own."""
    found = scheduler.publishing.first.rates_at(epochs, scheduler.formulas, type(scheduler))
    return scheduler.lr_at(epochs) if found is None else found


def telling_epochs(scheduler: Drawn, steps: int) -> np.ndarray:
    """As many epochs as a picture can show; a jump takes one epoch, however many there are."""
    if steps <= POINTS:
        return np.arange(steps + 1)
    grid = np.linspace(0, steps, POINTS + 1).astype(np.int64)
    beside = [b + d for b in scheduler.boundaries if b <= steps for d in (-1, 0)]
    return np.unique(np.array([*grid, *beside], np.int64))


def _hyper(scheduler: Drawn) -> Iterator[tuple[Hyper, Number]]:
    """What follows the clock of a scheduler beside the learning rate: of its own, or of an optimizer's."""
    plans = [f.plan for f in scheduler.publishing.followers if f.plan is not None]
    published = [(formula, base) for plan in plans for formula, base in plan.more]
    own = scheduler.momentum_schedule()
    if own is not None and not published:
        published = [(share("momentum", own), own.base)]
    return ((formula, base) for formula, base in published if not formula.learners())


def _phases(scheduler: Drawn, steps: int) -> Iterator[Phase]:
    """From each boundary to the next."""
    inside = [b for b in scheduler.boundaries if b < steps]
    for start, end in itertools.pairwise([0, *inside, steps]):
        yield Phase(start, end, scheduler.phase_at(start))


def length(schedulers: Iterable[Drawn], steps: int | None) -> int:
    """How many steps a picture shows."""
    return _checks.number_or_none("steps", steps) or max(map(_own_length, schedulers))


def _own_length(scheduler: Drawn) -> int:
    """To its end, and a while longer where it has come up and goes on there; so many changes of one without end."""
    scheduler.refuse_memory()
    end, boundaries = scheduler.total_steps, scheduler.boundaries
    if end and end <= _checks.LAST_EPOCH:
        rates = scheduler.lr_at(np.array([0, end]))
        return end if np.any(rates[1] < rates[0]) or len(boundaries) > 1 else 4 * end
    if boundaries:
        return boundaries[5] if len(boundaries) > 6 else 10 * boundaries[-1]
    return _half_lives(scheduler)


def _half_lives(scheduler: Drawn) -> int:
    """Until it has come down to a hundredth, if it does in a million epochs; a hundred epochs else."""
    if any(member.asks_users for member in scheduler.schedule.members):
        return 100
    first = scheduler.lr_at(0)
    lengths = (2**n for n in range(3, 21))
    return next((n for n in lengths if np.all(scheduler.lr_at(n) <= first / 100)), 100)


def labels(schedulers: Iterable[Drawn]) -> list[str]:
    """A short name for each of several: the class, and the arguments in which those of a class differ.

    What is still the same, as it is shortened or of equal schedules, is numbered.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    found = []
    for scheduler in schedulers:
        name, arguments = scheduler.schedule.kind.__name__, scheduler.schedule.arguments()
        kinds.setdefault(name, []).append(arguments)
        found.append((name, arguments))
    shown = [_label(name, arguments, kinds[name]) for name, arguments in found]
    return [
        f"{label} {shown[: i + 1].count(label)}" if shown.count(label) > 1 else label
        for i, label in enumerate(shown)
    ]


def _label(name: str, arguments: dict[str, Any], alike: list[dict[str, Any]]) -> str:
    if len(alike) == 1:
        return name
    own = [k for k, v in arguments.items() if any(other.get(k) != v for other in alike)]
    shown = ", ".join(f"{key}={arguments[key]!r:.40}" for key in own)
    return f"{name}({shown or '...'})"
