"""Hugging Face's names for schedules: ``get_scheduler`` of transformers, with the same arguments."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from .. import _checks
from .._types import Number, RatesLike
from ..schedulers import catalogue as ours
from ..schedulers.scheduler import LRScheduler


def get_scheduler(
    name: str,
    base_lr: RatesLike,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    **kwargs: Any,
) -> LRScheduler:
    """The scheduler that Hugging Face's ``get_scheduler`` makes, by the same name and arguments.

    The learning rates are theirs in every update of the training. After it the last one is held,
    where their cosines rise again. It is made of the classes here: print it to see of which. Where
    ours differs:

    - "polynomial" ends at `lr_end` in every parameter group; theirs at that share of the
      optimizer's own learning rate which `lr_end` is, and so a group with another one elsewhere.
    - A `min_lr` is a learning rate, which several groups would not share; they divide it by the
      optimizer's own. With a list give `min_lr_rate`.
    - "cosine_warmup_with_min_lr" with no warmup, and with another `num_cycles` than 0.5, is a
      LambdaLR, whose function is not saved: no class begins in the middle of a wave.

    Parameters
    ----------
    name : str
        "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts",
        "polynomial", "inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
        "warmup_stable_decay", "reduce_lr_on_plateau" or "greedy".
    base_lr : float or list of float
        The learning rate that they read in the optimizer; a list has one entry for each parameter
        group.
    num_warmup_steps, num_training_steps : int, optional
        Length of the warmup and of the whole training. Required where the schedule has them.
    kwargs
        What they take as ``scheduler_specific_kwargs``, such as ``num_cycles=3`` or ``min_lr=1e-5``.

    Raises
    ------
    TypeError
        If the schedule has no such argument, or an argument is of the wrong type, or is traced where
        the schedule is made by it (`num_cycles` of restarts).
    ValueError
        If `name` is unknown, an argument is missing, or has a value that is not allowed.

    Examples
    --------
    >>> import lrax
    >>> lrax.get_scheduler("linear", 1e-3, num_warmup_steps=10, num_training_steps=100)
    WSDSchedule(base_lr=0.001, warmup_steps=10, total_steps=100, decay_steps=90, decay='linear', warmup='linear', warmup_start_lr=0.0, eta_min=0.0)
    """
    _checks.choice("name", name, tuple(_SCHEDULES))
    name = next(known for known in _SCHEDULES if known == name)  # an enum hashes otherwise
    make = _SCHEDULES[name]
    bases = _checks.learning_rates("base_lr", base_lr)
    base_lr = bases if _checks.is_list(base_lr) else base_lr
    takes = dict(inspect.signature(make).parameters)
    lengths = {"num_warmup_steps": num_warmup_steps, "num_training_steps": num_training_steps}
    _check_keywords(name, kwargs, takes, ("base_lr", *lengths))
    given = {key: value for key, value in lengths.items() if key in takes} | kwargs
    for key in takes.keys() - {"base_lr"}:
        if takes[key].default is inspect.Parameter.empty and given.get(key) is None:
            raise ValueError(f"{key} must be a whole number of steps for {name!r}, got None.")
    return make(base_lr, **given)


def _check_keywords(name: str, given: Any, takes: dict[str, Any], common: Sequence[str]) -> None:
    if (nested := "scheduler_specific_kwargs") in given:
        raise TypeError(
            f"{nested} must be passed as plain arguments, got {given[nested]!r:.80}. "
            f"Write get_scheduler({name!r}, base_lr, ..., **{nested})."
        )
    if isinstance(_SCHEDULES[name], type):
        return  # which checks them
    known = [key for key in takes if key not in common]
    for key, value in given.items():
        if key not in known:
            what = ", ".join(known) if known else "no further arguments"
            raise TypeError(
                f"{key} must be an argument of {name!r}, got {key}={value!r:.80}. It takes {what}."
            )


def _lengths(num_warmup_steps: Any, num_training_steps: Any, least: int = 0) -> tuple[Any, Any]:
    """Warmup and total, which must be at least `least` more."""
    warmup = _checks.integer("num_warmup_steps", num_warmup_steps)
    total = _checks.integer("num_training_steps", num_training_steps, low=1)
    if not (_checks.is_traced(warmup) or _checks.is_traced(total)) and total < warmup + least:
        raise ValueError(
            f"num_training_steps must be {'>' if least else '>='} num_warmup_steps, which it includes, got {total} and {warmup}."
        )
    return warmup, total


def _at_least(number: Number, low: Number) -> Number:
    traced = _checks.is_traced(number) or _checks.is_traced(low)
    return jnp.maximum(number, low) if traced else max(number, low)


def _known(name: str, value: Any) -> Any:
    """`value`, which decides of what the schedule is made."""
    if _checks.is_traced(value):
        raise TypeError(
            f"{name} must be a known number, since what the schedule is made of depends on it, got {value!r:.80}. "
            "Pass a Python number; lengths and learning rates may be traced."
        )
    return value


def _constant(base_lr: RatesLike) -> LRScheduler:
    return ours.ConstantLR(base_lr, factor=1.0, total_iters=0)


def _constant_with_warmup(base_lr: RatesLike, num_warmup_steps: Any) -> LRScheduler:
    return ours.WarmupScheduler(base_lr, _checks.integer("num_warmup_steps", num_warmup_steps))


def _linear(base_lr: RatesLike, num_warmup_steps: Any, num_training_steps: Any) -> LRScheduler:
    return ours.WSDSchedule(base_lr, *_lengths(num_warmup_steps, num_training_steps))


def _cosine(
    base_lr: RatesLike, num_warmup_steps: Any, num_training_steps: Any, num_cycles: Any = 0.5
) -> LRScheduler:
    return _waves(base_lr, *_lengths(num_warmup_steps, num_training_steps), num_cycles)


def _waves(
    base_lr: Any, warmup: Any, total: Any, cycles: Any, eta_min: Any = 0.0, start_lr: Any = 0.0
) -> LRScheduler:
    """A warmup, and a cosine that has gone down and up `cycles` times at `total`."""
    cycles = _checks.positive("num_cycles", cycles)
    if not _checks.is_traced(cycles) and cycles == 0.5:
        return ours.WarmupCosineSchedule(base_lr, warmup, total, start_lr, eta_min)
    many = _checks.is_list(base_lr)  # of "cosine", whose eta_min is 0
    top = 1.0 if many else base_lr
    wave = [ours.CosineAnnealingLR(top, 1, eta_min), ours.CosineAnnealingLR(eta_min, 1, top)]
    length = _at_least(total - warmup, 1)
    found = ours.SequentialLR(wave, [1]).repeat(2)
    if _checks.is_traced(length):  # a whole number is exact in float32
        found = found.stretch(1 / (2 * cycles)).stretch(length)
    else:
        found = found.stretch(length / (2 * cycles))
    found = found.repeat(length, limit=1)
    return (_constant(base_lr) * found if many else found).with_warmup(warmup, start_lr=start_lr)


def _cosine_with_restarts(
    base_lr: RatesLike, num_warmup_steps: Any, num_training_steps: Any, num_cycles: Any = 1
) -> LRScheduler:
    warmup, total = _lengths(num_warmup_steps, num_training_steps)
    cycles = _checks.integer("num_cycles", _known("num_cycles", num_cycles), low=1)
    length = _at_least(total - warmup, 1)
    if not _checks.is_traced(length) and length % cycles == 0:
        found = ours.CosineAnnealingWarmRestarts(base_lr, length // cycles, cycle_limit=cycles)
    else:
        cosine = ours.CosineAnnealingLR(base_lr, length)
        found = cosine.repeat(length, limit=cycles).stretch(1 / cycles)
    return found.with_warmup(warmup)


def _refuse_rise(base_lr: RatesLike, end: Any) -> None:
    rate = _checks.learning_rates("base_lr", base_lr)[0]  # as theirs, which asks the first
    if not (_checks.is_traced(rate) or _checks.is_traced(end)) and rate <= end:
        raise ValueError(
            f"lr_end must be less than base_lr, {rate}, got {end}. For a rise use PolynomialLR(..., eta_min=...)."
        )


def _polynomial(
    base_lr: RatesLike,
    num_warmup_steps: Any,
    num_training_steps: Any,
    lr_end: Any = 1e-7,
    power: Any = 1.0,
) -> LRScheduler:
    warmup, total = _lengths(num_warmup_steps, num_training_steps, 1)
    end = _checks.non_negative("lr_end", lr_end)
    _refuse_rise(base_lr, end)
    decay = ours.PolynomialLR(base_lr, total - warmup, power, eta_min=end)
    return decay.with_warmup(warmup)


def _inverse_sqrt(base_lr: RatesLike, num_warmup_steps: Any, timescale: Any = None) -> LRScheduler:
    warmup = _checks.integer("num_warmup_steps", num_warmup_steps)
    if timescale is None:
        traced = _checks.is_traced(warmup)
        timescale = jnp.where(warmup > 0, warmup, 10_000) if traced else warmup or 10_000
    return ours.InverseSqrtLR(base_lr, warmup, timescale=timescale)


def _cosine_with_min_lr(
    base_lr: RatesLike,
    num_warmup_steps: Any,
    num_training_steps: Any,
    num_cycles: Any = 0.5,
    min_lr: Any = None,
    min_lr_rate: Any = None,
) -> LRScheduler:
    lengths = _lengths(num_warmup_steps, num_training_steps)
    return _with_floor(
        base_lr, min_lr, min_lr_rate, lambda base, low: _waves(base, *lengths, num_cycles, low)
    )


def _cosine_warmup_with_min_lr(
    base_lr: RatesLike,
    num_warmup_steps: Any,
    num_training_steps: Any,
    num_cycles: Any = 0.5,
    min_lr: Any = None,
    min_lr_rate: Any = None,
    warmup_lr_rate: Any = None,
) -> LRScheduler:
    """It is one step ahead of the others: at its peak in the last step of the warmup."""
    warmup, total = _lengths(num_warmup_steps, num_training_steps)
    traced = _checks.is_traced(warmup)
    share = 1 / _at_least(warmup, 1) if warmup_lr_rate is None else warmup_lr_rate
    share = _checks.non_negative("warmup_lr_rate", share)
    end = _at_least(total, warmup + 1)  # where nothing is left, the warmup still ends at its peak

    def make(base: Any, low: Any) -> LRScheduler:
        if not traced and warmup == 0:
            return _one_step_ahead(base, low, total, num_cycles)
        found = _waves(base, warmup - 1, end - 1, num_cycles, low, base * share)
        if warmup_lr_rate is not None and (traced or warmup == 1):
            # A single step of warmup has the first learning rate of one.
            first: Any = jnp.where(warmup == 1, share, 1) if traced else share
            found = found * ours.ConstantLR(1.0, first, total_iters=1)
        return found

    return _with_floor(base_lr, min_lr, min_lr_rate, make)


def _one_step_ahead(base: Any, low: Any, total: Any, cycles: Any) -> LRScheduler:
    """At epoch t what the cosine from `base` to `low` has at t + 1."""
    if _checks.is_traced(cycles) or cycles != 0.5:
        if any(map(_checks.is_traced, (base, low, total, cycles))):
            raise TypeError(
                "num_warmup_steps must be traced, too, or > 0, where others are traced and num_cycles is not 0.5, got 0: "
                "what the schedule is made of depends on it. Pass jnp.asarray(0) as an argument of the traced function."
            )
        waves = _waves(base, 0, total, cycles, low)
        return ours.LambdaLR(1.0, lambda t: waves(t + 1))
    if not _checks.is_traced(base) and base == 0 and (_checks.is_traced(low) or low > 0):
        raise ValueError(
            f"base_lr must be > 0 with a min_lr and no warmup, since that is a share of it, got {base}. A rise from 0 is CosineAnnealingLR(0.0, T_max, eta_min)."
        )
    # The peak of torch's is at pct_start * total_steps - 1, which is one step before the first.
    end = {"div_factor": 1.0, "final_div_factor": _quotient(base, low)}
    return ours.OneCycleLR(base, total, pct_start=0.0, **end)


def _quotient(base: Any, low: Any) -> Any:
    """By what to divide `base` for `low`: a 0 is what float32 has none of."""
    if not (_checks.is_traced(base) or _checks.is_traced(low)):
        return min(base / low, 1e300) if low > 0 else 1e300
    some = jnp.asarray(low) > 0
    return jnp.clip(jnp.where(some, base / jnp.where(some, low, 1), 1e38), 1e-37, 1e38)


def _with_floor(
    base_lr: Any, min_lr: Any, min_lr_rate: Any, make: Callable[[Any, Any], LRScheduler]
) -> LRScheduler:
    """``make(base, low)`` for a lowest learning rate, or for a share of the base in every group."""
    if (min_lr is None) == (min_lr_rate is None):
        raise ValueError(
            f"min_lr must be given, or else min_lr_rate, got min_lr={min_lr}, min_lr_rate={min_lr_rate}."
        )
    if min_lr is not None and _checks.is_list(base_lr):
        raise ValueError(
            f"min_lr must be given as min_lr_rate with several base learning rates, got {min_lr!r:.80}."
        )
    if min_lr is not None:
        return make(base_lr, _checks.non_negative("min_lr", min_lr))
    share = _checks.non_negative("min_lr_rate", min_lr_rate)
    if _checks.is_list(base_lr):
        return _constant(base_lr) * make(1.0, share)
    return make(base_lr, base_lr * share)


def _warmup_stable_decay(
    base_lr: RatesLike,
    num_warmup_steps: Any,
    num_decay_steps: Any,
    num_training_steps: Any = None,
    num_stable_steps: Any = None,
    warmup_type: Any = "linear",
    decay_type: Any = "cosine",
    min_lr_ratio: Any = 0.0,
    num_cycles: Any = 0.5,
) -> LRScheduler:
    warmup = _checks.integer("num_warmup_steps", num_warmup_steps)
    decay = _checks.integer("num_decay_steps", num_decay_steps)
    if num_stable_steps is not None:
        total = warmup + _checks.integer("num_stable_steps", num_stable_steps) + decay
    elif num_training_steps is not None:
        total = _checks.integer("num_training_steps", num_training_steps, low=1)
        phases = warmup + decay
        if not (_checks.is_traced(phases) or _checks.is_traced(total)) and total < phases:
            raise ValueError(
                f"num_training_steps must be >= num_warmup_steps + num_decay_steps, got {total} < {phases}."
            )
    else:
        raise ValueError("num_training_steps must be given, or else num_stable_steps, got None.")
    if _known("num_cycles", num_cycles) != 0.5:
        raise ValueError(
            f"num_cycles must be 0.5, half a cosine, got {num_cycles!r:.80}. For more of it use 'cosine' or 'cosine_with_restarts'."
        )
    rise = _checks.choice("warmup_type", warmup_type, ("linear", "cosine", "1-sqrt"))
    fall = _checks.choice("decay_type", decay_type, ("linear", "cosine", "1-sqrt"))

    def make(base: Any, low: Any) -> LRScheduler:
        return ours.WSDSchedule(base, warmup, total, decay, fall, rise, low, low)

    share = _checks.non_negative("min_lr_ratio", min_lr_ratio)
    floor = _checks.is_traced(share) or share > 0
    return _with_floor(base_lr, None, share, make) if floor else make(base_lr, 0.0)


_SCHEDULES: dict[str, Callable[..., LRScheduler]] = {
    "constant": _constant,
    "constant_with_warmup": _constant_with_warmup,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "cosine_with_min_lr": _cosine_with_min_lr,
    "cosine_warmup_with_min_lr": _cosine_warmup_with_min_lr,
    "warmup_stable_decay": _warmup_stable_decay,
    "reduce_lr_on_plateau": ours.ReduceLROnPlateau,
    "greedy": ours.GreedyLR,
}
"""By the names of Hugging Face."""
