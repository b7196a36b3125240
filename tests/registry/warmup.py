"""Schedules that begin with a warmup."""

import lrax
from exact import between, cosine, line
from golden import Difference, case, constant
from registry import draws
from registry.entry import Entry, args
from registry.rows import COUNT, NON_NEGATIVE, RATES, WHOLE, refuse

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
