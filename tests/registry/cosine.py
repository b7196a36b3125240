"""Schedules along a cosine."""

import bisect
import functools
import itertools

import mpmath
import numpy as np
from hypothesis import strategies as st

import lrax
from exact import LAST_EPOCH, SMALLEST, between, cosine, grown, line, number, repeated
from golden import Difference, case, held
from registry import draws
from registry.entry import Entry, args
from registry.rows import COUNT, NON_NEGATIVE, POSITIVE, RATES, WHOLE, besides, refuse
from registry.warmup import like_warmup_cosine

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
        "cosine, power": args(base_lr=1e-28, T_max=T, eta_min=0.1, exponent=0.05),
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


fine = mpmath.MPContext()
fine.dps = 150


@functools.cache
def cycles(T_0, T_mult, last):
    """Start and length of each cycle up to an epoch: fractional ones need more digits than the learning rate."""
    found, start, length = [], fine.mpf(0), fine.mpf(T_0)
    while start <= last:
        found.append((start, length))
        start, length = start + length, length * T_mult
    return found


def warm_restarts(
    t, base_lr, T_0, T_mult=1, eta_min=0, cycle_decay=1.0, cycle_limit=None, warmup_steps=0
):
    if T_mult == 1:
        i, start, length = int(t // T_0), t // T_0 * T_0, T_0
    else:
        table = cycles(T_0, T_mult, LAST_EPOCH)
        t = fine.mpf(t.numerator) / t.denominator
        i = bisect.bisect_right(table, t, key=lambda cycle: cycle[0]) - 1
        start, length = table[i]
    if cycle_limit is not None and i >= cycle_limit:
        return number(eta_min)
    peak = number(base_lr)
    if cycle_decay != 1:
        peak = max(peak * number(cycle_decay) ** i, number(eta_min))
    if t - start < warmup_steps:
        return between(line, 0, peak, t - start, warmup_steps)
    return between(cosine, peak, eta_min, t - start - warmup_steps, length - warmup_steps)


def starts_of_cycles(k, last):
    factor, warmup = k.get("T_mult", 1), k.get("warmup_steps", 0)
    if factor == 1:
        return grown(last, k["T_0"], 1) | repeated(last, k["T_0"], warmup)
    starts = [int(fine.ceil(start)) for start, _ in cycles(k["T_0"], factor, last)]
    return {start + w for start in starts for w in (0, warmup)}


def end_of_cycles(k):
    limit, factor, eta_min = k.get("cycle_limit"), k.get("T_mult", 1), k.get("eta_min", 0)
    if limit is None:
        return None
    if factor == 1:
        return limit * k["T_0"], eta_min
    table = cycles(k["T_0"], factor, LAST_EPOCH)
    return (int(fine.ceil(table[limit][0])), eta_min) if limit < len(table) else None


def like_sgdr(cosine_kwargs):
    """One schedule, if all cycles are a factor longer and lower than those before."""
    first, second, *_ = cosine_kwargs
    factors = [second[name] / first[name] for name in ("decay_steps", "peak_value")]
    if any(k["init_value"] or k["warmup_steps"] != first["warmup_steps"] for k in cosine_kwargs):
        ends = list(itertools.accumulate(k["decay_steps"] for k in cosine_kwargs))
        return lrax.SequentialLR([like_warmup_cosine(**k) for k in cosine_kwargs], ends[:-1])
    return lrax.CosineAnnealingWarmRestarts(
        first["peak_value"],
        first["decay_steps"],
        factors[0],
        cycle_decay=factors[1],
        cycle_limit=len(cosine_kwargs),
        warmup_steps=first["warmup_steps"],
    )


def with_room(k):
    return {**k, "warmup_steps": min(k["warmup_steps"], k["T_0"])}


WARM_RESTARTS = Entry(
    name="CosineAnnealingWarmRestarts",
    kind=lambda b: lrax.CosineAnnealingWarmRestarts(b, 7, 2, 1e-3),
    refuses={
        "base_lr": RATES,
        "T_0": COUNT,
        "T_mult": POSITIVE + refuse(ValueError, 0.999, np.float32(0.5), 2.0**54, 1 + 1e-9),
        "eta_min": NON_NEGATIVE,
        "cycle_decay": POSITIVE,
        "cycle_limit": besides(COUNT, None),
        "warmup_steps": WHOLE + refuse(ValueError, 11),
    },
    exact=warm_restarts,
    boundaries=starts_of_cycles,
    end=end_of_cycles,
    rates=("eta_min",),
    concrete=lambda k: ("T_0", "T_mult") if k.get("T_mult", 1) % 1 else (),
    cases={
        "restarts": args(base_lr=0.1, T_0=10, T_mult=2),
        "restarts, equal": args(base_lr=0.1, T_0=47, eta_min=1e-4),
        "restarts, tripled": args(base_lr=0.1, T_0=1, T_mult=3, eta_min=1e-3),
        "restarts, half as long again": args(
            base_lr=0.1, T_0=11, T_mult=1.5, eta_min=1e-3, cycle_decay=0.9, warmup_steps=3
        ),
        "restarts, a few": args(
            base_lr=0.1,
            T_0=10,
            T_mult=2,
            eta_min=1e-3,
            cycle_decay=0.5,
            cycle_limit=5,
            warmup_steps=4,
        ),
    },
    at_horizon=lambda T: {
        "restarts": args(base_lr=0.1, T_0=T, eta_min=1e-5),
        "restarts, doubled": args(base_lr=0.1, T_0=T, T_mult=2),
        "restarts, half as long again": args(
            base_lr=0.1, T_0=T, T_mult=1.5, cycle_decay=0.99, cycle_limit=9, warmup_steps=T // 3
        ),
    },
    empty={
        "no cosine in the first cycle": (
            args(base_lr=0.1, T_0=3, T_mult=2, warmup_steps=3),
            3,
            0.0,
        ),
    },
    extreme=[
        args(base_lr=0.1, T_0=LAST_EPOCH, T_mult=LAST_EPOCH),
        args(base_lr=0.1, T_0=1, T_mult=10**6),
        args(base_lr=0.1, T_0=1, T_mult=1.0078125 + 2**-50, cycle_decay=0.99, warmup_steps=1),
        args(base_lr=0.1, T_0=2**31 + 1, T_mult=1.5, cycle_limit=1, cycle_decay=1e300),
    ],
    draws={
        "base_lr": draws.rates,
        "T_0": draws.sizes,
        "T_mult": st.one_of(
            st.integers(1, 5), st.integers(1, 10**4), st.sampled_from([1.5, 1.1, 2.75])
        ),
        "eta_min": draws.floors,
        "cycle_decay": st.one_of(st.just(1.0), draws.shrinking, st.floats(1.0, 1.5)),
        "cycle_limit": st.one_of(st.none(), st.integers(1, 20)),
        "warmup_steps": st.one_of(st.just(0), draws.sizes),
    },
    repaired=with_room,
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
    optax={
        "sgdr_schedule": (
            like_sgdr,
            [
                case(
                    cosine_kwargs=[
                        args(init_value=0.0, peak_value=1.0, warmup_steps=1, decay_steps=4),
                        args(
                            init_value=0.5,
                            peak_value=0.8,
                            warmup_steps=0,
                            decay_steps=3,
                            end_value=0.1,
                        ),
                    ]
                ),
                case(
                    cosine_kwargs=[
                        args(init_value=0.0, peak_value=0.8, warmup_steps=3, decay_steps=8),
                        args(init_value=0.0, peak_value=0.4, warmup_steps=3, decay_steps=12),
                        args(init_value=0.0, peak_value=0.2, warmup_steps=3, decay_steps=18),
                    ]
                ),
            ],
        )
    },
)
