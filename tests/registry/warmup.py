"""Schedules that begin with a warmup."""

from hypothesis import strategies as st

import lrax
from exact import between, cosine, line, number, way
from golden import Difference, case, constant
from registry import draws
from registry.entry import Entry, args
from registry.rows import COUNT, NON_NEGATIVE, POSITIVE, RATES, SHAPE, WHOLE, besides, refuse

# --- WarmupScheduler --------------------------------------------------------------------------------


def warmup(t, base_lr, warmup_epochs, warmup_start_lr=0.0):
    return between(line, warmup_start_lr, base_lr, t, warmup_epochs)


WARMUP = Entry(
    name="WarmupScheduler",
    kind=lambda b: lrax.WarmupScheduler(b, warmup_epochs=13),
    refuses={"base_lr": RATES, "warmup_epochs": WHOLE, "warmup_start_lr": NON_NEGATIVE},
    exact=warmup,
    boundaries=lambda k, last: {k["warmup_epochs"]},
    end=lambda k: (k["warmup_epochs"], k["base_lr"]),
    rates=("warmup_start_lr",),
    cases={
        "warmup": args(base_lr=0.1, warmup_epochs=300),
        "warmup, start": args(base_lr=0.7, warmup_epochs=41, warmup_start_lr=1e-6),
        "warmup, downwards": args(base_lr=1e-3, warmup_epochs=41, warmup_start_lr=0.1),
    },
    at_horizon=lambda T: {
        "warmup": args(base_lr=0.1, warmup_epochs=T),
        "warmup, start": args(base_lr=0.1, warmup_epochs=T, warmup_start_lr=1e-5),
    },
    empty={"warmup": (args(base_lr=0.1, warmup_epochs=0, warmup_start_lr=0.5), 0, 0.1)},
    not_smooth={
        "warmup from 0 in no time": args(base_lr=0.1, warmup_epochs=0, warmup_start_lr=0.0),
    },
    draws={
        "base_lr": draws.rates,
        "warmup_epochs": draws.lengths,
        "warmup_start_lr": draws.floors,
    },
    braintools=[
        case(base_lr=0.1, warmup_epochs=4, warmup_start_lr=0.01),
        case(base_lr=0.1, warmup_epochs=0),
        case(base_lr=0.1, warmup_epochs=1),
        case(base_lr=0.1, warmup_epochs=47),
        case(base_lr=0.01, warmup_epochs=20, warmup_start_lr=0.1),
        case(),
    ],
    optax={
        "warmup_constant_schedule": (
            lambda init_value, peak_value, warmup_steps: lrax.WarmupScheduler(
                peak_value, warmup_steps, init_value
            ),
            [case(init_value=0.1, peak_value=1.0, warmup_steps=steps) for steps in (0, 3, 40)],
        )
    },
    differs=[
        Difference(
            "optax",
            "a warmup of no length has arrived",
            lambda c: c.kwargs["warmup_steps"] == 0,
            constant(lambda c: c.kwargs["peak_value"]),
            name="warmup_constant_schedule",
        ),
    ],
)


# --- WarmupCosineSchedule ---------------------------------------------------------------------------


def warmup_cosine(t, base_lr, warmup_steps, total_steps, warmup_start_lr=0.0, eta_min=0.0):
    if t < warmup_steps:
        return between(line, warmup_start_lr, base_lr, t, warmup_steps)
    return between(cosine, base_lr, eta_min, t - warmup_steps, total_steps - warmup_steps)


def like_warmup_cosine(init_value, peak_value, warmup_steps, decay_steps, end_value=0.0):
    return lrax.WarmupCosineSchedule(peak_value, warmup_steps, decay_steps, init_value, end_value)


WARMUP_COSINE = Entry(
    name="WarmupCosineSchedule",
    kind=lambda b: lrax.WarmupCosineSchedule(b, 10, 45, 1e-4, 1e-3),
    refuses={
        "base_lr": RATES,
        "warmup_steps": WHOLE + refuse(ValueError, 10_001),
        "total_steps": COUNT + refuse(ValueError, 999),
        "warmup_start_lr": NON_NEGATIVE,
        "eta_min": NON_NEGATIVE,
    },
    exact=warmup_cosine,
    boundaries=lambda k, last: {k["warmup_steps"], k["total_steps"]},
    end=lambda k: (k["total_steps"], k.get("eta_min", 0.0)),
    rates=("warmup_start_lr", "eta_min"),
    cases={
        "warmup cosine": args(base_lr=0.1, warmup_steps=10, total_steps=1000),
        "warmup cosine, floor": args(
            base_lr=3e-4, warmup_steps=100, total_steps=1100, warmup_start_lr=1e-7, eta_min=3e-5
        ),
    },
    at_horizon=lambda T: {
        "warmup cosine": args(base_lr=0.1, warmup_steps=T // 10, total_steps=T),
    },
    empty={
        "no warmup": (args(base_lr=0.1, warmup_steps=0, total_steps=9), 0, 0.1),
        "no cosine": (args(base_lr=0.1, warmup_steps=5, total_steps=5, eta_min=0.01), 5, 0.01),
    },
    not_smooth={"warmup cosine of no length": args(base_lr=0.1, warmup_steps=5, total_steps=5)},
    draws={
        "base_lr": draws.rates,
        "warmup_steps": draws.lengths,
        "total_steps": draws.lengths,
        "warmup_start_lr": draws.floors,
        "eta_min": draws.floors,
    },
    repaired=lambda k: {**k, "total_steps": max(k["total_steps"], k["warmup_steps"], 1)},
    braintools=[
        case(base_lr=0.1, warmup_steps=3, total_steps=8, warmup_start_lr=0.01, eta_min=0.002),
        case(base_lr=0.1, warmup_steps=0, total_steps=50),
        case(base_lr=0.1, warmup_steps=10, total_steps=60),
        case(base_lr=0.1, warmup_steps=10, total_steps=11, eta_min=0.05),
        case(),
    ],
    optax={
        "warmup_cosine_decay_schedule": (
            like_warmup_cosine,
            [
                case(init_value=0.0, peak_value=1e-3, warmup_steps=10, decay_steps=60),
                case(init_value=0.0, peak_value=1e-3, warmup_steps=10, decay_steps=100, length=110),
                case(init_value=0.1, peak_value=1.0, warmup_steps=3, decay_steps=9, end_value=0.05),
                case(init_value=0.1, peak_value=1.0, warmup_steps=0, decay_steps=50),
            ],
        )
    },
)


# --- WSDSchedule ------------------------------------------------------------------------------------


def warmup_stable_decay(
    t,
    base_lr,
    warmup_steps,
    total_steps,
    decay_steps=None,
    decay="linear",
    warmup="linear",
    warmup_start_lr=0.0,
    eta_min=0.0,
):
    length = total_steps - warmup_steps if decay_steps is None else decay_steps
    if t < warmup_steps:
        return way(warmup, warmup_start_lr, base_lr, t, warmup_steps)
    if t < total_steps - length:
        return number(base_lr)
    return way(decay, base_lr, eta_min, t - (total_steps - length), length)


def phases(k, last):
    length = k.get("decay_steps")
    begin = k["warmup_steps"] if length is None else k["total_steps"] - length
    return {k["warmup_steps"], begin, k["total_steps"]}


def fitting(k):
    """Harmonic needs rates above 0, and the phases must not overlap."""
    start, end = (k[n] or 1e-3 if k[s] == "harmonic" else k[n] for n, s in ENDS_OF_SHAPES)
    total = max(k["total_steps"], k["warmup_steps"] + (k["decay_steps"] or 0), 1)
    return {**k, "warmup_start_lr": start, "eta_min": end, "total_steps": total}


ENDS_OF_SHAPES = (("warmup_start_lr", "warmup"), ("eta_min", "decay"))

WSD = Entry(
    name="WSDSchedule",
    kind=lambda b: lrax.WSDSchedule(b, 10, 45, 20, "1-sqrt", "cosine", 1e-4, 1e-3),
    refuses={
        "base_lr": RATES,
        "warmup_steps": WHOLE + refuse(ValueError, 10_001),
        "total_steps": COUNT + refuse(ValueError, 999),
        "decay_steps": besides(WHOLE, None) + refuse(ValueError, 9_001),
        "decay": SHAPE + refuse(ValueError, "harmonic"),
        "warmup": SHAPE + refuse(ValueError, "harmonic"),
        "warmup_start_lr": NON_NEGATIVE,
        "eta_min": NON_NEGATIVE,
    },
    exact=warmup_stable_decay,
    boundaries=phases,
    end=lambda k: (k["total_steps"], k.get("eta_min", 0.0)),
    rates=("warmup_start_lr", "eta_min"),
    cases={
        "warmup, stable, decay": args(
            base_lr=3e-4,
            warmup_steps=41,
            total_steps=1100,
            decay_steps=300,
            decay="1-sqrt",
            warmup="cosine",
            warmup_start_lr=1e-6,
            eta_min=1e-5,
        ),
        "warmup, decay": args(
            base_lr=0.1, warmup_steps=10, total_steps=470, decay=("power", 3.0), warmup="square"
        ),
    },
    at_horizon=lambda T: {
        "warmup, stable, decay": args(
            base_lr=0.1, warmup_steps=T // 10, total_steps=T, decay_steps=T // 5, decay="1-sqrt"
        ),
    },
    empty={
        "warmup alone": (args(base_lr=0.1, warmup_steps=5, total_steps=5, eta_min=0.01), 5, 0.01),
        "no decay": (args(base_lr=0.1, warmup_steps=2, total_steps=9, decay_steps=0), 8, 0.1),
        "decay alone": (args(base_lr=0.1, warmup_steps=0, total_steps=9, decay_steps=9), 0, 0.1),
    },
    not_smooth={
        "roots of no length": args(
            base_lr=0.1,
            warmup_steps=0,
            total_steps=5,
            decay_steps=0,
            decay="1-sqrt",
            warmup=("power", 0.5),
        ),
    },
    draws={
        "base_lr": draws.rates,
        "warmup_steps": draws.lengths,
        "total_steps": draws.lengths,
        "decay_steps": st.one_of(st.none(), draws.lengths),
        "decay": draws.shapes,
        "warmup": draws.shapes,
        "warmup_start_lr": draws.floors,
        "eta_min": draws.floors,
    },
    repaired=fitting,
)


# --- InverseSqrtLR ----------------------------------------------------------------------------------


def inverse_sqrt(
    t, base_lr, warmup_steps=0, timescale=None, power=0.5, eta_min=0.0, warmup_start_lr=0.0
):
    if t < warmup_steps:
        return between(line, warmup_start_lr, base_lr, t, warmup_steps)
    scale = number(timescale or warmup_steps or 1)
    left = (scale / (scale + number(t) - warmup_steps)) ** number(power)
    return number(eta_min) + (number(base_lr) - number(eta_min)) * left


INVERSE_SQRT = Entry(
    name="InverseSqrtLR",
    kind=lambda b: lrax.InverseSqrtLR(b, 10, warmup_start_lr=1e-4),
    refuses={
        "base_lr": RATES,
        "warmup_steps": WHOLE,
        "timescale": besides(POSITIVE, None) + refuse(ValueError, 1e-201),
        "power": POSITIVE,
        "eta_min": NON_NEGATIVE,
        "warmup_start_lr": NON_NEGATIVE,
    },
    exact=inverse_sqrt,
    boundaries=lambda k, last: {k.get("warmup_steps", 0)},
    end=None,
    rates=("warmup_start_lr", "eta_min"),
    cases={
        "inverse root": args(base_lr=0.1, warmup_steps=41, warmup_start_lr=1e-6),
        "inverse power, upwards": args(base_lr=1e-5, timescale=0.7, power=0.01, eta_min=0.1),
    },
    at_horizon=lambda T: {"inverse root": args(base_lr=0.1, warmup_steps=T // 10, eta_min=1e-5)},
    extreme=[
        args(base_lr=0.1, timescale=1e-200, power=0.01, eta_min=0.2),
        args(base_lr=0.1, timescale=1e300, power=100.0, eta_min=0.0),
    ],
    empty={"no warmup, no time scale": (args(base_lr=0.1, warmup_steps=0, power=1.0), 1, 0.05)},
    draws={
        "base_lr": draws.rates,
        "warmup_steps": draws.lengths,
        "timescale": st.one_of(st.none(), st.floats(1e-6, 1e9)),
        "power": draws.powers,
        "eta_min": draws.floors,
        "warmup_start_lr": draws.floors,
    },
)
