"""Schedules given by a table or by a function of the user's own."""

import numpy as np
from hypothesis import strategies as st

import lrax
from exact import number, way
from golden import case, function
from registry import draws
from registry.entry import Entry, args
from registry.functions import inverse_root, inverse_time
from registry.rows import EPOCHS, FUNCTION, RATES, SHAPE, VALUES, besides, refuse

# --- PiecewiseConstantSchedule ----------------------------------------------------------------------


def piecewise_constant(t, boundaries, values):
    return number(values[sum(b <= t for b in boundaries)])


def levels(init_value, boundaries_and_scales):
    """Boundaries and values, as optax means them."""
    boundaries = sorted(int(b) for b in boundaries_and_scales)
    scales = [boundaries_and_scales[str(b)] for b in boundaries]
    return boundaries, [float(v) for v in np.cumprod([init_value, *scales])]


def like_piecewise_constant(init_value, boundaries_and_scales):
    boundaries, values = levels(init_value, boundaries_and_scales)
    return lrax.PiecewiseConstantSchedule(boundaries=boundaries, values=values)


PIECEWISE_CONSTANT = Entry(
    name="PiecewiseConstantSchedule",
    kind=lambda b: lrax.PiecewiseConstantSchedule(boundaries=[10, 30], values=[b, b / 3, 2 * b]),
    scales=False,  # the values are not multiples of base_lr
    refuses={
        "base_lr": RATES,
        "boundaries": [*besides(EPOCHS, None), *refuse(ValueError, [1], [])],
        "values": besides(VALUES, None),
    },
    exact=piecewise_constant,
    base="values",
    boundaries=lambda k, last: set(k["boundaries"]),
    end=lambda k: (max(k["boundaries"], default=0), k["values"][-1]),
    rates=("values",),
    whole=lambda k: True,
    cases={
        "piecewise": args(boundaries=[10, 30, 2**24 + 3], values=[0.1, 1.0, 0.3, 1e-5]),
    },
    at_horizon=lambda T: {"piecewise": args(boundaries=[T // 3, T], values=[0.1, 0.7, 1e-3])},
    empty={
        "boundary at 0": (args(boundaries=[0], values=[0.1, 0.2]), 0, 0.2),
        "no boundary": (args(boundaries=[], values=[0.1]), 0, 0.1),
    },
    not_smooth={"values at 0": args(boundaries=[5], values=[0.0, 0.1])},
    draws={"boundaries": draws.starts, "values": st.lists(draws.rates, min_size=7, max_size=7)},
    undrawn=("base_lr",),  # the values say it all
    repaired=lambda k: {**k, "values": k["values"][: len(k["boundaries"]) + 1]},
    braintools=[
        case(base_lr=9.0, boundaries=[2, 4], values=[1.0, 0.1, 0.01]),
        case(boundaries=[0, 30], values=[1.0, 0.2, 0.3]),
        case(boundaries=[], values=[0.125]),
        case(),
    ],
    optax={
        "piecewise_constant_schedule": (
            like_piecewise_constant,
            [
                case(init_value=1.0, boundaries_and_scales={"3": 0.5, "6": 0.1}),
                case(init_value=0.1, boundaries_and_scales={"20": 0.1, "40": 0.1}),
            ],
        )
    },
)


# --- PiecewiseSchedule ------------------------------------------------------------------------------


def piecewise(t, base_lr, epochs, values, interpolation="linear"):
    passed = sum(e <= t for e in epochs)
    if passed in (0, len(epochs)):
        return number(base_lr) * number(values[0 if passed == 0 else -1])
    start, end = epochs[passed - 1 : passed + 1]
    ends = values[passed - 1 : passed + 1]
    return number(base_lr) * way(interpolation, *ends, t - start, end - start)


def one_value_each(k):
    values = [v or 0.5 for v in k["values"]] if k["interpolation"] == "harmonic" else k["values"]
    return {**k, "values": values[: len(k["epochs"])]}


def like_piecewise_interpolate(interpolate_type, init_value, boundaries_and_scales):
    boundaries, values = levels(init_value, boundaries_and_scales)
    return lrax.PiecewiseSchedule(1.0, [0, *boundaries], values, interpolate_type)


PIECEWISE = Entry(
    name="PiecewiseSchedule",
    kind=lambda b: lrax.PiecewiseSchedule(b, [0, 10, 30, 30, 45], [0.1, 1, 0.5, 0.7, 0.01], "tanh"),
    refuses={
        "base_lr": RATES,
        "epochs": EPOCHS + refuse(ValueError, [], [1], [1, 2, 3]),
        "values": VALUES,
        "interpolation": SHAPE + refuse(ValueError, "harmonic"),
    },
    valid={"": {"base_lr": 0.1, "epochs": [0, 5], "values": [0.0, 1.0]}},
    exact=piecewise,
    boundaries=lambda k, last: set(k["epochs"]),
    end=lambda k: (k["epochs"][-1], k["base_lr"] * k["values"][-1]),
    end_is_computed=True,
    cases={
        "points": args(
            base_lr=0.1,
            epochs=[3, 41, 700, 700, 2**24 + 3],
            values=[0.0, 1.0, 1e-3, 0.7, 2.5],
            interpolation="cosine",
        ),
    },
    at_horizon=lambda T: {
        "points": args(base_lr=0.1, epochs=[T // 3, T], values=[0.3, 0.01], interpolation="rex"),
    },
    empty={
        "a point": (args(base_lr=0.1, epochs=[5], values=[0.5]), 0, 0.05),
        "jump at 0": (args(base_lr=0.1, epochs=[0, 0, 9], values=[0.0, 1.0, 0.5]), 0, 0.1),
        "jump at the end": (args(base_lr=0.1, epochs=[0, 9, 9], values=[1.0, 2.0, 0.5]), 9, 0.05),
    },
    not_smooth={
        "factors from 0": args(
            base_lr=0.1, epochs=[2, 5, 9], values=[0.0, 0.0, 1.0], interpolation=("power", 0.5)
        ),
    },
    draws={
        "base_lr": draws.rates,
        "epochs": st.lists(draws.lengths, min_size=1, max_size=6).map(sorted),
        "values": st.lists(draws.factors, min_size=6, max_size=6),
        "interpolation": draws.shapes,
    },
    repaired=one_value_each,
    optax={
        "piecewise_interpolate_schedule": (
            like_piecewise_interpolate,
            [
                case(
                    interpolate_type="linear",
                    init_value=1.0,
                    boundaries_and_scales={"3": 0.5, "6": 0.1},
                ),
                case(
                    interpolate_type="cosine",
                    init_value=0.1,
                    boundaries_and_scales={"10": 3.0, "23": 0.5, "50": 0.01},
                ),
            ],
        )
    },
)


# --- LambdaLR ---------------------------------------------------------------------------------------


def function_of_epoch(t, base_lr, lr_lambda):
    return number(base_lr) * lr_lambda(number(t))


LAMBDA = Entry(
    name="LambdaLR",
    kind=lambda b: lrax.LambdaLR(b, lr_lambda=lambda t: t / 10 if t < 10 else (10 / t) ** 0.5),
    has_config=False,
    refuses={"base_lr": RATES, "lr_lambda": FUNCTION + refuse(ValueError, [])},
    valid={"": {"lr_lambda": lambda epoch: 1.0}},
    exact=function_of_epoch,
    boundaries=lambda k, last: {0},
    end=None,
    cases={"lambda": args(base_lr=0.1, lr_lambda=inverse_root)},
    draws={
        "base_lr": draws.rates,
        "lr_lambda": st.sampled_from([inverse_time, inverse_root]),
    },
    torch=[
        case(0.1, lr_lambda=function("inverse_sqrt")),
        case(0.1, lr_lambda=function("ramp_8")),
        case(0.1, lr_lambda=function("three_quarters")),
    ],
)


# --- MultiplicativeLR -------------------------------------------------------------------------------

MULTIPLICATIVE = Entry(
    name="MultiplicativeLR",
    kind=lambda b: lrax.MultiplicativeLR(b, lr_lambda=lambda t: 0.8 if t % 7 == 0 else 1 - 1 / (t + 9)),
    has_config=False,
    refuses={"base_lr": RATES, "lr_lambda": FUNCTION + refuse(ValueError, [])},
    valid={"": {"lr_lambda": lambda epoch: 1.0}},
    exact=None,
    end=None,
    torch=[
        case(0.1, lr_lambda=function("inverse_sqrt"), length=16),
        case(0.1, lr_lambda=function("ramp_8")),
        case(0.1, lr_lambda=function("nearer_to_one")),
    ],
)  # fmt: skip
