"""The check-up: what is probably not meant in a schedule, for a run of a known length."""

import bisect
import copy
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from .. import _checks
from ..optimizers.arrangement import leaves_of
from ..optimizers.optimizer import OptaxOptimizer
from ..optimizers.weights import named_weights
from ..pictures.curve import length, telling_epochs
from ..schedulers.scheduler import LRScheduler

_RISES = ("warmup", "rise")

_EPOCHS = 100
"""In a run of unknown length: numbers up to this one may be meant in epochs, if an epoch has as many steps."""

_HALF = (np.dtype(np.float16), np.dtype(jnp.bfloat16))


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is probably not meant, and what to do about it; `name` is the same in every version."""

    name: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found} {self.remedy}"


def check(
    scheduler: LRScheduler | OptaxOptimizer,
    total_steps: int | None = None,
    steps_per_epoch: int | None = None,
) -> list[Finding]:
    """What is probably not meant in a schedule, each with its remedy; an empty list if there is nothing.

    Parameters
    ----------
    scheduler : LRScheduler or optimizer
        Of an optimizer its scheduler, and its weights. A scheduler that learns from step to step has
        no learning rate at a given one, and is not looked into.
    total_steps : int, optional
        How often the run calls ``step()``, >= 1. None: until the schedule ends.
    steps_per_epoch : int, optional
        The number of steps in an epoch of the data, >= 1, if ``step()`` is called for each batch.

    Returns
    -------
    list
        Entries with a ``name``, what was ``found`` and the ``remedy``:

        - ``zero``: more than the first update has learning rate 0;
        - ``jump``: at a boundary it jumps, and not from one constant to another, back up to where it
          was, or down within a decay;
        - ``warmup``: the warmup is longer than the run;
        - ``ends_early``, ``ends_late``: the decay ends long before the run or after it;
        - ``rises``: it rises again after its end;
        - ``epochs``: numbers that look like epochs, in a loop over batches;
        - ``peak``: its highest learning rate comes after the run;
        - ``half_precision``: most weights of half precision are too large to change by such a step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> for found in lrax.check(lrax.CosineAnnealingLR(0.1, T_max=90), total_steps=9000):
    ...     print(found)
    ends_early: the decay ends at step 90, and the other 8910 of 9000 steps have learning rate 0. Give it the length of the run, or scheduler.stretch(100).
    """
    steps = _checks.number_or_none("total_steps", total_steps)
    per_epoch = _checks.number_or_none("steps_per_epoch", steps_per_epoch)
    optimizer = None
    if isinstance(scheduler, OptaxOptimizer):
        optimizer, scheduler = scheduler, scheduler.lr
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(f"scheduler must be an lrax scheduler or optimizer, got {scheduler!r:.80}.")
    if scheduler.learning is not None:
        return []
    run = _Run(scheduler, steps, per_epoch, optimizer)
    runs = [run.of_group(group) for group in _telling(scheduler)]
    found = (next(filter(None, map(rule, runs)), None) for rule in _RULES)
    return [finding for finding in found if finding is not None]


def _telling(scheduler: LRScheduler) -> list[int]:
    """The groups that are looked at: a frozen one has no say, and those of one formula are alike."""
    moving = [group for group, base in enumerate(scheduler.base_lrs) if base != 0] or [0]
    return moving if len(scheduler.formulas) > 1 else moving[:1]


class _Run:
    """A schedule in a run of so many steps; what was looked up once serves all of its groups."""

    base: float
    group: int
    rates: np.ndarray
    peak: float
    last: float

    def __init__(
        self,
        scheduler: LRScheduler,
        steps: int | None,
        per_epoch: int | None,
        optimizer: OptaxOptimizer | None,
    ) -> None:
        self.scheduler, self.per_epoch, self.known = scheduler, per_epoch, steps is not None
        self.optimizer = optimizer
        self.end, self.boundaries = scheduler.total_steps, scheduler.boundaries
        self.steps = steps or self.end or length([scheduler], None)
        self.t = telling_epochs(scheduler, self.steps - 1)
        self.phase = functools.cache(scheduler.phase_at)
        self._rates_at: dict[Any, Any] = {}

    def of_group(self, group: int) -> "_Run":
        run = copy.copy(self)
        run.group, run.base = group, float(self.scheduler.base_lrs[group])
        run.rates = run.at(self.t)
        run.peak, run.last = float(run.rates.max()), float(run.rates[-1])
        return run

    def at(self, epochs: Any) -> Any:
        epochs = np.maximum(np.asarray(epochs, np.int64), 0)
        key = epochs.shape, epochs.tobytes()
        if key not in self._rates_at:
            self._rates_at[key] = self.scheduler.lr_at(epochs)
        return np.float64(self._rates_at[key][..., self.group])


def _zero(run: _Run) -> Finding | None:
    moving = np.flatnonzero(run.rates)
    if not moving.size:
        what = "the learning rate is 0 in the whole run."
        return Finding("zero", what, "Give it a base learning rate above 0, or a longer run.")
    if moving[0] < 2:
        return None
    before, after = run.t[moving[0] - 1 : moving[0] + 1].tolist()
    rest = range(before + 1, after)
    first = rest.start + bisect.bisect_left(rest, True, key=lambda t: bool(run.at(t) > 0))
    return Finding(
        "zero",
        f"the first {first} updates have learning rate 0, and change nothing.",
        "Begin the warmup above 0 (warmup_start_lr, start_lr), or leave the delay out.",
    )


def _jump(run: _Run) -> Finding | None:
    inside = [0, *(b for b in run.boundaries if b < run.steps), max(run.steps, 2)]
    for start, b, end in zip(inside, inside[1:], inside[2:], strict=False):
        before, after = run.at([b - 1, b])
        if b - start > 1 and _is_jump(run, start, b, end):
            return Finding(
                "jump",
                f"at step {b} the learning rate jumps from {before:.4g} to {after:.4g}.",
                "Let what follows begin where the other ends: with the same base learning rate, or by with_warmup(...), "
                "which rises to whatever follows.",
            )
    return None


def _is_jump(run: _Run, start: int, b: int, end: int) -> bool:
    """Whether it jumps at b, and neither in stairs nor back up to where it was, nor down to a new warmup."""
    first, long_before, before, after, later, last = run.at(
        [start, b - 2, b - 1, b, b + 1, end - 1]
    )
    slope = max(abs(before - long_before), abs(later - after))
    least = max(3 * slope, 0.05 * run.peak, 0.2 * max(before, after))
    if abs(after - before) <= least:
        return False
    was, becomes = run.phase(b - 1), run.phase(b)
    if becomes in _RISES:
        return False
    if was in _RISES:
        return True
    if after > before:
        known = run.rates[run.t < b].max()
        if was == becomes:  # up to the base learning rate is the end of a warmup in steps
            known = max(known, run.base)
        return after > 1.001 * known and (first != before or last != after)
    return last != after and was != becomes


def _warmup(run: _Run) -> Finding | None:
    starts = [0, *(b for b in run.boundaries if b < run.steps), run.steps]
    if any(run.phase(start) != "warmup" for start in starts):
        return None
    end = next((b for b in run.boundaries if b > run.steps and run.phase(b) != "warmup"), None)
    long = "" if end is None else f" of {end} steps"
    return Finding(
        "warmup",
        f"the warmup{long} is longer than the run of {run.steps} steps, which ends at {run.last:.4g}.",
        "Shorten the warmup: 1 to 10 % of the run are common.",
    )


def _ends_early(run: _Run) -> Finding | None:
    end = run.end
    if _epochs(run):
        return None
    if run.known and run.end is None and (gone := _gone_from(run, 1e-6)) < run.steps // 2:
        return Finding(
            "ends_early",
            f"from step {gone} on the learning rate is less than a millionth of the highest, and the run has {run.steps} steps.",
            f"Let it fall more slowly, or scheduler.stretch({run.steps / gone:.4g}).",
        )
    if not end or end >= 0.9 * run.steps:
        return None
    if run.at(end - 1) == run.at(end):  # OneCycleLR is down one step before
        end -= 1
    long_before, before, final = run.at([end - 2, end - 1, end])
    if before <= final or (long_before == before and final < 0.99 * before):
        return None  # a rise, or the last of some stairs
    return Finding(
        "ends_early",
        f"the decay ends at step {end}, and the other {run.steps - end} of {run.steps} steps have learning rate {final:.4g}.",
        f"Give it the length of the run, or scheduler.stretch({run.steps / end:.4g}).",
    )


def _gone_from(run: _Run, share: float) -> int:
    """Since when the learning rate is for good at most a share of the highest; the length of the run if it never is."""
    least = share * run.peak
    left = np.flatnonzero(run.rates > least)
    if not left.size or left[-1] == len(run.t) - 1:
        return run.steps
    last, beyond = run.t[left[-1] : left[-1] + 2].tolist()
    falls = range(last, beyond)
    return last + bisect.bisect_left(falls, True, key=lambda t: bool(run.at(t) <= least))


def _ends_late(run: _Run) -> Finding | None:
    end = run.end
    if end is None or end <= 1.1 * run.steps + 1:
        return None
    final = float(run.at(end))
    left, all_of_it = run.last - final, run.peak - final
    if left <= 0.05 * run.peak or (end > 10 * run.steps and left < all_of_it / 2):
        return None  # it has come to its end, or falls for ever to a bound
    return Finding(
        "ends_late",
        f"the schedule ends at step {end}, long after the run of {run.steps} steps, which stops at {run.last:.4g} and not at {final:.4g}.",
        f"Give it the length of the run, or scheduler.stretch({run.steps / end:.4g}).",
    )


def _rises(run: _Run) -> Finding | None:
    """A function of the user's that came down and goes up again: a cosine that knows no end."""
    if run.phase(run.steps - 1) != "function":
        return None
    rates, top = run.rates, int(run.rates.argmax())
    low = top + int(rates[top:].argmin())
    if rates[low] > 0.1 * run.peak:
        return None
    after = rates[low:]
    if low == len(rates) - 1:  # the run ends at its lowest
        try:
            after = run.at(np.linspace(run.steps, 1.5 * run.steps, 65))
        except Exception:  # it is asked beyond its run, where it may know nothing
            return None
    rise, highest = after.max() - rates[low], int(after.argmax())
    jumps = np.diff(after).max() > rise / 2
    cycles = after[highest:].min() < rates[low] + 0.1 * rise
    if rise <= 0.1 * run.peak or jumps or cycles:
        return None
    return Finding(
        "rises",
        f"after step {run.t[low]}, where the learning rate is {rates[low]:.4g}, it rises again.",
        "Use a schedule that holds its last value, or let the function do so: lambda t: f(min(t, end)).",
    )


def _epochs(run: _Run) -> Finding | None:
    if run.per_epoch is None or run.per_epoch == 1:
        return None
    if run.known:
        few = 1.5 * run.steps / run.per_epoch
    else:
        few = _EPOCHS if run.per_epoch >= _EPOCHS else 0
    what = _too_soon(run, few, run.per_epoch)
    if what is None:
        return None
    return Finding(
        "epochs",
        f"{what}, and an epoch has {run.per_epoch} steps.",
        f"Its numbers look like epochs: scheduler.stretch({run.per_epoch}) makes steps of them, "
        "or call step() once in an epoch.",
    )


def _too_soon(run: _Run, few: float, per_epoch: int) -> str | None:
    """What a schedule has done after as many steps as there are epochs; None if that is no sign of anything."""
    if run.end is not None:
        early = run.end <= few and 2 * run.end < run.steps if run.known else run.end < per_epoch
        falls = run.at(run.end) < run.peak
        return f"the schedule is over at step {run.end}" if early and falls else None
    inside = [b for b in run.boundaries if b < run.steps]
    half = run.steps // 2
    gone = run.known and _gone_from(run, 1e-9) < half
    in_an_epoch = [b for b in inside if b < per_epoch and run.phase(b - 1) not in _RISES]
    busy = len(in_an_epoch) >= 3 or len(inside) >= 100
    if inside and inside[0] <= few and inside[0] < per_epoch and (gone or busy):
        return f"the schedule changes at step {inside[0]} already, and again and again"
    if gone and not inside:
        return f"at step {half}, half-way, the learning rate has come down to {run.at(half):.4g}"
    return None


def _peak(run: _Run) -> Finding | None:
    if _warmup(run):
        return None
    last = run.end if run.end is not None else max(run.boundaries[:6], default=0)
    if last <= run.steps:
        return None
    later = [b for b in run.boundaries if run.steps <= b <= last]
    rates = run.at([*later, last])
    if rates.max() <= 1.02 * run.peak:
        return None
    return Finding(
        "peak",
        f"the highest learning rate, {rates.max():.4g}, comes after the run of {run.steps} steps, whose highest is {run.peak:.4g}.",
        "Make the rise shorter, or the run longer.",
    )


def _half_precision(run: _Run) -> Finding | None:
    """A step of Adam is about as large as the learning rate; what it changes must not be too large beside it."""
    numbers = too_large = 0
    highest = 0.0
    for peak, weight in _trained(run):
        if weight.dtype in _HALF and weight.size:
            sizes = np.abs(np.asarray(weight, np.float32))
            half_a_digit = float(jnp.finfo(weight.dtype).eps) / 4 * sizes
            numbers += weight.size
            too_large += int((half_a_digit > peak).sum())
            highest = max(highest, peak)
    if 2 * too_large <= numbers:
        return None
    return Finding(
        "half_precision",
        f"a step as large as the highest learning rate, {highest:.4g}, is less than half a digit of most weights of half precision, "
        "and rounded away.",
        "Keep the weights in float32 and cast them where they are used, or raise the learning rate.",
    )


def _trained(run: _Run) -> Iterator[tuple[float, Any]]:
    """The leaves that the optimizer trains, each with the highest learning rate of its group."""
    if run.optimizer is None or not run.optimizer.param_states:
        return
    try:
        peaks = run.optimizer.lr_at(run.t).max(0)
    except (TypeError, ValueError):  # it depends on what it was before, or is inside of tx
        return
    for peak, group in zip(peaks.tolist(), run.optimizer.param_groups, strict=True):
        for path, leaf in leaves_of(named_weights(group["params"], {})).items():
            # A single State that was registered bare has no name in the paths.
            if {path, path.removeprefix("weights.")} & {*group["leaves"]}:
                yield peak, leaf


_RULES = (
    _zero,
    _jump,
    _warmup,
    _ends_early,
    _ends_late,
    _rises,
    _epochs,
    _peak,
    _half_precision,
)
