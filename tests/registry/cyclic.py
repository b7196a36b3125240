"""Schedules that go up and down again."""

import itertools
import math

from hypothesis import strategies as st

import lrax
from exact import between, cosine, line, mp, number, repeated
from golden import Difference, case, function, held, same_as
from registry import draws
from registry.entry import Entry, args
from registry.functions import inverse_time, seven_eighths
from registry.rows import (
    CHOICE,
    COUNT,
    FLAG,
    FUNCTION,
    NON_NEGATIVE,
    POSITIVE,
    RATES,
    SHARE,
    besides,
    refuse,
)

MOMENTA = {
    "cycle_momentum": FLAG,
    "base_momentum": SHARE + refuse(ValueError, 0.97),
    "max_momentum": SHARE + refuse(ValueError, 0.5),
}


# --- CyclicLR ---------------------------------------------------------------------------------------


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


def turns(k, last):
    up = k["step_size_up"]
    return repeated(last, up + (k.get("step_size_down") or up), up)


def base_below_max(k):
    base, top = k["base_lr"], k["max_lr"]
    lower = [min(b, top) for b in base] if isinstance(base, list) else min(base, top)
    return {**k, "base_lr": lower}


EVERY_MODE = [
    case(
        base_lr=0.1,
        max_lr=0.5,
        step_size_up=up,
        step_size_down=down,
        mode=mode,
        gamma=0.9 if mode == "exp_range" else 1.0,
    )
    for (up, down), mode in itertools.product(
        ((4, None), (3, 6), (6, 3)), ("triangular", "triangular2", "exp_range")
    )
]
CYCLIC = Entry(
    name="CyclicLR",
    kind=lambda b: lrax.CyclicLR(b, 4 * b, 7, 11, "exp_range", 0.97),
    scales=False,  # max_lr stays
    refuses={
        "base_lr": RATES + refuse(ValueError, 0.5, [0.001, 0.5]),
        "max_lr": RATES + refuse(ValueError, 0.0005, [0.5, 0.0005]),
        "step_size_up": COUNT,
        "step_size_down": besides(COUNT, None),
        "mode": CHOICE,
        "gamma": POSITIVE,
        "scale_fn": besides(FUNCTION, None),
        "scale_mode": CHOICE,
        **MOMENTA,
    },
    exact=cyclic,
    boundaries=turns,
    end=None,
    rates=("max_lr",),
    cases={
        "cyclic": args(base_lr=1e-3, max_lr=0.1, step_size_up=300),
        "cyclic, asymmetric": args(
            base_lr=1e-3, max_lr=0.1, step_size_up=41, step_size_down=7, mode="triangular2"
        ),
        "cyclic, decaying": args(
            base_lr=1e-3, max_lr=0.1, step_size_up=20, step_size_down=55, mode="exp_range", gamma=0.999
        ),
        "cyclic, scaled": args(base_lr=1e-3, max_lr=0.1, step_size_up=20, scale_fn=seven_eighths),
        "cyclic, scaled by epoch": args(
            base_lr=1e-3, max_lr=0.1, step_size_up=20, scale_fn=inverse_time, scale_mode="iterations"
        ),
    },
    rough_in_float32=("cyclic, decaying",),
    at_horizon=lambda T: {
        "cyclic": args(base_lr=1e-4, max_lr=0.1, step_size_up=T, step_size_down=(T + 1) // 2),
        "cyclic, halved": args(base_lr=1e-4, max_lr=0.1, step_size_up=T, mode="triangular2"),
    },
    not_smooth={
        "flat cycle": args(base_lr=0.0, max_lr=0.0, step_size_up=5, mode="exp_range", gamma=1.0),
    },
    draws={
        "base_lr": st.floats(1e-12, 1e-3),
        "max_lr": st.floats(1e-3, 1e3),
        "step_size_up": draws.sizes,
        "step_size_down": draws.sizes,
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": draws.shrinking,
    },
    # Functions have no gradient, and the momentum is none of the learning rate's.
    undrawn=("scale_fn", "scale_mode", *MOMENTA),
    repaired=base_below_max,
    torch=[
        *EVERY_MODE,
        case(base_lr=1e-3, max_lr=1e-2, step_size_up=2000),
        case(base_lr=1.0, max_lr=5.0, step_size_up=4, step_size_down=6),
        case(base_lr=0.1, max_lr=0.5, step_size_up=1, step_size_down=1),
        case(base_lr=0.0, max_lr=0.3, step_size_up=7, step_size_down=13, mode="triangular2"),
        case(base_lr=0.1, max_lr=0.5, step_size_up=5, scale_fn=function("inverse")),
        case(base_lr=0.1, max_lr=0.5, step_size_up=5, scale_fn=function("inverse"), scale_mode="cycle"),
        case(
            base_lr=0.1, max_lr=0.5, step_size_up=5, step_size_down=8, scale_fn=function("three_quarters"), scale_mode="iterations"
        ),
    ],
    braintools=[
        *EVERY_MODE,
        case(base_lr=0.1, max_lr=0.5, step_size_up=5, scale_fn=function("inverse"), scale_mode="cycle"),
        case(),
    ],
    differs=[
        Difference(
            "braintools",
            "cycles whose halves differ in length are as in torch",
            lambda c: c.kwargs.get("step_size_down") is not None,
            same_as("torch"),
        ),
    ],
)  # fmt: skip


# --- OneCycleLR -------------------------------------------------------------------------------------


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


def peak_of(k):
    return k.get("pct_start", 0.3) * k["total_steps"] - 1


def end_of_cycle(k):
    peak, last = peak_of(k), k["total_steps"] - 1
    if last <= (2 * peak if k.get("three_phase") else peak):
        return None  # cut off on the way
    return last, k["max_lr"] / k.get("div_factor", 25.0) / k.get("final_div_factor", 1e4)


def last_step(c):
    k = c.kwargs
    return k.get("total_steps", k.get("epochs", 0) * k.get("steps_per_epoch", 0)) - 1


TINY = 0.1 / 25 / 1e4  # the end value of 0.1
ONE_CYCLE = Entry(
    name="OneCycleLR",
    kind=lambda b: lrax.OneCycleLR(2 * b, total_steps=48, three_phase=True),
    scales=False,  # the base of a group is its max_lr
    refuses={
        "max_lr": RATES,
        "total_steps": besides(COUNT, None),
        "epochs": besides(COUNT, None),
        "steps_per_epoch": besides(COUNT, None),
        "pct_start": NON_NEGATIVE + refuse(ValueError, 1.5),
        "anneal_strategy": CHOICE,
        "div_factor": POSITIVE,
        "final_div_factor": POSITIVE,
        "three_phase": FLAG,
        **MOMENTA,
    },
    valid={
        "": {"total_steps": 100},
        "epochs": {"total_steps": None, "steps_per_epoch": 10},
        "steps_per_epoch": {"total_steps": None, "epochs": 10},
    },
    exact=one_cycle,
    base="max_lr",
    boundaries=lambda k, last: {
        k["total_steps"] - 1,
        *(math.floor(p) + i for p in (peak_of(k), 2 * peak_of(k)) for i in (0, 1)),
    },
    end=end_of_cycle,
    end_is_computed=True,
    kinks=("pct_start",),
    cases={
        "one cycle": args(max_lr=0.1, total_steps=1000),
        "one cycle, linear": args(
            max_lr=0.1, total_steps=300, pct_start=0.25, anneal_strategy="linear", div_factor=10.0
        ),
        "one cycle, three phases": args(max_lr=0.7, total_steps=300, pct_start=0.4, three_phase=True),
        "one cycle, three lines": args(
            max_lr=0.7, total_steps=256, pct_start=0.375, three_phase=True, anneal_strategy="linear"
        ),
    },
    at_horizon=lambda T: {
        "one cycle": args(max_lr=0.1, total_steps=T),
        "one cycle, linear": args(max_lr=0.1, total_steps=T, anneal_strategy="linear"),
        "three phases": args(max_lr=0.1, total_steps=T, three_phase=True),
    },
    empty={
        "cycle of one step": (args(max_lr=0.1, total_steps=1), 0, TINY),
        "cycle without rise": (args(max_lr=0.1, total_steps=4, pct_start=0.25), 0, 0.1),
        "cycle without fall": (args(max_lr=0.1, total_steps=4, pct_start=1.0), 3, 0.1),
        "phases without rise": (
            args(max_lr=0.1, total_steps=4, pct_start=0.25, three_phase=True), 0, 0.1
        ),
        "phases without end": (
            args(max_lr=0.1, total_steps=8, pct_start=0.5, three_phase=True), 3, 0.1
        ),
        "percentage of nothing": (
            args(max_lr=0.1, total_steps=8, pct_start=0.0, anneal_strategy="linear"), 7, TINY
        ),
    },
    extreme=[args(max_lr=0.1, total_steps=1001, final_div_factor=1e30, anneal_strategy="linear")],
    not_smooth={
        "one cycle of 1": args(max_lr=0.1, total_steps=1),
        "one cycle without rise": args(max_lr=0.1, total_steps=10, pct_start=0.0),
        "one cycle without fall": args(max_lr=0.1, total_steps=10, pct_start=1.0),
        "one cycle without end": args(max_lr=0.1, total_steps=10, pct_start=0.5, three_phase=True),
    },
    draws={
        "max_lr": draws.rates,
        "total_steps": draws.sizes,
        "pct_start": st.floats(0.0, 1.0),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(1.0, 1e3),
        "final_div_factor": st.floats(1.0, 1e6),
        "three_phase": st.booleans(),
    },
    undrawn=("epochs", "steps_per_epoch", *MOMENTA),  # instead of total_steps
    repaired=lambda k: {**k, "three_phase": k["three_phase"] and k["pct_start"] <= 0.5},
    torch=[
        *(
            case(max_lr=lr, total_steps=n, pct_start=share, anneal_strategy=strategy, three_phase=three)
            for strategy, three, (lr, n, share) in itertools.product(
                ("cos", "linear"),
                (False, True),
                ((0.5, 20, 0.3), (0.5, 13, 0.25), (0.01, 60, 0.4), (1.0, 61, 0.5)),
            )
        ),
        *(
            case(max_lr=0.5, total_steps=60, pct_start=share, anneal_strategy=strategy)
            for strategy, share in itertools.product(("cos", "linear"), (0.9, 0.05))
        ),
        *(case(max_lr=0.5, total_steps=20, anneal_strategy=strategy) for strategy in ("cos", "linear")),
        case(max_lr=0.5, epochs=6, steps_per_epoch=10),
        case(
            max_lr=25.0, total_steps=10, pct_start=0.3, anneal_strategy="linear", final_div_factor=2.0
        ),
        case(max_lr=0.1, total_steps=60, div_factor=10.0, final_div_factor=100.0),
        case(max_lr=0.1, total_steps=5),
        case(max_lr=0.1, total_steps=4, pct_start=0.5),
    ],
    braintools=[
        *(
            case(length=23, max_lr=0.5, total_steps=20, anneal_strategy=strategy)
            for strategy in ("cos", "linear")
        ),
        *(
            case(max_lr=0.5, total_steps=60, pct_start=0.9, anneal_strategy=strategy)
            for strategy in ("cos", "linear")
        ),
        case(max_lr=0.1, total_steps=60, div_factor=10.0, final_div_factor=100.0),
    ],
    differs=[
        Difference(
            "torch",
            "the last value is held",
            lambda c: len(c.values) > last_step(c) + 1,
            held(last_step),
        ),
        Difference(
            "braintools", "phases and values are torch's", lambda c: True, same_as("torch")
        ),
    ],
)  # fmt: skip
