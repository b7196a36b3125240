"""keras.optimizers.schedules and its callback: ``pip install keras``."""

import os
from types import SimpleNamespace

os.environ.setdefault("KERAS_BACKEND", "numpy")

import keras as library
import numpy as np

from . import METRICS, case, installed

CASES = {
    "exponential": ("ExponentialDecay(0.1, decay_steps=4, decay_rate=0.5)", 12),
    "exponential_stairs": (
        "ExponentialDecay(0.1, decay_steps=4, decay_rate=0.5, staircase=True)",
        12,
    ),
    "piecewise": ("PiecewiseConstantDecay([2, 4], [1.0, 0.1, 0.01])", 8),
    "polynomial": ("PolynomialDecay(0.1, decay_steps=6, end_learning_rate=0.01, power=2.0)", 9),
    "polynomial_cycles": (
        "PolynomialDecay(0.1, decay_steps=4, end_learning_rate=0.01, power=2.0, cycle=True)",
        16,
    ),
    "inverse_time": ("InverseTimeDecay(0.1, decay_steps=4, decay_rate=0.5)", 12),
    "inverse_time_stairs": (
        "InverseTimeDecay(0.1, decay_steps=4, decay_rate=0.5, staircase=True)",
        12,
    ),
    "cosine": ("CosineDecay(0.1, decay_steps=6, alpha=0.1)", 9),
    "cosine_warmup": (
        "CosineDecay(0.0, decay_steps=6, alpha=0.1, warmup_target=0.1, warmup_steps=3)",
        12,
    ),
    "restarts": ("CosineDecayRestarts(0.1, first_decay_steps=4, t_mul=2.0, m_mul=0.5)", 28),
    "restarts_float": (
        "CosineDecayRestarts(0.1, first_decay_steps=4, t_mul=1.5, m_mul=0.9, alpha=0.1)",
        30,
    ),
}
PLATEAU = (
    "ReduceLROnPlateau(monitor='loss', mode='min', factor=0.5, patience=3, min_delta=1e-4, "
    "min_lr=0.01)"
)


def version(checkout):
    return installed("keras")


def cases(checkout):
    for key, (call, epochs) in CASES.items():
        schedule = eval(call, vars(library.optimizers.schedules).copy())
        yield case(key, call, [np.float32(schedule(t)) for t in range(epochs)])
    callback = eval(PLATEAU, vars(library.callbacks).copy())
    optimizer = SimpleNamespace(learning_rate=0.1)
    callback.set_model(SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    values = []
    for epoch, metric in enumerate(METRICS):
        callback.on_epoch_end(epoch, {"loss": metric})
        values.append(float(optimizer.learning_rate))
    yield case("plateau", PLATEAU, values, METRICS)
