"""Reading tests/data/golden_*.json, and building the scheduler of ours that each case corresponds to."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lrax

DATA = Path(__file__).parent / "data"

FUNCTIONS = {
    "inverse_sqrt": lambda t: (t + 1.0) ** -0.5,
    "inverse": lambda c: 1.0 / c,
    "three_quarters": lambda t: 0.75**t,
    "ramp_8": lambda t: t / 8 if t < 8 else 1.0,
}


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    library: str
    key: str
    name: str
    kwargs: dict
    values: list
    lr: float | None = None
    metrics: list | None = None

    def __str__(self):
        return f"{self.library}: {self.key}"

    __repr__ = __str__

    @property
    def lrax_class(self):
        return getattr(lrax, OPTAX_CLASSES[self.name] if self.library == "optax" else self.name)

    def build(self):
        if self.library == "optax":
            return OPTAX[self.name](**self.kwargs)
        return from_spec(self.name, self.kwargs, self.lr)

    @property
    def metric_values(self):
        return [math.nan if metric is None else metric for metric in self.metrics]


def read(library):
    document = json.loads((DATA / f"golden_{library}.json").read_text())
    assert document["library"] == library
    return [Case(library, **case) for case in document["cases"]]


def from_spec(name, kwargs, lr):
    """Our scheduler of the same name; torch's learning rate of the optimizer is our ``base_lr``."""
    kwargs = dict(kwargs)
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [from_spec(s["name"], s["kwargs"], lr) for s in kwargs["schedulers"]]
    elif lr is not None:
        kwargs = {"base_lr": lr, **kwargs}
    for key, value in kwargs.items():
        if isinstance(value, dict):
            kwargs[key] = FUNCTIONS[value["function"]]
    return getattr(lrax, name)(**kwargs)


# --- optax ------------------------------------------------------------------------------------------


def linear(init_value, end_value, transition_steps, transition_begin=0):
    ramp = lrax.LinearLR(1.0, init_value, end_value, transition_steps)
    if not transition_begin:
        return ramp
    wait = lrax.ConstantLR(1.0, factor=init_value, total_iters=transition_begin)
    return lrax.SequentialLR([wait, ramp], [transition_begin])


def polynomial(init_value, end_value, power, transition_steps, transition_begin=0):
    if end_value == 0 and transition_begin == 0:
        return lrax.PolynomialLR(init_value, transition_steps, power)

    def factor(t):
        done = min(max(t - transition_begin, 0), transition_steps) / transition_steps
        return end_value + (init_value - end_value) * (1 - done) ** power

    return lrax.LambdaLR(1.0, lr_lambda=factor)


def exponential(init_value, transition_steps, decay_rate, **options):
    return lrax.ExponentialDecayLR(init_value, transition_steps, decay_rate, **options)


def cosine(init_value, decay_steps, alpha=0.0):
    return lrax.CosineAnnealingLR(init_value, decay_steps, eta_min=alpha * init_value)


def levels(init_value, boundaries_and_scales):
    boundaries = sorted(int(b) for b in boundaries_and_scales)
    scales = [boundaries_and_scales[str(b)] for b in boundaries]
    return boundaries, [float(v) for v in np.cumprod([init_value, *scales])]


def piecewise_constant(init_value, boundaries_and_scales):
    boundaries, values = levels(init_value, boundaries_and_scales)
    return lrax.PiecewiseConstantSchedule(boundaries=boundaries, values=values)


def piecewise_linear(interpolate_type, init_value, boundaries_and_scales):
    assert interpolate_type == "linear"
    boundaries, values = levels(init_value, boundaries_and_scales)
    lengths = np.diff([0, *boundaries]).tolist()
    parts = zip(values[:-1], values[1:], lengths, strict=True)
    return lrax.SequentialLR([lrax.LinearLR(1.0, a, b, n) for a, b, n in parts], boundaries[:-1])


def warmup_constant(init_value, peak_value, warmup_steps):
    return lrax.WarmupScheduler(peak_value, warmup_steps, init_value)


def warmup_cosine(init_value, peak_value, warmup_steps, decay_steps, end_value=0.0):
    return lrax.WarmupCosineSchedule(peak_value, warmup_steps, decay_steps, init_value, end_value)


def warmup_exponential(
    init_value, peak_value, warmup_steps, transition_steps, decay_rate, **options
):
    warmup = lrax.WarmupScheduler(peak_value, warmup_steps, init_value)
    decay = exponential(peak_value, transition_steps, decay_rate, **options)
    return lrax.SequentialLR([warmup, decay], [warmup_steps])


def sgdr(cosine_kwargs):
    ends = np.cumsum([kwargs["decay_steps"] for kwargs in cosine_kwargs]).tolist()
    return lrax.SequentialLR([warmup_cosine(**kwargs) for kwargs in cosine_kwargs], ends[:-1])


def join(schedules, boundaries):
    return lrax.SequentialLR([OPTAX[s["name"]](**s["kwargs"]) for s in schedules], boundaries)


def plateau(patience, rtol=1e-4, atol=0.0, min_scale=0.0, **options):
    """optax reduces at the metric that makes `patience` bad ones; torch and ours at the one after."""
    assert rtol == 0.0 or atol == 0.0
    mode = {"threshold": atol, "threshold_mode": "abs"} if atol else {"threshold": rtol}
    return lrax.ReduceLROnPlateau(
        1.0, patience=patience - 1, min_lr=min_scale, eps=0.0, **mode, **options
    )


OPTAX = {
    "constant_schedule": lambda value: lrax.ConstantLR(value, factor=1.0, total_iters=0),
    "linear_schedule": linear,
    "polynomial_schedule": polynomial,
    "exponential_decay": exponential,
    "cosine_decay_schedule": cosine,
    "piecewise_constant_schedule": piecewise_constant,
    "piecewise_interpolate_schedule": piecewise_linear,
    "warmup_constant_schedule": warmup_constant,
    "warmup_cosine_decay_schedule": warmup_cosine,
    "warmup_exponential_decay_schedule": warmup_exponential,
    "sgdr_schedule": sgdr,
    "join_schedules": join,
    "reduce_on_plateau": plateau,
}
OPTAX_CLASSES = {  # those of ours whose docstring tells of a difference
    "linear_schedule": "LinearLR",
    "warmup_constant_schedule": "WarmupScheduler",
    "reduce_on_plateau": "ReduceLROnPlateau",
}
