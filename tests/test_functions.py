"""Functions of the user's own, LambdaLR, get_lr() and scale_fn: the same compiled as in Python."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_same_bits, slow_but, stepped


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
