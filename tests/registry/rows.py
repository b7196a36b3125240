"""What arguments must refuse: rows of a value and the error that it is."""

import math

import jax.numpy as jnp
import numpy as np
import optax

import lrax

NAN, INF, HUGE = math.nan, math.inf, 10**400
STEP = lrax.StepLR()
OBJECT = object()


def refuse(error, *values):
    return [(value, error) for value in values]


def besides(rows, *allowed):
    """`rows` without those of the values that are allowed after all."""
    return [row for row in rows if not any(row[0] is value for value in allowed)]


PAIR = np.array([0.1, 0.2])
LISTS = refuse(TypeError, [0.1], (0.1, 0.2), [], PAIR)
NO_NUMBER = refuse(
    TypeError, "3", b"3", None, True, np.True_, {}, {"a": 1}, {1}, 1j, np.complex64(1j), abs, STEP, OBJECT, [[0.1]]
)  # fmt: skip
NUMBER = NO_NUMBER + LISTS + refuse(ValueError, NAN, INF, -INF, np.float32("nan"), HUGE, -HUGE)
NON_NEGATIVE = NUMBER + refuse(ValueError, -1, -1e-30, np.float32(-0.5), jnp.float32(-0.5))
POSITIVE = NON_NEGATIVE + refuse(ValueError, 0, 0.0, -0.0, np.int64(0))
SHARE = NON_NEGATIVE + refuse(ValueError, 1, 1.0, 1.5)
WHOLE = NON_NEGATIVE + refuse(ValueError, 2.5, np.float32(0.5))
COUNT = WHOLE + refuse(ValueError, 0, 0.0)
EPOCH = besides(WHOLE, -1) + refuse(ValueError, -2, 2**31, 2.0**31)
FLAG = refuse(TypeError, 1, 0, 0.5, "True", None, [True], np.array([True]), STEP)
CHOICE = refuse(TypeError, None, 1, True, ["min"], STEP) + refuse(ValueError, "", "no such mode")
SHAPE = refuse(TypeError, None, 3, 0.5, True, {}, OBJECT, lrax.StepLR)
SHAPE += refuse(
    ValueError, "", "cosinus", ("power",), ("linear", 2.0), ("power", 0), ("power", -1.0)
)
SHAPE += refuse(ValueError, ("exponential", 1.0), ("tanh", 301.0), ("power", NAN), lambda p: p)
FUNCTION = refuse(TypeError, None, 3, 0.5, "f", True, {}, [3], [None], OBJECT)
RATES = NO_NUMBER + [row for row in NON_NEGATIVE if row[1] is ValueError]
RATES += refuse(TypeError, ["3"], [None], (True,), [0.1, 1j], np.ones((2, 2)), [STEP])
RATES += refuse(ValueError, [], [-0.1], [0.1, NAN], (INF,), np.array([0.1, -1]))
EPOCHS = refuse(TypeError, None, 3, "3", {1}, {}, STEP, OBJECT, ["3"], [None], [True], [[1]], [1j])
EPOCHS += refuse(ValueError, [-1], [2.5], [NAN], [INF], [5, 2], (1, 3, 2), np.array([2, 1]))
VALUES = refuse(TypeError, None, 3, "3", {1}, STEP, ["a"], [None], [True], [[1]], [1j, 1, 1])
VALUES += refuse(ValueError, [-1.0, 1, 1], [NAN, 1, 1], [1, INF, 1], [], [1.0], [1.0] * 4)
MEMBERS = refuse(TypeError, None, 3, "abc", STEP, {}, [0.1], [None], [lrax.StepLR], [STEP, abs])
MEMBERS += refuse((TypeError, ValueError), [])
LR = [
    *besides(NON_NEGATIVE, None, STEP),
    (lrax.StepLR, TypeError),
    (optax.constant_schedule(1.0), TypeError),
]
BAD_SCHEDULES = refuse(TypeError, lrax.StepLR) + refuse(ValueError, lrax.StepLR([0.1, 0.2]))
DECAY = besides(NON_NEGATIVE, abs, STEP) + BAD_SCHEDULES
MOMENTUM = besides(SHARE, abs, STEP) + BAD_SCHEDULES
MOMENTUM += refuse(ValueError, lrax.StepLR(1.0), lrax.LinearLR(1.0, 0.5, 1.0, 10))
CLIP = besides(POSITIVE, None, abs, STEP) + BAD_SCHEDULES
CLIP += refuse(ValueError, lrax.CosineAnnealingLR(1.0, 10))
GROUPS = refuse(TypeError, 3, "bias", [3], [("bias",)], {"bias": 3}, {3: {}}, {"bias": None})
GROUPS += refuse(ValueError, {"(": {}}, {"b": {"nope": 1}}, {"b": {"frozen": 1}})
GROUPS += refuse(ValueError, {"b": {"frozen": True, "lr": 0.1}}, {"b": {"grad_clip_norm": 1.0}})
BETAS = refuse(TypeError, None, 0.9, "ab", STEP, ("a", 0.9), (0.9, None), (True, 0.9))
BETAS += refuse(
    ValueError, (), (0.9,), (0.9, 0.9, 0.9), (1.0, 0.9), (0.9, 1.5), (-0.1, 0.9), (NAN, 0.9)
)
TX = refuse(TypeError, 3, "adam", 0.1, optax.adam, STEP, (1, 2), OBJECT)
FORMULA = refuse(TypeError, None, 3, "x", abs, [3], lrax.Formula, STEP) + refuse(ValueError, [])
