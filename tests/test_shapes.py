"""The ways from one learning rate to another: every shape against its formula in 50 digits."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from exact import BOUND, LAST_EPOCH, fall, mp, ulps, way
from helpers import slow_but
from lrax import formulas

NAMES = ["linear", "cosine", "1-sqrt", "square", "power", "exponential", "log", "rex", "tanh", "constant", "harmonic"]  # fmt: skip
NUMBERED = [("power", 0.5), ("power", 3.0), ("power", 7.25), ("exponential", 0.01), ("exponential", 1e-200), ("exponential", 3.0), ("exponential", 0.999999), ("tanh", 1e-3), ("tanh", 8.0), ("tanh", 300.0)]  # fmt: skip
SHAPES = [*NAMES, *NUMBERED]
ENDS = [(0.1, 1e-5), (1e-5, 0.1), (0.1, 0.0), (0.0, 0.1), (3e-4, 2.9e-4)]


@dataclasses.dataclass(frozen=True)
class Ramp(lrax.Formula):
    start: float
    end: float
    length: int
    shape: Any

    def raw(self, t, base, x):
        return formulas.ramp(x, self.start, self.end, t, self.length, self.shape)


def epochs_around(length):
    rng = np.random.default_rng(0)
    some = [0, 1, 2, 3, length // 2, *(length - d for d in (3, 2, 1, 0)), length + 1, LAST_EPOCH]
    near = [int(10**k) for k in np.linspace(0, 9, 6)]
    some += [*near, *(length - n for n in near), *rng.integers(0, min(length, LAST_EPOCH) + 1, 12)]
    return np.unique([t for t in some if 0 <= t <= LAST_EPOCH])


@pytest.mark.parametrize("shape", slow_but(SHAPES, *NAMES), ids=str)
def test_within_half_an_ulp_of_the_formula(shape):
    ends = [pair for pair in ENDS if shape != "harmonic" or 0 not in pair]
    lengths = (1, 1000, 10**9 + 7, 2**52 - 1)
    ways = [(start, end, length) for length in lengths for start, end in ends]
    schedulers = [lrax.LRScheduler(1.0, formula=Ramp(*w, shape)) for w in ways]
    epochs = np.unique(np.concatenate(list(map(epochs_around, lengths))))
    compiled = jax.jit(lambda t: [s(t) for s in schedulers])(jnp.asarray(epochs, jnp.int32))
    for (start, end, length), scheduler, in_jit in zip(ways, schedulers, compiled, strict=True):
        mine = np.isin(epochs, epochs_around(length))
        t = epochs[mine]
        exact = [way(shape, start, end, e, length) for e in t.tolist()]
        exact = np.array([float(v) if v >= 2.0**-126 else 0.0 for v in exact])
        for got in (scheduler(t), [scheduler(e) for e in t.tolist()], np.asarray(in_jit)[mine]):
            off = ulps(got, exact)
            worst = off.argmax()
            assert off[worst] <= BOUND, (start, end, length, t[worst], got[worst], off[worst])


@pytest.mark.parametrize("shape", slow_but(SHAPES, *NAMES), ids=str)
def test_ends_are_exact_and_the_way_between_is_monotone(shape):
    for start, end in ENDS[:2]:
        for length in (1, 41, 47, 2**24 + 1):
            scheduler = lrax.LRScheduler(1.0, formula=Ramp(start, end, length, shape))
            t = np.unique(np.linspace(0, length, 400).astype(int))
            for lr in (scheduler(t), np.asarray(jax.jit(scheduler)(jnp.asarray(t, jnp.int32)))):
                assert lr[0] == np.float32(start)
                assert lr[-1] == np.float32(end)
                assert (np.diff(lr) * np.sign(end - start) >= 0).all()


@pytest.mark.parametrize("shape", slow_but(SHAPES, *NAMES), ids=str)
def test_gradients_are_finite(shape):
    def at(start, t):
        return lrax.LRScheduler(1.0, formula=Ramp(start, 1e-3, 10, shape))(t)

    slopes = jax.vmap(jax.grad(at), (None, 0))(jnp.float32(0.1), jnp.arange(13.0))
    assert np.isfinite(slopes).all()
    assert slopes[0] == 1
    assert (slopes[10:] == 0).all()


def test_a_function_of_the_fraction_is_a_fall_and_rises_as_its_mirror():
    t = np.arange(12)
    for function in (lambda p: (1 - p) ** 3, lambda p: jnp.where(p < 0.5, 1 - p, 1 - p)):
        down = lrax.LRScheduler(1.0, formula=Ramp(1.0, 0.2, 10, function))
        up = lrax.LRScheduler(1.0, formula=Ramp(0.2, 1.0, 10, function))
        p = np.minimum(t / 10, 1)
        wanted = np.array([float(function(v)) for v in p])
        mirrored = np.array([float(function(1 - v)) for v in p])
        for module in (np, jnp):
            np.testing.assert_allclose(down(module.asarray(t)), 0.2 + 0.8 * wanted, rtol=1e-6)
            np.testing.assert_allclose(up(module.asarray(t)), 0.2 + 0.8 * mirrored, rtol=1e-6)
        np.testing.assert_allclose([down(v) for v in t.tolist()], down(t), rtol=0)


def test_the_table_of_the_page():
    page = (Path(__file__).parents[1] / "docs" / "shapes.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| `"(.*?)"` \|.*\| ([\d., ]+?)(?: \(.*\))? \| .* \|$', page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(NAMES)
    for name, numbers in rows:
        wanted = [fall(name, mp.mpf(p) / 4, 1, mp.mpf(1) / 10) for p in range(5)]
        found = [float(number) for number in numbers.split(", ")]
        np.testing.assert_allclose(found, [float(w) for w in wanted], atol=5.1e-5, rtol=0)
