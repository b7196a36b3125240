"""Schedules that decay, and the straight lines and factors that are like them."""

from hypothesis import strategies as st

import lrax
from exact import LARGEST, SMALLEST, between, line, number, repeated
from golden import Difference, case, constant
from registry import draws
from registry.entry import Entry, args
from registry.rows import COUNT, EPOCHS, FLAG, NON_NEGATIVE, POSITIVE, RATES, WHOLE, besides


def no_length(found):
    return found.kwargs.get("total_iters") == 0


# --- StepLR -----------------------------------------------------------------------------------------


def step(t, base_lr, step_size, gamma):
    return number(base_lr) * number(gamma) ** int(t // step_size)


STEP = Entry(
    name="StepLR",
    kind=lambda b: lrax.StepLR(b, step_size=10, gamma=0.5),
    variants={"rates of two groups": lambda: lrax.StepLR([0.1, 0.02], step_size=4, gamma=0.5)},
    refuses={"base_lr": RATES, "step_size": COUNT, "gamma": POSITIVE},
    exact=step,
    boundaries=lambda k, last: repeated(last, k["step_size"]),
    end=None,
    whole=lambda k: True,
    cases={
        "step": args(base_lr=0.1, step_size=30, gamma=0.3),
        "step, 41": args(base_lr=3e-4, step_size=41, gamma=0.5),
    },
    at_horizon=lambda T: {"step": args(base_lr=0.1, step_size=T, gamma=0.3)},
    extreme=[
        args(base_lr=SMALLEST * (1 - 2**-53), step_size=3, gamma=1.0),
        args(base_lr=LARGEST, step_size=3, gamma=1.0),
    ],
    draws={"base_lr": draws.rates, "step_size": draws.sizes, "gamma": draws.shrinking},
    torch=[
        case(0.1, step_size=3, gamma=0.5),
        case(0.1, step_size=1, gamma=0.9),
        case(0.05, step_size=30),
        case(0.1, step_size=100),
        case(0.3, step_size=7, gamma=1.0),
        case(1e-3, step_size=20, gamma=2.0),
    ],
    braintools=[
        case(base_lr=0.1, step_size=3, gamma=0.5),
        case(base_lr=0.05, step_size=10),
        case(),
    ],
)


# --- MultiStepLR ------------------------------------------------------------------------------------


def multi_step(t, base_lr, milestones, gamma):
    return number(base_lr) * number(gamma) ** sum(m <= t for m in milestones)


MULTI_STEP = Entry(
    name="MultiStepLR",
    kind=lambda b: lrax.MultiStepLR(b, milestones=[7, 20, 20, 40], gamma=0.6),
    variants={"no milestones": lambda: lrax.MultiStepLR(0.1, milestones=())},
    refuses={"base_lr": RATES, "milestones": EPOCHS, "gamma": POSITIVE},
    exact=multi_step,
    boundaries=lambda k, last: set(k["milestones"]),
    end=lambda k: (
        max(k["milestones"], default=0), k["base_lr"] * k["gamma"] ** len(k["milestones"])
    ),
    end_is_computed=True,
    whole=lambda k: True,
    cases={
        "multi-step": args(base_lr=0.1, milestones=[7, 50, 50, 2**24 + 1, 10**9], gamma=0.2),
    },
    at_horizon=lambda T: {
        "multi-step": args(base_lr=0.1, milestones=[T // 3, (T + 1) // 2, T], gamma=0.3),
    },
    empty={
        "no milestones": (args(base_lr=0.1, milestones=[], gamma=0.5), 0, 0.1),
        "milestones at 0": (args(base_lr=0.1, milestones=[0, 0], gamma=0.5), 0, 0.025),
    },
    extreme=[args(base_lr=1.0, milestones=list(range(1000, 2000)), gamma=0.99)],
    draws={"base_lr": draws.rates, "milestones": draws.starts, "gamma": draws.shrinking},
    torch=[
        case(0.1, milestones=[2, 5, 5, 9], gamma=0.5),
        case(0.05, milestones=[30, 60]),
        case(0.1, milestones=[0, 10], gamma=0.5),
        case(0.1, milestones=[1], gamma=0.1),
        case(0.1, milestones=[], gamma=0.1),
        case(0.1, milestones=[4, 4, 4, 40], gamma=0.8),
    ],
    braintools=[
        case(base_lr=0.1, milestones=[2, 5, 5, 9], gamma=0.5),
        case(base_lr=0.1, milestones=[0, 10], gamma=0.5),
        case(),
    ],
)  # fmt: skip


# --- ExponentialLR ----------------------------------------------------------------------------------


def exponential(t, base_lr, gamma):
    return number(base_lr) * number(gamma) ** number(t)


EXPONENTIAL = Entry(
    name="ExponentialLR",
    kind=lambda b: lrax.ExponentialLR(b, gamma=0.95),
    refuses={"base_lr": RATES, "gamma": POSITIVE},
    exact=exponential,
    boundaries=lambda k, last: {0},
    end=None,
    cases={
        "exponential": args(base_lr=0.1, gamma=0.97),
        "exponential, slow": args(base_lr=0.7, gamma=0.9999999),
        "exponential, growing": args(base_lr=1e-9, gamma=1.01),
    },
    rough_in_float32=("exponential, slow", "exponential, growing"),
    extreme=[
        args(base_lr=0.0, gamma=1.5),
        args(base_lr=0.1, gamma=1 - 2**-53),
        args(base_lr=1e-38, gamma=1.0000001),
    ],
    not_smooth={
        "gamma at 1": args(base_lr=0.1, gamma=1.0),
        "gamma above 1": args(base_lr=0.1, gamma=1.5),
    },
    draws={"base_lr": draws.rates, "gamma": draws.shrinking},
    torch=[
        case(0.1, gamma=0.9),
        case(1e-5, gamma=1.2),
        case(0.1, gamma=0.999),
        case(0.1, gamma=0.5),
        case(0.1, gamma=1.0),
    ],
    braintools=[case(base_lr=0.1, gamma=0.9), case()],
)


# --- ExponentialDecayLR -----------------------------------------------------------------------------


def exponential_decay(
    t, base_lr, decay_steps, decay_rate, transition_begin=0, staircase=False, end_value=None
):
    since = max(t - transition_begin, 0)
    periods = since // decay_steps if staircase else number(since) / decay_steps
    lr = number(base_lr) * number(decay_rate) ** number(periods)
    if end_value is None:
        return lr
    return max(lr, number(end_value)) if decay_rate < 1 else min(lr, number(end_value))


EXPONENTIAL_DECAY = Entry(
    name="ExponentialDecayLR",
    kind=lambda b: lrax.ExponentialDecayLR(b, 10, 0.7, 3, staircase=True),
    refuses={
        "base_lr": RATES,
        "decay_steps": COUNT,
        "decay_rate": POSITIVE,
        "transition_begin": WHOLE,
        "staircase": FLAG,
        "end_value": besides(NON_NEGATIVE, None),
    },
    exact=exponential_decay,
    boundaries=lambda k, last: {
        k.get("transition_begin", 0) + epoch for epoch in repeated(last, k["decay_steps"])
    },
    end=None,
    whole=lambda k: k.get("staircase", False),
    rates=("end_value",),
    cases={
        "exponential decay": args(base_lr=0.1, decay_steps=41, decay_rate=0.9, transition_begin=5),
        "exponential decay, stairs": args(
            base_lr=0.1, decay_steps=41, decay_rate=0.9, transition_begin=5, staircase=True
        ),
        "exponential decay, end": args(base_lr=0.1, decay_steps=30, decay_rate=0.5, end_value=1e-4),
        "exponential growth, end": args(base_lr=1e-4, decay_steps=30, decay_rate=2.0, end_value=0.1),
    },
    at_horizon=lambda T: {
        "decay": args(base_lr=0.1, decay_steps=T, decay_rate=0.1),
        "stairs": args(
            base_lr=0.1, decay_steps=T, decay_rate=0.1, staircase=True, transition_begin=T // 3
        ),
    },
    not_smooth={"rate at 1": args(base_lr=0.1, decay_steps=10, decay_rate=1.0, end_value=0.1)},
    draws={
        "base_lr": draws.rates,
        "decay_steps": draws.sizes,
        "decay_rate": st.one_of(draws.shrinking, st.floats(1.0, 10.0)),
        "transition_begin": draws.lengths,
        "staircase": st.booleans(),
        "end_value": draws.floors,
    },
    braintools=[
        *(
            case(base_lr=0.1, decay_steps=3, decay_rate=0.5, transition_begin=b, staircase=s, end_value=0.02)
            for b in (0, 2)
            for s in (False, True)
        ),
        case(base_lr=0.1, decay_steps=7, decay_rate=0.5),
        case(base_lr=1e-3, decay_steps=10, decay_rate=1.5, end_value=5e-3),
        case(),
    ],
    optax={
        "exponential_decay": (
            lambda init_value, transition_steps, decay_rate, **options: lrax.ExponentialDecayLR(
                init_value, transition_steps, decay_rate, **options
            ),
            [
                *(
                    case(
                        init_value=1.0, transition_steps=3, decay_rate=0.5, transition_begin=b, staircase=s, end_value=0.1
                    )
                    for b in (0, 2)
                    for s in (False, True)
                ),
                case(init_value=1.0, transition_steps=2, decay_rate=2.0, end_value=3.0),
                case(init_value=0.1, transition_steps=10, decay_rate=0.5),
            ],
        )
    },
)  # fmt: skip


# --- PolynomialLR -----------------------------------------------------------------------------------


def polynomial(t, base_lr, total_iters, power, eta_min=0.0):
    left = (1 - number(min(t, total_iters)) / total_iters) ** number(power)
    return number(eta_min) + (number(base_lr) - number(eta_min)) * left


def like_polynomial_schedule(init_value, end_value, power, transition_steps, transition_begin=0):
    decay = lrax.PolynomialLR(init_value, transition_steps, power, eta_min=end_value)
    if not transition_begin:
        return decay
    return lrax.SequentialLR([lrax.ConstantLR(init_value, 1.0, 0), decay], [transition_begin])


POLYNOMIAL = Entry(
    name="PolynomialLR",
    kind=lambda b: lrax.PolynomialLR(b, total_iters=45, power=1.5),
    refuses={"base_lr": RATES, "total_iters": COUNT, "power": POSITIVE, "eta_min": NON_NEGATIVE},
    exact=polynomial,
    boundaries=lambda k, last: {k["total_iters"]},
    end=lambda k: (k["total_iters"], k.get("eta_min", 0.0)),
    rates=("eta_min",),
    cases={
        "polynomial": args(base_lr=0.1, total_iters=1000, power=1.0),
        "polynomial, root": args(base_lr=0.1, total_iters=1000, power=0.5),
        "polynomial, 0.9": args(base_lr=0.02, total_iters=90, power=0.9),
        "polynomial, cubic": args(base_lr=3e-4, total_iters=2000, power=3.0),
        "polynomial, upwards": args(base_lr=1e-5, total_iters=2000, power=0.05, eta_min=0.1),
    },
    at_horizon=lambda T: {
        "polynomial": args(base_lr=0.1, total_iters=T, power=1.0),
        "root": args(base_lr=0.1, total_iters=T, power=0.5),
        "square": args(base_lr=0.1, total_iters=T, power=2.0),
        "0.9": args(base_lr=0.1, total_iters=T, power=0.9),
        "0.01, upwards": args(base_lr=1e-12, total_iters=T, power=0.01, eta_min=0.03),
    },
    extreme=[
        args(base_lr=0.1, total_iters=1000, power=1e6),
        args(base_lr=0.1, total_iters=1000, power=1e-9),
    ],
    not_smooth={
        "small power": args(base_lr=0.1, total_iters=1000, power=0.01),
        "large power": args(base_lr=0.1, total_iters=1000, power=100.0),
    },
    draws={
        "base_lr": draws.rates,
        "total_iters": draws.sizes,
        "power": draws.powers,
        "eta_min": draws.floors,
    },
    torch=[
        case(0.1, total_iters=6, power=1.7),
        case(0.1),
        case(0.05, total_iters=50, power=0.9),
        case(0.1, total_iters=41, power=1.0),
        case(0.1, total_iters=47, power=2.0),
        case(0.1, total_iters=60, power=0.5),
        case(0.1, total_iters=1),
    ],
    braintools=[
        case(base_lr=0.1, total_iters=6, power=1.7),
        case(base_lr=0.1, total_iters=50, power=2.0),
        case(),
    ],
    optax={
        "polynomial_schedule": (
            like_polynomial_schedule,
            [
                case(init_value=1.0, end_value=0.1, power=2.0, transition_steps=4, transition_begin=1),
                case(init_value=0.1, end_value=0.0, power=2.0, transition_steps=50),
                case(init_value=0.1, end_value=0.01, power=3.0, transition_steps=50),
                case(init_value=0.1, end_value=0.0, power=0.5, transition_steps=41),
            ],
        )
    },
)  # fmt: skip


# --- LinearLR ---------------------------------------------------------------------------------------


def linear(t, base_lr, start_factor, end_factor, total_iters):
    return number(base_lr) * between(line, start_factor, end_factor, t, total_iters)


def like_linear_schedule(init_value, end_value, transition_steps, transition_begin=0):
    ramp = lrax.LinearLR(1.0, init_value, end_value, transition_steps)
    if not transition_begin:
        return ramp
    wait = lrax.ConstantLR(1.0, factor=init_value, total_iters=transition_begin)
    return lrax.SequentialLR([wait, ramp], [transition_begin])


LINEAR = Entry(
    name="LinearLR",
    kind=lambda b: lrax.LinearLR(b, 0.1, 1.0, total_iters=30),
    refuses={
        "base_lr": RATES,
        "start_factor": NON_NEGATIVE,
        "end_factor": NON_NEGATIVE,
        "total_iters": WHOLE,
    },
    exact=linear,
    boundaries=lambda k, last: {k["total_iters"]},
    end=lambda k: (k["total_iters"], k["base_lr"] * k["end_factor"]),
    end_is_computed=True,
    cases={
        "linear": args(base_lr=0.1, start_factor=1 / 3, end_factor=1.0, total_iters=300),
        "linear, to zero": args(base_lr=0.1, start_factor=1.0, end_factor=0.0, total_iters=1000),
    },
    at_horizon=lambda T: {
        "linear": args(base_lr=0.1, start_factor=1 / 3, end_factor=1.0, total_iters=T),
        "linear, to zero": args(base_lr=0.1, start_factor=1.0, end_factor=0.0, total_iters=T),
    },
    empty={
        "linear": (
            args(base_lr=0.1, start_factor=0.5, end_factor=0.7, total_iters=0), 0, 0.1 * 0.7
        ),
    },
    extreme=[args(base_lr=0.0, start_factor=0.5, end_factor=1.0, total_iters=5)],
    not_smooth={
        "factors at 0": args(base_lr=0.1, start_factor=0.0, end_factor=0.0, total_iters=10),
    },
    draws={
        "base_lr": draws.rates,
        "start_factor": draws.factors,
        "end_factor": draws.factors,
        "total_iters": draws.lengths,
    },
    torch=[
        case(0.1, start_factor=0.2, end_factor=0.8, total_iters=5),
        case(0.1),
        case(0.05, start_factor=0.05, total_iters=40),
        case(0.1, start_factor=1.0, end_factor=0.0, total_iters=50),
        case(0.1, start_factor=1e-6, end_factor=1.0, total_iters=13),
        case(0.1, start_factor=0.5, total_iters=1),
        case(0.1, total_iters=0),
    ],
    braintools=[
        case(base_lr=0.1, start_factor=0.2, end_factor=0.8, total_iters=5),
        case(base_lr=0.1, start_factor=0.0, end_factor=1.0, total_iters=10),
        case(base_lr=0.1, total_iters=0),
        case(base_lr=0.1, start_factor=1.0, end_factor=0.0, total_iters=50),
        case(),
    ],
    optax={
        "linear_schedule": (
            like_linear_schedule,
            [
                case(init_value=0.0, end_value=1.0, transition_steps=4, transition_begin=1),
                case(init_value=0.3, end_value=1.0, transition_steps=0),
                case(init_value=0.1, end_value=0.001, transition_steps=50),
            ],
        )
    },
    differs=[
        Difference(
            "torch", "a ramp of no length has arrived", no_length, constant(lambda c: c.lr)
        ),
        Difference(
            "optax",
            "a ramp of no length has arrived",
            lambda c: c.kwargs["transition_steps"] == 0,
            constant(lambda c: c.kwargs["end_value"]),
            name="linear_schedule",
        ),
    ],
)  # fmt: skip


# --- ConstantLR -------------------------------------------------------------------------------------


def constant_factor(t, base_lr, factor, total_iters):
    return number(base_lr) * (number(factor) if t < total_iters else 1)


CONSTANT = Entry(
    name="ConstantLR",
    kind=lambda b: lrax.ConstantLR(b, factor=0.3, total_iters=20),
    refuses={"base_lr": RATES, "factor": NON_NEGATIVE, "total_iters": WHOLE},
    exact=constant_factor,
    boundaries=lambda k, last: {k["total_iters"]},
    end=lambda k: (k["total_iters"], k["base_lr"]),
    whole=lambda k: True,
    cases={"constant": args(base_lr=0.1, factor=1 / 3, total_iters=5)},
    at_horizon=lambda T: {"constant": args(base_lr=0.1, factor=1 / 3, total_iters=T)},
    empty={"constant": (args(base_lr=0.1, factor=0.5, total_iters=0), 0, 0.1)},
    not_smooth={"constant at 0": args(base_lr=0.1, factor=0.0, total_iters=10)},
    draws={"base_lr": draws.rates, "factor": draws.factors, "total_iters": draws.lengths},
    torch=[
        case(0.1, factor=0.25, total_iters=3),
        case(0.1),
        case(0.05, factor=0.5, total_iters=40),
        case(0.1, factor=1.0, total_iters=7),
        case(0.1, factor=0.5, total_iters=1),
        case(0.1, factor=0.5, total_iters=0),
    ],
    braintools=[
        case(base_lr=0.1, factor=0.25, total_iters=3),
        case(base_lr=0.1, factor=0.5, total_iters=0),
        case(base_lr=0.1, factor=0.0, total_iters=4),
        case(),
    ],
    optax={
        "constant_schedule": (
            lambda value: lrax.ConstantLR(value, factor=1.0, total_iters=0), [case(value=0.1)]
        )
    },
    differs=[
        Difference(
            "torch", "a factor for no time does not apply", no_length, constant(lambda c: c.lr)
        ),
    ],
)  # fmt: skip


# --- TokenPowerLR -----------------------------------------------------------------------------------


def token_power(t, base_lr, batch_size=1, a=4.6, power=0.51):
    if t == 0:
        return number(base_lr)
    return min(number(base_lr), batch_size * number(a) * number(t) ** -number(power))


def where_it_begins_to_fall(k):
    return (k["batch_size"] * k["a"] / (k["base_lr"] or 1)) ** (1 / k["power"])


TOKEN_POWER = Entry(
    name="TokenPowerLR",
    kind=lambda b: lrax.TokenPowerLR(b, batch_size=2, a=0.1, power=0.51),
    refuses={"base_lr": RATES, "batch_size": COUNT, "a": POSITIVE, "power": POSITIVE},
    exact=token_power,
    boundaries=lambda k, last: {round(min(where_it_begins_to_fall(k), 2.0**31))},
    end=None,
    rates=("a",),
    cases={"tokens": args(base_lr=0.01, batch_size=3, a=0.3, power=0.51)},
    extreme=[args(base_lr=1e30, batch_size=2**53, a=1e300, power=20.0)],
    not_smooth={"tokens from 0": args(base_lr=0.0, batch_size=1, a=1e-3, power=2.0)},
    draws={
        "base_lr": draws.rates,
        "batch_size": st.integers(1, 10**6),
        "a": draws.rates,
        "power": st.floats(0.1, 3.0),
    },
)
