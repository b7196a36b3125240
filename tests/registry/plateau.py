"""The schedules that follow a metric: no functions of the epoch."""

import math

import lrax
from golden import (
    BELOW_ZERO,
    EPOCHS,
    FLAT_NEGATIVE,
    LOST,
    RIPPLE,
    STALLS,
    Difference,
    case,
    same_as,
)
from registry.entry import Entry
from registry.rows import CHOICE, COUNT, FLAG, NON_NEGATIVE, POSITIVE, RATES, WHOLE, refuse

NEGATIVE = "the relative threshold is a part of |best|, so that negative metrics work"
FLAT = (4, 8, 12, 16, 20, 24, 28)
FALLING = (2, 6, 8, 13, 15, 19, 21, 25, 27, 31, 33, 35, 38, 40, 42, 44, 46, 50, 52, 54, 57, 59, 61, 63)  # fmt: skip


def reduced_at(*epochs):
    """Learning rate 1, times `factor` after each of these metrics."""
    return lambda c: [
        c.kwargs["factor"] ** sum(e <= t for e in epochs) for t in range(len(c.values))
    ]


def flat_negative(c):
    return c.metrics is not None and set(c.metrics) == {-2.0}


def falling_negative(mode):
    return lambda c: (
        c.metrics is not None
        and c.metrics[0] == -1.0
        and c.kwargs.get("mode", "min") == mode
        and c.kwargs.get("threshold_mode") != "abs"
    )


def like_reduce_on_plateau(patience, rtol=1e-4, atol=0.0, min_scale=0.0, **options):
    """optax reduces at the metric that makes `patience` bad ones; torch and ours at the one after."""
    assert rtol == 0.0 or atol == 0.0
    mode = {"threshold": atol, "threshold_mode": "abs"} if atol else {"threshold": rtol}
    return lrax.ReduceLROnPlateau(
        1.0, patience=patience - 1, min_lr=min_scale, eps=0.0, **mode, **options
    )


def on(metrics, lr=1.0, **kwargs):
    return case(lr, metrics=metrics, **kwargs)


def theirs_on(metrics, **kwargs):
    return case(metrics=metrics, base_lr=1.0, **kwargs)


PLATEAU = Entry(
    name="ReduceLROnPlateau",
    kind=lambda b: lrax.ReduceLROnPlateau(b, factor=0.5, patience=3),
    variants={
        "plateau of two groups": lambda: lrax.ReduceLROnPlateau(
            [0.1, 0.02], "max", 0.5, 1, 1e-3, "abs", 2, min_lr=[1e-3, 0.01], eps=[1e-8, 1e-9]
        ),
        "plateau of means": lambda: lrax.ReduceLROnPlateau(0.1, patience=1, accumulation_size=3),
    },
    refuses={
        "base_lr": RATES,
        "mode": CHOICE,
        "factor": POSITIVE + refuse(ValueError, 1, 1.0, 2.0),
        "patience": WHOLE,
        "threshold": NON_NEGATIVE + refuse(ValueError, 1.0),
        "threshold_mode": CHOICE,
        "cooldown": WHOLE,
        "min_lr": RATES,
        "eps": RATES,
        "accumulation_size": COUNT,
    },
    exact=None,
    end=None,
    torch=[
        *(
            found
            for metrics in (STALLS, RIPPLE)
            for found in (
                on(metrics, factor=0.5, patience=2, cooldown=3),
                on(metrics, factor=0.5, patience=1),
                on(metrics, factor=0.1, patience=0, min_lr=1e-3),
                on(metrics, factor=0.5, patience=2, threshold=0.2, threshold_mode="abs"),
                on(metrics, factor=0.5, patience=2, mode="max"),
                on(metrics, factor=0.5, patience=2, mode="max", threshold=0.1, threshold_mode="abs", cooldown=2),
                on(metrics, factor=0.5, patience=0, cooldown=1, threshold=0.05),
            )
        ),
        on(STALLS),
        on(STALLS, factor=0.5, patience=0, eps=0.1),
        on(STALLS, factor=0.5, patience=1, min_lr=0.3, eps=0.15),
        on(STALLS, factor=0.5, patience=1, min_lr=0.3, eps=0.22),
        on(STALLS, lr=0.1, factor=0.5, patience=0, threshold=0.0),
        on(LOST, factor=0.5, patience=1),
        on(LOST, factor=0.5, patience=1, mode="max", cooldown=1),
        on(FLAT_NEGATIVE, factor=0.5, patience=3),
        on(BELOW_ZERO, factor=0.9, patience=1, threshold=0.1),
        on(BELOW_ZERO, factor=0.9, patience=1, threshold=0.1, mode="max"),
        on(BELOW_ZERO, factor=0.9, patience=1, threshold=0.1, threshold_mode="abs"),
    ],
    braintools=[
        theirs_on(STALLS, factor=0.5, patience=2, cooldown=3),
        theirs_on(STALLS, factor=0.5, patience=1),
        theirs_on(RIPPLE, factor=0.5, patience=0, cooldown=1, threshold=0.05),
        theirs_on(RIPPLE, factor=0.5, patience=2, threshold=0.2, threshold_mode="abs"),
        theirs_on(RIPPLE, factor=0.1, patience=0, min_lr=1e-3),
        theirs_on(RIPPLE, factor=0.5, patience=2, mode="max"),
        theirs_on(STALLS, factor=0.5, patience=0, eps=0.1),
        theirs_on(FLAT_NEGATIVE, factor=0.5, patience=3),
    ],
    optax={
        "reduce_on_plateau": (
            like_reduce_on_plateau,
            [
                case(metrics=STALLS, factor=0.5, patience=2, cooldown=3),
                case(metrics=STALLS, factor=0.5, patience=1),
                case(metrics=STALLS, factor=0.1, patience=1, min_scale=0.01),
                case(metrics=RIPPLE, factor=0.5, patience=2, cooldown=3),
                case(metrics=RIPPLE, factor=0.5, patience=3, rtol=0.1),
                case(metrics=RIPPLE, factor=0.5, patience=3, rtol=0.0, atol=0.2),
                case(metrics=FLAT_NEGATIVE, factor=0.5, patience=3),
                case(metrics=RIPPLE, factor=0.5, patience=2, accumulation_size=3),
                case(metrics=STALLS, factor=0.5, patience=1, cooldown=1, accumulation_size=2),
            ],
        )
    },
    differs=[
        Difference("torch", NEGATIVE, flat_negative, reduced_at(*FLAT)),
        Difference("torch", NEGATIVE, falling_negative("min"), reduced_at(*FALLING)),
        Difference("torch", NEGATIVE, falling_negative("max"), reduced_at(*range(3, 64, 2))),
        Difference(
            "braintools",
            "metrics count during the cooldown, as in torch",
            lambda c: "cooldown" in c.kwargs,
            same_as("torch"),
        ),
        Difference(
            "braintools",
            "eps is obeyed, as in torch",
            lambda c: "eps" in c.kwargs,
            same_as("torch"),
        ),
        Difference("braintools", NEGATIVE, flat_negative, reduced_at(*FLAT)),
        Difference(
            "optax", NEGATIVE, flat_negative, reduced_at(*range(3, 28, 3)), name="reduce_on_plateau"
        ),
    ],
)  # fmt: skip


def wave(t):
    return round(3 - 0.04 * t + 0.5 * math.sin(t / 5), 3)


WAVES = [wave(t) for t in range(EPOCHS)]

GREEDY = Entry(
    name="GreedyLR",
    scales=False,  # its limits are those of its own learning rate
    kind=lambda b: lrax.GreedyLR(b, factor=0.5, patience=1, min_lr=5e-3, warmup=1, reset_start=3),
    variants={
        "greedy with a window": lambda: lrax.GreedyLR(
            [0.1, 0.3], "max", 0.7, 0, 1e-3, "rel", 1, 2, 0.05, 0.4, smooth=True, window_size=4, reset_start=2
        ),
    },
    refuses={
        "base_lr": RATES,
        "mode": CHOICE,
        "factor": POSITIVE + refuse(ValueError, 1, 1.0, 2.0),
        "patience": WHOLE,
        "threshold": NON_NEGATIVE,
        "threshold_mode": CHOICE,
        "cooldown": WHOLE,
        "warmup": WHOLE,
        "min_lr": NON_NEGATIVE + refuse(ValueError, 1.5),
        "max_lr": NON_NEGATIVE + refuse(ValueError, 1e-4),
        "eps": NON_NEGATIVE,
        "smooth": FLAG,
        "window_size": COUNT,
        "reset_start": WHOLE,
    },
    exact=None,
    end=None,
    transformers=[
        on([5, 4, 3, 2, 1, 1, 1, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6], lr=0.1, factor=0.5, patience=1, min_lr=0.001, max_lr=1.0),
        on(WAVES, lr=0.1),
        on(WAVES, lr=0.1, factor=0.8, patience=0, min_lr=0.06, max_lr=0.15, reset_start=3),
        on(WAVES, lr=0.1, factor=0.9, patience=1, cooldown=2, warmup=3),
        on(WAVES, lr=0.1, factor=0.9, patience=1, smooth=True, window_size=4),
        on(RIPPLE, lr=0.3, mode="max", patience=0, factor=0.7, min_lr=0.1, smooth=True, reset_start=2, cooldown=1),
        on(RIPPLE, lr=0.05, patience=1, factor=0.7, threshold=0.05, threshold_mode="rel", max_lr=0.2, eps=0.02),
        on(LOST, lr=0.1, factor=0.5, patience=0, min_lr=0.02, reset_start=1),
        on(FLAT_NEGATIVE, lr=0.1, factor=0.5, patience=3, threshold=1e-4, threshold_mode="rel"),
    ],
    differs=[
        Difference(
            "transformers",
            NEGATIVE,
            lambda c: c.metrics is not None and c.kwargs.get("threshold_mode") == "rel" and flat_negative(c),
            lambda c: [max(0.1 * 0.5 ** (n // 4), 1e-3) for n in range(len(c.values))],
        )
    ],
)  # fmt: skip
