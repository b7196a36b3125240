"""The oracle: every formula written out once more, from its definition, in 50-digit arithmetic.

Nothing here is shared with the library. Hyper-parameters are what a user passes, Python ints and floats
taken as the numbers they are (0.1 is 0.1000000000000000055...). Epochs are ints, or Fractions for
fractional epochs, so that boundaries are decided by exact arithmetic. Textbook forms are enough:
``1 + cos(pi * t / T)`` loses 20 of the 50 digits where it cancels most.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

import lrax

mp = mpmath.MPContext()
mp.dps = 50

SMALLEST = 2.0**-126  # the smallest normal float32; learning rates below it are zero
LARGEST = float(np.finfo(np.float32).max)
LAST_EPOCH = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Spec:
    """A scheduler by name and arguments; the members of a composite are Specs, too."""

    name: str
    kwargs: dict[str, Any]

    def build(self, **changed: Any) -> Any:
        kwargs = {**self.kwargs, **changed}
        if "schedulers" in kwargs:
            kwargs["schedulers"] = [member.build() for member in kwargs["schedulers"]]
        return getattr(lrax, self.name)(**kwargs)

    def changed(self, **kwargs: Any) -> "Spec":
        return Spec(self.name, {**self.kwargs, **kwargs})

    def __str__(self) -> str:
        def shown(value: Any) -> str:
            if isinstance(value, list):
                inner = [shown(v) for v in value[:4]] + (["..."] if len(value) > 4 else [])
                return f"[{', '.join(inner)}]"
            return getattr(value, "__name__", None) or str(value)

        return f"{self.name}({', '.join(f'{k}={shown(v)}' for k, v in self.kwargs.items())})"

    __repr__ = __str__


def spec(name: str, **kwargs: Any) -> Spec:
    return Spec(name, kwargs)


# --- Formulas ---------------------------------------------------------------------------------


def number(value: Any) -> Any:
    if isinstance(value, Fraction):
        return mp.mpf(value.numerator) / value.denominator
    return mp.mpf(value)


def cosine(start: Any, end: Any, fraction: Any) -> Any:
    return end + (start - end) * (1 + mp.cos(mp.pi * fraction)) / 2


def line(start: Any, end: Any, fraction: Any) -> Any:
    return start + (end - start) * fraction


def between(shape: Callable, start: Any, end: Any, done: Any, length: Any) -> Any:
    """From `start` to `end` in `length` epochs; in no epochs at all, `end` at once."""
    start, end, done, length = map(number, (start, end, done, length))
    return end if done >= length else shape(start, end, done / length)


def step(t, base_lr, step_size, gamma):
    return number(base_lr) * number(gamma) ** int(t // step_size)


def multi_step(t, base_lr, milestones, gamma):
    return number(base_lr) * number(gamma) ** sum(m <= t for m in milestones)


def exponential(t, base_lr, gamma):
    return number(base_lr) * number(gamma) ** number(t)


def exponential_decay(
    t, base_lr, decay_steps, decay_rate, transition_begin=0, staircase=False, end_value=None
):
    since = max(t - transition_begin, 0)
    periods = since // decay_steps if staircase else number(since) / decay_steps
    lr = number(base_lr) * number(decay_rate) ** number(periods)
    if end_value is None:
        return lr
    return max(lr, number(end_value)) if decay_rate < 1 else min(lr, number(end_value))


def cosine_annealing(t, base_lr, T_max, eta_min=0):
    return between(cosine, base_lr, eta_min, t, T_max)


def polynomial(t, base_lr, total_iters, power):
    if t >= total_iters:
        return mp.mpf(0)
    return number(base_lr) * (1 - number(t) / total_iters) ** number(power)


def warmup(t, base_lr, warmup_epochs, warmup_start_lr=0.0):
    return between(line, warmup_start_lr, base_lr, t, warmup_epochs)


def cyclic(
    t, base_lr, max_lr, step_size_up, step_size_down=None, mode="triangular", gamma=1.0,
    scale_fn=None, scale_mode="cycle",
):  # fmt: skip
    down = step_size_up if step_size_down is None else step_size_down
    cycle = t // (step_size_up + down)
    position = t - cycle * (step_size_up + down)
    if position <= step_size_up:
        height = number(position) / step_size_up
    else:
        height = number(step_size_up + down - position) / down
    if scale_fn is not None:
        scale = scale_fn(number(cycle + 1 if scale_mode == "cycle" else t))
    elif mode == "triangular2":
        scale = mp.mpf(2) ** -int(cycle)
    else:
        scale = number(gamma) ** number(t) if mode == "exp_range" else 1
    return number(base_lr) + (number(max_lr) - number(base_lr)) * height * scale


def one_cycle(
    t, max_lr, total_steps, pct_start=0.3, anneal_strategy="cos", div_factor=25.0,
    final_div_factor=1e4, three_phase=False,
):  # fmt: skip
    shape = {"cos": cosine, "linear": line}[anneal_strategy]
    top = number(max_lr)
    start = top / number(div_factor)
    low = start / number(final_div_factor)
    last = total_steps - 1
    # The length of the first phase is the product of two Python numbers, a Python number again.
    peak = number(pct_start * total_steps) - 1
    t = min(number(t), number(last))
    ends = (
        [(peak, top), (2 * peak, start), (last, low)] if three_phase else [(peak, top), (last, low)]
    )
    begun, value = 0, start
    for i, (end, target) in enumerate(ends):
        if t <= end or i == len(ends) - 1:
            return between(shape, value, target, t - begun, end - begun)
        begun, value = end, target
    raise AssertionError


def linear(t, base_lr, start_factor, end_factor, total_iters):
    return number(base_lr) * between(line, start_factor, end_factor, t, total_iters)


def constant(t, base_lr, factor, total_iters):
    return number(base_lr) * (number(factor) if t < total_iters else 1)


def warm_restarts(t, base_lr, T_0, T_mult=1, eta_min=0):
    start, length = 0, T_0
    if T_mult == 1:
        start = t // T_0 * T_0
    else:
        while t >= start + length:
            start, length = start + length, length * T_mult
    return between(cosine, base_lr, eta_min, t - start, length)


def warmup_cosine(t, base_lr, warmup_steps, total_steps, warmup_start_lr=0.0, eta_min=0.0):
    if t < warmup_steps:
        return between(line, warmup_start_lr, base_lr, t, warmup_steps)
    return between(cosine, base_lr, eta_min, t - warmup_steps, total_steps - warmup_steps)


def piecewise_constant(t, boundaries, values):
    return number(values[sum(b <= t for b in boundaries)])


def lambda_lr(t, base_lr, lr_lambda):
    return number(base_lr) * lr_lambda(number(t))


def sequential(t, schedulers, milestones):
    index = bisect.bisect_right(milestones, t)
    return value(schedulers[index], t - ([0, *milestones][index]))


def chained(t, schedulers):
    lr = base(schedulers[0])
    for member in schedulers:
        own = base(member)
        lr *= value(member, t) / own if own else 1
    return lr


FORMULAS = {
    "StepLR": step,
    "MultiStepLR": multi_step,
    "ExponentialLR": exponential,
    "ExponentialDecayLR": exponential_decay,
    "CosineAnnealingLR": cosine_annealing,
    "PolynomialLR": polynomial,
    "WarmupScheduler": warmup,
    "CyclicLR": cyclic,
    "OneCycleLR": one_cycle,
    "LinearLR": linear,
    "ConstantLR": constant,
    "CosineAnnealingWarmRestarts": warm_restarts,
    "WarmupCosineSchedule": warmup_cosine,
    "PiecewiseConstantSchedule": piecewise_constant,
    "SequentialLR": sequential,
    "ChainedScheduler": chained,
    "LambdaLR": lambda_lr,
}
"""The formula of every scheduler whose learning rate depends on the epoch alone."""


def value(spec: Spec, t: int | Fraction) -> Any:
    """The learning rate at `t`, to 50 digits, before any rounding."""
    return FORMULAS[spec.name](t, **spec.kwargs)


def base(spec: Spec) -> Any:
    """The base learning rate, which a chain divides by."""
    if "schedulers" in spec.kwargs:
        return base(spec.kwargs["schedulers"][0])
    names = {"OneCycleLR": "max_lr", "PiecewiseConstantSchedule": "values"}
    found = spec.kwargs[names.get(spec.name, "base_lr")]
    return number(found[0] if isinstance(found, list) else found)


def values(spec: Spec, epochs: Any) -> np.ndarray:
    """What lrax must return at `epochs`, but for the rounding to float32: in float64.

    Rounding 50 digits to float64 changes an error measured in float32 ulp by a billionth.
    """

    def limited(t: Any) -> float:
        exact = value(spec, Fraction(t) if isinstance(t, float) and t % 1 else int(t))
        return 0.0 if exact < SMALLEST else LARGEST if exact > LARGEST else float(exact)

    return np.array([limited(t) for t in np.asarray(epochs).tolist()], np.float64)


# --- Measuring --------------------------------------------------------------------------------


def ulp(exact: Any) -> Any:
    """The distance between the float32 numbers around a value."""
    return np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))


def ulps(got: Any, exact: Any) -> np.ndarray:
    """Distance in float32 ulp of the exact value; zero is met exactly or missed by infinity."""
    got, exact = np.asarray(got, np.float64), np.asarray(exact, np.float64)
    assert got.shape == exact.shape, (got.shape, exact.shape)
    assert got.size, "nothing to compare"
    error = np.where(exact == 0, np.where(got == 0, 0, np.inf), np.abs(got - exact) / ulp(exact))
    return np.where(np.isfinite(got), error, np.inf)


def ulps_apart(a: Any, b: Any) -> np.ndarray:
    """How many float32 numbers two arrays of non-negative float32 are apart."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype == np.float32, (a.dtype, b.dtype)
    assert a.shape == b.shape, (a.shape, b.shape)
    # Subnormals do not occur: the neighbour of zero is the smallest normal number.
    bits = [np.where(v > 0, v.view(np.int32).astype(np.int64) - (1 << 23) + 1, 0) for v in (a, b)]
    return np.abs(bits[0] - bits[1])


# --- Where to look ----------------------------------------------------------------------------


def boundaries(spec: Spec, last: int = LAST_EPOCH) -> list[int]:
    """Epochs up to `last` at which something happens; of many equal ones, some."""
    k = spec.kwargs

    def repeated(size: int, *within: int) -> set[int]:
        cycles = {0, 1, 2, 3, 40, 99, 12345, last // size - 1, last // size}
        return {c * size + w for c in cycles for w in (0, *within)}

    def grown(start: int, length: int, factor: int) -> set[int]:
        found = set()
        while start <= last and len(found) < 64:
            found.add(start)
            start, length = start + length, length * factor
        return found

    match spec.name:
        case "StepLR":
            found = repeated(k["step_size"])
        case "MultiStepLR":
            found = set(k["milestones"])
        case "ExponentialLR" | "LambdaLR":
            found = {0}
        case "ExponentialDecayLR":
            found = {k.get("transition_begin", 0) + e for e in repeated(k["decay_steps"])}
        case "CosineAnnealingLR":
            found = {k["T_max"]}
        case "PolynomialLR" | "LinearLR" | "ConstantLR":
            found = {k["total_iters"]}
        case "WarmupScheduler":
            found = {k["warmup_epochs"]}
        case "CyclicLR":
            up = k["step_size_up"]
            found = repeated(up + (k.get("step_size_down") or up), up)
        case "OneCycleLR":
            total, peak = k["total_steps"], k.get("pct_start", 0.3) * k["total_steps"] - 1
            found = {total - 1, *(math.floor(p) + i for p in (peak, 2 * peak) for i in (0, 1))}
        case "CosineAnnealingWarmRestarts":
            found = grown(0, k["T_0"], k.get("T_mult", 1)) | (
                repeated(k["T_0"]) if k.get("T_mult", 1) == 1 else set()
            )
        case "WarmupCosineSchedule":
            found = {k["warmup_steps"], k["total_steps"]}
        case "PiecewiseConstantSchedule":
            found = set(k["boundaries"])
        case "SequentialLR":
            starts = [0, *k["milestones"]]
            found = {*starts} | {
                start + b
                for start, member in zip(starts, k["schedulers"], strict=True)
                for b in boundaries(member, last)
            }
        case "ChainedScheduler":
            found = {b for member in k["schedulers"] for b in boundaries(member, last)}
    return sorted(b for b in found if 0 <= b <= last)


def end(spec: Spec) -> tuple[int, float] | None:
    """The epoch at which the last value is reached, and that value as a Python float; or None."""
    k = spec.kwargs
    match spec.name:
        case "MultiStepLR":
            milestones = k["milestones"]
            return max(milestones, default=0), k["base_lr"] * k["gamma"] ** len(milestones)
        case "CosineAnnealingLR":
            return k["T_max"], k.get("eta_min", 0)
        case "PolynomialLR":
            return k["total_iters"], 0.0
        case "WarmupScheduler":
            return k["warmup_epochs"], k["base_lr"]
        case "OneCycleLR":
            peak, last = k.get("pct_start", 0.3) * k["total_steps"] - 1, k["total_steps"] - 1
            if last <= (2 * peak if k.get("three_phase") else peak):
                return None  # cut off on the way
            low = k["max_lr"] / k.get("div_factor", 25.0) / k.get("final_div_factor", 1e4)
            return last, low
        case "LinearLR":
            return k["total_iters"], k["base_lr"] * k["end_factor"]
        case "ConstantLR":
            return k["total_iters"], k["base_lr"]
        case "WarmupCosineSchedule":
            return k["total_steps"], k.get("eta_min", 0.0)
        case "PiecewiseConstantSchedule":
            return max(k["boundaries"], default=0), k["values"][-1]
        case "SequentialLR":
            inner = end(k["schedulers"][-1])
            start = max(k["milestones"], default=0)
            return None if inner is None else (start + inner[0], inner[1])
        case "ChainedScheduler":
            inner = [end(member) for member in k["schedulers"]]
            if None in inner:
                return None
            factors = [e[1] / float(base(m)) for e, m in zip(inner, k["schedulers"], strict=True)]
            return max(e[0] for e in inner), float(base(spec)) * math.prod(factors)
    return None
