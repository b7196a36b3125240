"""Schedules along a cosine."""

from hypothesis import strategies as st

import lrax
from exact import LAST_EPOCH, SMALLEST, between, cosine, grown, number, repeated
from golden import Difference, case, held
from registry import draws
from registry.entry import Entry, args
from registry.rows import COUNT, NON_NEGATIVE, POSITIVE, RATES

# --- CosineAnnealingLR ------------------------------------------------------------------------------


def annealing(t, base_lr, T_max, eta_min=0, exponent=1.0):
    left = between(cosine, 1, 0, t, T_max) ** number(exponent)
    return number(eta_min) + (number(base_lr) - number(eta_min)) * left


ANNEALING = Entry(
    name="CosineAnnealingLR",
    kind=lambda b: lrax.CosineAnnealingLR(b, T_max=41, eta_min=1e-4),
    refuses={"base_lr": RATES, "T_max": COUNT, "eta_min": NON_NEGATIVE, "exponent": POSITIVE},
    exact=annealing,
    boundaries=lambda k, last: {k["T_max"]},
    end=lambda k: (k["T_max"], k.get("eta_min", 0)),
    rates=("eta_min",),
    cases={
        "cosine": args(base_lr=0.1, T_max=1000),
        "cosine, floor": args(base_lr=0.1, T_max=300, eta_min=1e-4),
        "cosine, upwards": args(base_lr=1e-4, T_max=300, eta_min=0.1),
        "cosine, power": args(base_lr=1e-4, T_max=300, eta_min=0.1, exponent=0.7),
    },
    at_horizon=lambda T: {
        "cosine": args(base_lr=0.1, T_max=T),
        "cosine, floor": args(base_lr=0.1, T_max=T, eta_min=1e-4),
        "cosine, power": args(base_lr=0.1, T_max=T, eta_min=1e-4, exponent=0.05),
    },
    extreme=[
        args(base_lr=SMALLEST, T_max=50),
        args(base_lr=0.1, T_max=50, eta_min=1e-40),
        args(base_lr=1e-39, T_max=50, eta_min=1e-45),
        args(base_lr=1e30, T_max=50, eta_min=1e-30),
    ],
    not_smooth={
        "base at 0": args(base_lr=0.0, T_max=10, eta_min=0.0),
        "base at eta_min": args(base_lr=0.1, T_max=10, eta_min=0.1),
    },
    draws={
        "base_lr": draws.rates,
        "T_max": draws.sizes,
        "eta_min": draws.floors,
        "exponent": st.one_of(st.just(1.0), draws.powers),
    },
    torch=[
        case(0.1, T_max=5, eta_min=0.01),
        case(0.1, T_max=50),
        case(0.1, T_max=63, eta_min=1e-5),
        case(0.1, T_max=1, eta_min=0.02),
        case(0.01, T_max=40, eta_min=0.05),
    ],
    braintools=[
        case(base_lr=0.1, T_max=5, eta_min=0.01),
        case(base_lr=0.1, T_max=41),
        case(),
    ],
    optax={
        "cosine_decay_schedule": (
            lambda init_value, decay_steps, alpha=0.0, exponent=1.0: lrax.CosineAnnealingLR(
                init_value, decay_steps, eta_min=alpha * init_value, exponent=exponent
            ),
            [
                case(init_value=0.1, decay_steps=50),
                case(init_value=0.1, decay_steps=47, alpha=0.1),
                case(init_value=0.1, decay_steps=47, alpha=0.1, exponent=2.5),
            ],
        )
    },
    differs=[
        Difference(
            "torch",
            "eta_min is held after T_max",
            lambda c: c.kwargs["T_max"] < len(c.values) - 1,
            held(lambda c: c.kwargs["T_max"]),
        ),
    ],
)


# --- CosineAnnealingWarmRestarts --------------------------------------------------------------------


def warm_restarts(t, base_lr, T_0, T_mult=1, eta_min=0):
    start, length = 0, T_0
    if T_mult == 1:
        start = t // T_0 * T_0
    else:
        while t >= start + length:
            start, length = start + length, length * T_mult
    return between(cosine, base_lr, eta_min, t - start, length)


def starts_of_cycles(k, last):
    factor = k.get("T_mult", 1)
    found = grown(last, k["T_0"], factor)
    return found | repeated(last, k["T_0"]) if factor == 1 else found


WARM_RESTARTS = Entry(
    name="CosineAnnealingWarmRestarts",
    kind=lambda b: lrax.CosineAnnealingWarmRestarts(b, 7, 2, 1e-3),
    refuses={"base_lr": RATES, "T_0": COUNT, "T_mult": COUNT, "eta_min": NON_NEGATIVE},
    exact=warm_restarts,
    boundaries=starts_of_cycles,
    end=None,
    rates=("eta_min",),
    cases={
        "restarts": args(base_lr=0.1, T_0=10, T_mult=2),
        "restarts, equal": args(base_lr=0.1, T_0=47, eta_min=1e-4),
        "restarts, tripled": args(base_lr=0.1, T_0=1, T_mult=3, eta_min=1e-3),
    },
    at_horizon=lambda T: {
        "restarts": args(base_lr=0.1, T_0=T, eta_min=1e-5),
        "restarts, doubled": args(base_lr=0.1, T_0=T, T_mult=2),
    },
    extreme=[
        args(base_lr=0.1, T_0=LAST_EPOCH, T_mult=LAST_EPOCH),
        args(base_lr=0.1, T_0=1, T_mult=10**6),
    ],
    draws={
        "base_lr": draws.rates,
        "T_0": draws.sizes,
        "T_mult": st.one_of(st.integers(1, 5), st.integers(1, 10**4)),
        "eta_min": draws.floors,
    },
    torch=[
        case(0.1, T_0=3, T_mult=2, eta_min=0.01),
        case(0.1, T_0=4),
        case(0.1, T_0=1),
        case(0.5, T_0=1, T_mult=2),
        case(0.1, T_0=1, T_mult=3, length=130),
        case(0.1, T_0=10, T_mult=2, eta_min=1e-4, length=80),
        case(0.1, T_0=5, T_mult=4),
    ],
    braintools=[
        case(base_lr=0.1, T_0=3, T_mult=2, eta_min=0.01),
        case(base_lr=0.1, T_0=7),
        case(base_lr=0.1, T_0=2, T_mult=3),
        case(),
    ],
)
