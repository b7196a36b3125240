"""Functions of the user's own, LambdaLR, get_lr() and scale_fn: the same compiled as in Python."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
import modes
from helpers import assert_same_bits, slow_but, stepped, weekly_but


def test_a_function_in_jax_numpy_is_float64_on_the_host():
    scheduler = lrax.LambdaLR(1.0, lambda t: jnp.exp(-jnp.asarray(t) / 30))
    wanted = np.float32([math.exp(-t / 30) for t in range(100)])
    assert_same_bits(stepped(scheduler, 100), wanted)
    assert_same_bits(scheduler(np.arange(100)), wanted)


@functools.lru_cache
def cached(epoch):
    return 1 / (1 + epoch)


TABLE = (1.0, 0.5, 0.25, 0.125)
PYTHON = {
    "a negative power of a whole number": lambda t: 10 ** -(t // 30),
    "a negative power of the epoch": lambda t: (t + 1) ** -1,
    "a large power": lambda t: 1 / (1 + t**5),
    "numbers beyond 64 bits": lambda t: 2**t / 2**1000,
    "an if": lambda t: 1.0 if t < 7 else 0.5,
    "math": lambda t: math.exp(-t / 40),
    "a dict": lambda t: {0: 1.0, 7: 0.5}.get(t, 0.1),
    "a set": lambda t: 0.5 if t in {3, 50} else 1.0,
    "a tuple": lambda t: TABLE[min(t // 10, 3)],
    "an array of NumPy": lambda t: np.array(TABLE)[min(t // 10, 3)],
    "an array of jax": lambda t: jnp.array(TABLE)[jnp.minimum(t // 10, 3)],
    "an array of jax, compiled": lambda t: jnp.array(TABLE)[jnp.int32(jnp.minimum(t // 10, 3))],
    "a method of int": lambda t: t.bit_length() / 10,
    "a cache": cached,
}


def by_lambda(function):
    return lrax.LambdaLR(0.1, function)


class OfPython(lrax.LRScheduler):
    def __init__(self, function):
        self.function = function
        super().__init__(0.1)

    def get_lr(self):
        return [lr * self.function(self.last_epoch.value) for lr in self.base_lrs]


@pytest.mark.parametrize(
    "label",
    slow_but(
        PYTHON, "a large power", "an if", "math", "a dict", "an array of jax, compiled", "a cache"
    ),
)
@pytest.mark.parametrize(
    "make", slow_but([by_lambda, OfPython], by_lambda), ids=["LambdaLR", "get_lr"]
)
def test_a_function_of_python_is_the_same_compiled(label, make):
    scheduler = make(PYTHON[label])
    wanted = np.float32([0.1 * float(PYTHON[label](t)) for t in range(100)])
    epochs = jnp.arange(100)
    np.testing.assert_allclose(scheduler(np.arange(100)), wanted, rtol=1.2e-7, atol=1e-45)
    for found in (
        jax.jit(scheduler)(epochs),
        [jax.jit(scheduler)(t) for t in epochs],
        jax.vmap(scheduler)(epochs),
        stepped(scheduler, 100),
    ):
        np.testing.assert_allclose(np.stack(found), wanted, rtol=1.2e-7, atol=1e-45)


# --- Constants of NumPy and jax: each the number that it is, in float64 --------------------------------

NARROW = {  # a constant, and the same as a Python number
    "np.float16": np.float16(0.1),
    "np.float32": np.float32(0.1),
    "ml_dtypes.bfloat16": jnp.bfloat16.dtype.type(0.1),
    "jnp.float16": jnp.float16(0.1),
    "jnp.float32": jnp.float32(0.1),
    "jnp.bfloat16": jnp.bfloat16(0.1),
    "an array of NumPy": np.array(0.1, np.float16),
    "an array of jax": jnp.array(0.1, jnp.float16),
}
TABLE_OF_FLOAT32 = np.float32([1.0, 0.7, 0.3, 0.1])
OF_TYPES = {  # a function, and the same in Python numbers
    **{
        f"{label}, {side}": (
            (lambda t, c=c: c * t) if side == "left" else (lambda t, c=c: t * c),
            lambda t, c=float(c): c * t,
        )
        for label, c in NARROW.items()
        for side in ("left", "right")
    },
    "mixed": (lambda t: np.float64(1.0) * (np.float32(0.1) * t), lambda t: float(np.float32(0.1)) * t),
    "a constant": (lambda t: np.float32(0.1), lambda t: float(np.float32(0.1))),
    "np.exp": (lambda t: np.exp(-np.float32(0.01) * t), lambda t: math.exp(-float(np.float32(0.01)) * t)),
    "jnp.exp": (lambda t: jnp.exp(-jnp.float32(0.01) * t), lambda t: math.exp(-float(np.float32(0.01)) * t)),
    "jnp.where": (lambda t: jnp.where(t < 50, t * jnp.float32(0.1), 0.3), lambda t: float(np.float32(0.1)) * t if t < 50 else 0.3),
    "np.where": (lambda t: np.where(t < 50, t * np.float32(0.1), 0.3), lambda t: float(np.float32(0.1)) * t if t < 50 else 0.3),
    "np.interp": (lambda t: np.interp(t, [0, 128], np.float32([0, 0.7])), lambda t: min(t, 128) / 128 * float(np.float32(0.7))),
    "a power": (lambda t: np.float32(0.99) ** t, lambda t: float(np.float32(0.99)) ** t),
    "a quotient": (lambda t: np.float32(0.1) / (1 + t), lambda t: float(np.float32(0.1)) / (1 + t)),
    "a floor": (lambda t: np.float32(0.1) * (t // 3), lambda t: float(np.float32(0.1)) * (t // 3)),
    "a table": (lambda t: TABLE_OF_FLOAT32[int(t) % 4], lambda t: float(TABLE_OF_FLOAT32[int(t) % 4])),
    "a table, jnp": (lambda t: jnp.asarray(TABLE_OF_FLOAT32)[jnp.int32(t) % 4], lambda t: float(TABLE_OF_FLOAT32[int(t) % 4])),
    "an if": (lambda t: np.float32(0.1) * t if t < 50 else 0.3, lambda t: float(np.float32(0.1)) * t if t < 50 else 0.3),
    "a float": (lambda t: float(t) * float(np.float32(0.1)), lambda t: float(np.float32(0.1)) * t),
}  # fmt: skip
EPOCHS = np.r_[:70, 999, 4093]
QUICK_TYPES = ("np.float16, left", "jnp.float32, right", "mixed", "np.exp", "jnp.where", "a table")


def by_scale(function):
    return lrax.CyclicLR(0.0, 0.1, 1, 1, scale_fn=function, scale_mode="iterations")


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("label", weekly_but(OF_TYPES, *QUICK_TYPES))
def test_no_constant_makes_a_function_narrow(label, x64):
    function, of_python = OF_TYPES[label]
    wanted = np.float32([0.1 * of_python(t) for t in EPOCHS.tolist()])
    for make, scale in ((by_lambda, 1), (OfPython, 1), (by_scale, EPOCHS % 2)):
        scheduler = make(function)
        expected = scheduler(EPOCHS)
        np.testing.assert_allclose(expected, wanted * scale, rtol=1.2e-7, atol=1e-45)
        for name in (
            "scheduler(int)",
            "step(epoch)",
            "jax int32 array",
            "jit, array",
            "scan, jit of vmap",
        ):
            with jax.enable_x64(x64):
                found = modes.MODES[name].run(scheduler, EPOCHS)
            for rates in found if isinstance(found, tuple) else (found,):
                assert_same_bits(rates, expected)


def test_a_python_function_is_called_once_with_an_int():
    seen = []
    scheduler = lrax.LambdaLR(0.1, lambda t: seen.append(t) or 0.5)
    seen.clear()
    scheduler.step()
    scheduler(2)
    scheduler(np.array([3, 4]))
    assert seen == [1, 2, 3, 4]
    assert {*map(type, seen)} == {int}


def test_a_function_in_jax_numpy_at_an_epoch_that_is_known_while_tracing():
    scheduler = lrax.LambdaLR(0.1, lambda t: jnp.exp(-jnp.asarray(t) / 30))
    assert jax.jit(lambda: jnp.asarray(scheduler(7)))() == scheduler(7)


def test_the_scale_function_of_cycles_is_the_same_compiled():
    scheduler = lrax.CyclicLR(0.1, 0.5, 4, scale_fn=lambda cycle: 2 ** -(cycle - 1))
    wanted = [0.1 + 0.4 * (1 - abs(t % 8 - 4) / 4) * 0.5 ** (t // 8) for t in range(40)]
    np.testing.assert_allclose(jax.jit(scheduler)(jnp.arange(40)), wanted, rtol=1e-6)
    np.testing.assert_allclose(scheduler(np.arange(40)), wanted, rtol=1e-6)


def test_get_lr_is_a_function_of_the_epoch():
    class Decay(lrax.LRScheduler):
        def get_lr(self):
            return [0.9 * lr for lr in self.current_lrs.value]

    with pytest.raises(TypeError, match=r"get_lr\(\) of Decay must be a function of last_epoch"):
        Decay(0.1)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_function_that_fails_leaves_clock_and_learning_rate_together(error):
    def function(epoch):
        if epoch == 3:
            raise error
        return 1 / (1 + epoch)

    scheduler = lrax.LambdaLR(1.0, function)
    for jump in (3, None, None, None):
        before = int(scheduler.last_epoch.value)
        if jump or before == 2:
            with pytest.raises(error):
                scheduler.step(jump)
        else:
            scheduler.step()
            before += 1
        assert int(scheduler.last_epoch.value) == before
        assert scheduler.get_last_lr()[0] == np.float32(1 / (1 + before))
