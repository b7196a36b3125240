"""optax's schedules: ``pip install optax``."""

import numpy as np
import optax as library

from . import METRICS, case, installed

CASES = {
    "constant": ("constant_schedule(0.1)", 6),
    "linear": ("linear_schedule(0.1, 0.02, transition_steps=5, transition_begin=2)", 11),
    "polynomial": (
        "polynomial_schedule(0.1, 0.01, power=2.0, transition_steps=6, transition_begin=2)",
        12,
    ),
    "piecewise_constant": ("piecewise_constant_schedule(0.1, {3: 0.5, 6: 0.1})", 10),
    "piecewise_linear": (
        "piecewise_interpolate_schedule('linear', 0.1, {4: 0.5, 8: 2.0})",
        12,
    ),
    "piecewise_cosine": (
        "piecewise_interpolate_schedule('cosine', 0.1, {4: 0.5, 8: 2.0})",
        12,
    ),
    "exponential": (
        "exponential_decay(0.1, 3, 0.5, transition_begin=2, end_value=0.02)",
        14,
    ),
    "exponential_stairs": ("exponential_decay(0.1, 3, 0.5, staircase=True)", 12),
    "cosine": ("cosine_decay_schedule(0.1, decay_steps=8, alpha=0.1)", 12),
    "cosine_exponent": ("cosine_decay_schedule(0.1, decay_steps=8, exponent=1.3)", 12),
    "linear_onecycle": ("linear_onecycle_schedule(20, 0.5)", 24),
    "cosine_onecycle": ("cosine_onecycle_schedule(20, 0.5)", 24),
    "warmup_constant": ("warmup_constant_schedule(0.01, 0.1, warmup_steps=4)", 8),
    "warmup_cosine": (
        "warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=3, decay_steps=9, end_value=0.01)",
        12,
    ),
    "warmup_cosine_exponent": (
        "warmup_cosine_decay_schedule(0.01, 0.1, warmup_steps=3, decay_steps=9, exponent=2.0)",
        12,
    ),
    "warmup_exponential": (
        "warmup_exponential_decay_schedule(0.0, 0.1, warmup_steps=3, transition_steps=2, "
        "decay_rate=0.5, end_value=0.02)",
        12,
    ),
    "sgdr": (
        "sgdr_schedule([dict(init_value=0.0, peak_value=0.1, warmup_steps=1, decay_steps=4), "
        "dict(init_value=0.0, peak_value=0.05, warmup_steps=2, decay_steps=6, end_value=0.01)])",
        12,
    ),
    "join": (
        "join_schedules([linear_schedule(0.0, 0.1, 4), exponential_decay(0.1, 1, 0.9)], [4])",
        12,
    ),
}
PLATEAUS = {
    "plateau": "reduce_on_plateau(factor=0.5, patience=3, cooldown=3)",
    "plateau_mean": "reduce_on_plateau(factor=0.5, patience=2, accumulation_size=3)",
    "plateau_least": "reduce_on_plateau(factor=0.1, patience=2, min_scale=0.01)",
}


def version(checkout):
    return installed("optax")


def cases(checkout):
    for key, (call, epochs) in CASES.items():
        schedule = eval(call, vars(library).copy())
        yield case(key, call, [np.float32(schedule(t)) for t in range(epochs)])
    for key, call in PLATEAUS.items():
        transform = eval(call, vars(library.contrib).copy())
        state, values = transform.init(np.zeros(())), []
        for metric in METRICS:
            _, state = transform.update(np.zeros(()), state, value=np.float32(metric))
            values.append(np.float32(state.scale))
        yield case(key, call, values, METRICS)
