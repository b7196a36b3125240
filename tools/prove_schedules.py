"""What tools/prove.py compares: schedules in which every piece of a formula occurs, and 80-bit references of them.

The references are the formulas of the documentation, written out once more for arrays of epochs. They
share no code with the library. Whatever decides on a boundary is a whole number.
"""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from exact import Spec, spec

Wide = np.longdouble
HALF_PI = Wide("1.57079632679489661923132169163975144")

# --- References: functions of an int64 array of epochs, with the arguments of the class -----------


def wide(value: Any) -> Any:
    """A number or an array of epochs, in 80 bits."""
    if isinstance(value, Fraction):
        high = float(value)
        return Wide(high) + Wide(float(value - Fraction(high)))
    return np.asarray(value).astype(Wide)


def way(start: Any, end: Any, done: Any, left: Any, curved: bool) -> Any:
    """From `start` to `end`, in a straight line or along half a cosine."""
    start, end, done, left = map(wide, (start, end, done, left))
    if not curved:
        return (start * left + end * done) / (done + left)
    # (1 + cos) / 2, without its cancellation.
    return start * _sine_squared(left / (done + left)) + end * _sine_squared(done / (done + left))


def _sine_squared(fraction: Any) -> Any:
    return np.sin(HALF_PI * fraction) ** 2


def way_of(t: Any, length: int, start: float, end: float, curved: bool) -> Any:
    """The same in whole epochs, and `end` from `length` on."""
    done = np.minimum(t, length)
    return np.where(t < length, way(start, end, done, length - done, curved), wide(end))


def step(t: Any, base_lr: float, step_size: int, gamma: float) -> Any:
    return wide(base_lr) * wide(gamma) ** wide(t // step_size)


def multi_step(t: Any, base_lr: float, milestones: list[int], gamma: float) -> Any:
    return wide(base_lr) * wide(gamma) ** wide(np.searchsorted(milestones, t, "right"))


def exponential(t: Any, base_lr: float, gamma: float) -> Any:
    return wide(base_lr) * wide(gamma) ** wide(t)


def exponential_decay(
    t: Any,
    base_lr: float,
    decay_steps: int,
    decay_rate: float,
    transition_begin: int,
    end_value: float,
) -> Any:
    periods = wide(np.maximum(t - transition_begin, 0)) / wide(decay_steps)
    bound = np.maximum if decay_rate < 1 else np.minimum
    return bound(wide(base_lr) * wide(decay_rate) ** periods, wide(end_value))


def above(base_lr: float, eta_min: float, left: Any) -> Any:
    """What is left of the way from a base learning rate down to a lower one."""
    return wide(eta_min) + (wide(base_lr) - wide(eta_min)) * left


def cosine(t: Any, base_lr: float, T_max: int, eta_min: float = 0.0, exponent: float = 1.0) -> Any:
    if exponent == 1:
        return way_of(t, T_max, base_lr, eta_min, True)
    left = wide(T_max - np.minimum(t, T_max)) / wide(T_max)
    return above(base_lr, eta_min, _sine_squared(left) ** wide(exponent))


def polynomial(t: Any, base_lr: float, total_iters: int, power: float, eta_min: float = 0.0) -> Any:
    left = wide(np.maximum(total_iters - t, 0)) / wide(total_iters)
    return above(base_lr, eta_min, left ** wide(power))


def token_power(t: Any, base_lr: float, batch_size: int, a: float, power: float) -> Any:
    rate = wide(batch_size) * wide(a) / wide(np.maximum(t, 1)) ** wide(power)
    return np.where(t > 0, np.minimum(rate, wide(base_lr)), wide(base_lr))


def linear(t: Any, base_lr: float, start_factor: float, end_factor: float, total_iters: int) -> Any:
    return wide(base_lr) * way_of(t, total_iters, start_factor, end_factor, False)


def warmup(t: Any, base_lr: float, warmup_epochs: int, warmup_start_lr: float = 0.0) -> Any:
    return way_of(t, warmup_epochs, warmup_start_lr, base_lr, False)


def warmup_cosine(
    t: Any, base_lr: float, warmup_steps: int, total_steps: int, eta_min: float
) -> Any:
    decay = cosine(np.maximum(t - warmup_steps, 0), base_lr, total_steps - warmup_steps, eta_min)
    return np.where(t < warmup_steps, warmup(t, base_lr, warmup_steps), decay)


def warmup_stable_decay(
    t: Any,
    base_lr: float,
    warmup_steps: int,
    total_steps: int,
    decay_steps: int,
    decay: str,
    eta_min: float,
) -> Any:
    assert decay == "1-sqrt"
    done = np.clip(t - (total_steps - decay_steps), 0, decay_steps)
    size = wide(decay_steps)
    left = wide(decay_steps - done) / size / (1 + np.sqrt(wide(done) / size))
    fall = above(base_lr, eta_min, left)
    return np.where(t < warmup_steps, warmup(t, base_lr, warmup_steps), fall)


def inverse_power(t: Any, base_lr: float, warmup_steps: int, power: float, eta_min: float) -> Any:
    since = np.maximum(t - warmup_steps, 0)
    left = (wide(warmup_steps) / wide(warmup_steps + since)) ** wide(power)
    fall = above(base_lr, eta_min, left)
    return np.where(t < warmup_steps, warmup(t, base_lr, warmup_steps), fall)


def cyclic(
    t: Any,
    base_lr: float,
    max_lr: float,
    step_size_up: int,
    step_size_down: int,
    mode: str,
    gamma: float,
) -> Any:
    cycle, position = np.divmod(t, step_size_up + step_size_down)
    rise = wide(position) / wide(step_size_up)
    fall = wide(step_size_up + step_size_down - position) / wide(step_size_down)
    scale = wide(0.5) ** wide(cycle) if mode == "triangular2" else wide(gamma) ** wide(t)
    height = np.where(position <= step_size_up, rise, fall) * scale
    return wide(base_lr) + (wide(max_lr) - wide(base_lr)) * height


def one_cycle(
    t: Any,
    max_lr: float,
    total_steps: int,
    pct_start: float,
    div_factor: float,
    final_div_factor: float,
    anneal_strategy: str,
    three_phase: bool,
) -> Any:
    first = Fraction(max_lr) / Fraction(div_factor)
    # The length of the first phase is the product of two Python numbers, a Python number again.
    peak, last = Fraction(pct_start * total_steps) - 1, Fraction(total_steps - 1)
    turns = [(Fraction(0), first), (peak, Fraction(max_lr))]
    turns += [(2 * peak, first)] if three_phase else []
    turns += [(last, first / Fraction(final_div_factor))]
    t = np.minimum(t, total_steps - 1)
    found = np.empty(t.shape, Wide)
    for (begin, a), (end, b) in itertools.pairwise(turns):
        inside = (t <= math.floor(end)) & ((t > math.floor(begin)) | (begin == 0))
        done, left = wide(t[inside]) - wide(begin), wide(end) - wide(t[inside])
        found[inside] = way(a, b, done, left, anneal_strategy == "cos")
    return found


def restarts(t: Any, base_lr: float, T_0: int, T_mult: int, eta_min: float) -> Any:
    if T_mult == 1:
        start, length = t // T_0 * T_0, np.int64(T_0)
    else:
        starts, lengths = [0], [T_0]
        while starts[-1] < 2**31:
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * T_mult)
        index = np.searchsorted(starts, t, "right") - 1
        start, length = np.array(starts)[index], np.array(lengths)[index]
    return way(base_lr, eta_min, t - start, length - (t - start), True)


def fractional_restarts(
    t: Any, base_lr: float, T_0: int, T_mult: float, cycle_decay: float, warmup_steps: int
) -> Any:
    """Down to 0, in cycles that begin between whole epochs: those at or after a start are counted exactly."""
    starts, length = [Fraction(0)], Fraction(T_0)
    while starts[-1] < 2**31:
        starts, length = [*starts, starts[-1] + length], length * Fraction(T_mult)
    index = np.searchsorted([math.ceil(start) for start in starts], t, "right") - 1
    found = np.empty(t.shape, Wide)
    for i in np.unique(index).tolist():
        inside, start, end = index == i, starts[i], starts[i + 1]
        epochs, first, last = t[inside], math.ceil(start), math.floor(end)
        done, left = (
            wide(epochs - first) + wide(first - start),
            wide(last - epochs) + wide(end - last),
        )
        peak = wide(base_lr) * wide(cycle_decay) ** wide(i)
        fall = peak * _sine_squared(left / wide(end - start - warmup_steps))
        found[inside] = np.where(
            done < warmup_steps, peak * (done / wide(max(warmup_steps, 1))), fall
        )
    return found


def warm_restarts(t: Any, T_mult: float = 1, **kwargs: Any) -> Any:
    return (restarts if T_mult % 1 == 0 else fractional_restarts)(t, T_mult=T_mult, **kwargs)


def points(
    t: Any, base_lr: float, epochs: list[int], values: list[float], interpolation: str
) -> Any:
    index = np.searchsorted(epochs, t, "right")
    first, last = np.array([values[0], *values]), np.array([*values, values[-1]])
    starts, ends = np.array([0, *epochs]), np.array([*epochs, 2**31])
    done, left = t - starts[index], ends[index] - t
    between = way(first[index], last[index], done, left, interpolation == "cosine")
    return wide(base_lr) * between


def piecewise(t: Any, boundaries: list[int], values: list[float]) -> Any:
    return wide(values)[np.searchsorted(boundaries, t, "right")]


def sequential(t: Any, schedulers: list[Spec], milestones: list[int]) -> Any:
    index = np.searchsorted(milestones, t, "right")
    found = np.empty(t.shape, Wide)
    for i, (member, start) in enumerate(zip(schedulers, (0, *milestones), strict=True)):
        found[index == i] = reference(member, t[index == i] - start)
    return found


def chained(t: Any, schedulers: list[Spec]) -> Any:
    rate = wide(schedulers[0].kwargs["base_lr"])
    for member in schedulers:
        rate = rate * (reference(member, t) / wide(member.kwargs["base_lr"]))
    return rate


REFERENCES: dict[str, Callable[..., Any]] = {
    "StepLR": step,
    "MultiStepLR": multi_step,
    "ExponentialLR": exponential,
    "ExponentialDecayLR": exponential_decay,
    "CosineAnnealingLR": cosine,
    "PolynomialLR": polynomial,
    "LinearLR": linear,
    "WarmupScheduler": warmup,
    "WarmupCosineSchedule": warmup_cosine,
    "CyclicLR": cyclic,
    "OneCycleLR": one_cycle,
    "CosineAnnealingWarmRestarts": warm_restarts,
    "PiecewiseConstantSchedule": piecewise,
    "PiecewiseSchedule": points,
    "WSDSchedule": warmup_stable_decay,
    "InverseSqrtLR": inverse_power,
    "TokenPowerLR": token_power,
    "SequentialLR": sequential,
    "ChainedScheduler": chained,
}


def reference(spec: Spec, t: Any) -> Any:
    """The exact value at an array of whole epochs, in 80 bits, before any rounding or limit."""
    return REFERENCES[spec.name](t, **spec.kwargs)


# --- Schedules ------------------------------------------------------------------------------------

LAST = 2**31 - 1
BILLION = 10**9 + 7
MILLION = 1_000_003
CYCLE = 3 * 5 * 7 * 11
ONE_CYCLE: dict[str, Any] = {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4}

SCHEDULES: dict[str, Spec] = {
    "stairs of 41": spec("StepLR", base_lr=0.1, step_size=41, gamma=0.9999999),
    "150 milestones": spec(
        "MultiStepLR", base_lr=0.1, milestones=[n * 14_142_135 for n in range(1, 151)], gamma=0.9
    ),
    "exponential": spec("ExponentialLR", base_lr=0.1, gamma=0.99999997),
    "growth to a bound": spec(
        "ExponentialDecayLR",
        base_lr=1e-6,
        decay_steps=MILLION,
        decay_rate=1.007,
        transition_begin=41,
        end_value=0.3,
    ),
    "cosine": spec("CosineAnnealingLR", base_lr=0.1, T_max=LAST),
    "line": spec("LinearLR", base_lr=0.1, start_factor=1 / 3, end_factor=0.01, total_iters=BILLION),
    "power 0.9": spec("PolynomialLR", base_lr=0.1, total_iters=LAST, power=0.9),
    "square root": spec("PolynomialLR", base_lr=0.1, total_iters=BILLION, power=0.5),
    "power 0.05, floor": spec(
        "PolynomialLR", base_lr=0.1, total_iters=BILLION, power=0.05, eta_min=0.03
    ),
    "annealing, cubed": spec(
        "CosineAnnealingLR", base_lr=0.1, T_max=BILLION, eta_min=1e-4, exponent=3.0
    ),
    "warmup, stable, decay": spec(
        "WSDSchedule",
        base_lr=3e-4,
        warmup_steps=MILLION,
        total_steps=2 * BILLION,
        decay_steps=BILLION // 5,
        decay="1-sqrt",
        eta_min=3e-7,
    ),
    "inverse power": spec(
        "InverseSqrtLR", base_lr=3e-4, warmup_steps=MILLION, power=0.3, eta_min=1e-5
    ),
    "tokens": spec("TokenPowerLR", base_lr=0.01, batch_size=3, a=0.3, power=0.51),
    "warmup, cosine": spec(
        "WarmupCosineSchedule",
        base_lr=3e-4,
        warmup_steps=MILLION,
        total_steps=2 * BILLION,
        eta_min=3e-6,
    ),
    "one cycle": spec(
        "OneCycleLR",
        max_lr=0.1,
        total_steps=2 * BILLION,
        anneal_strategy="cos",
        three_phase=False,
        **ONE_CYCLE,
    ),
    "one cycle of three lines": spec(
        "OneCycleLR",
        max_lr=0.1,
        total_steps=LAST,
        anneal_strategy="linear",
        three_phase=True,
        **ONE_CYCLE,
    ),
    "triangles, halved": spec(
        "CyclicLR",
        base_lr=1e-4,
        max_lr=0.1,
        step_size_up=10_000_019,
        step_size_down=100_000_007,
        mode="triangular2",
        gamma=1.0,
    ),
    "triangles, decaying": spec(
        "CyclicLR",
        base_lr=1e-4,
        max_lr=0.1,
        step_size_up=41,
        step_size_down=56,
        mode="exp_range",
        gamma=0.9999999995,
    ),
    "restarts, equal": spec(
        "CosineAnnealingWarmRestarts", base_lr=0.1, T_0=CYCLE, T_mult=1, eta_min=0.0
    ),
    "restarts, growing": spec(
        "CosineAnnealingWarmRestarts", base_lr=0.1, T_0=41, T_mult=3, eta_min=1e-5
    ),
    "cycles, growing by a half": spec(
        "CosineAnnealingWarmRestarts",
        base_lr=0.1,
        T_0=41,
        T_mult=1.5,
        cycle_decay=0.9,
        warmup_steps=29,
    ),
    "points": spec(
        "PiecewiseSchedule",
        base_lr=0.1,
        epochs=[41, MILLION, 2**24 + 1, BILLION, BILLION, LAST],
        values=[0.0, 1.0, 0.3, 0.7, 0.5, 1e-6],
        interpolation="cosine",
    ),
    "table": spec(
        "PiecewiseConstantSchedule",
        boundaries=[41, MILLION, 2**24 + 1, BILLION, LAST],
        values=[0.1, 0.07, 0.3, 0.001, 1e-38, 1e-5],
    ),
    "sequence": spec(
        "SequentialLR",
        schedulers=[
            spec("WarmupScheduler", base_lr=0.1, warmup_epochs=MILLION),
            spec("CosineAnnealingLR", base_lr=0.1, T_max=BILLION, eta_min=0.01),
            spec("ExponentialLR", base_lr=0.01, gamma=0.9999999),
        ],
        milestones=[MILLION, MILLION + BILLION],
    ),
    "chain": spec(
        "ChainedScheduler",
        schedulers=[
            spec("LinearLR", base_lr=0.1, start_factor=0.1, end_factor=1.0, total_iters=MILLION),
            spec("StepLR", base_lr=0.3, step_size=CYCLE, gamma=0.999999),
            spec("CosineAnnealingLR", base_lr=0.7, T_max=LAST, eta_min=0.07),
        ],
    ),
}
