"""The gallery's examples run alone, and their pictures hold the learning rates of the formulas."""

import importlib.util
import math
import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from helpers import assert_close

matplotlib.use("Agg")
import matplotlib.pyplot as plt

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def lines():
    """Runs an example, and gives the (x, y) of the lines in its n-th axes, by label."""
    plt.close("all")

    def run(name):
        runpy.run_path(str(EXAMPLES / name))
        (number,) = plt.get_fignums()

        def of(axes):
            found = plt.figure(number).axes[axes].lines
            return [np.asarray(line.get_data(), np.float64) for line in found]

        return of

    yield run
    plt.close("all")


def falling(p):
    """Half a cosine from 1 to 0."""
    return (1 + math.cos(math.pi * p)) / 2


@pytest.mark.slow
def test_char_transformer(lines):
    run, *branches = lines("char_transformer.py")(1)
    np.testing.assert_array_equal(run[0], np.arange(960))
    assert_close(run[1], [0.02 * min(t / 50, 1) for t in range(960)])
    assert len(branches) == 2
    for (x, y), start, length in zip(branches, (400, 800), (80, 160), strict=True):
        np.testing.assert_array_equal(x, np.arange(start, start + length))
        assert_close(y, [0.02 * (1 - math.sqrt((t - start) / length)) for t in x])


@pytest.mark.slow
def test_large_batch(lines):
    of = lines("large_batch.py")
    # matplotlib counts row by row: the learning rates are in the lower one
    for axes, peaks in ((2, (0.05, 0.05, 0.4)), (3, (0.003, 0.003, 0.003 * math.sqrt(8)))):
        for (x, y), peak, updates in zip(of(axes), peaks, (80, 10, 10), strict=True):
            warmup, total = 2 * updates, 20 * updates
            np.testing.assert_allclose(x, np.arange(total) / updates)
            expected = [
                peak * min(t / warmup, falling(max(t - warmup, 0) / (total - warmup)))
                for t in range(total)
            ]
            assert_close(y, expected)


def test_snapshot_ensemble(lines):
    of = lines("snapshot_ensemble.py")
    (x, y), (ends, low) = of(1)
    np.testing.assert_array_equal(x, np.arange(1200))
    assert_close(y, [0.4 * falling(t % 200 / 200) for t in range(1200)])
    np.testing.assert_array_equal(ends, [199, 399, 599, 799, 999, 1199])
    assert_close(low, [0.4 * falling(199 / 200)] * 6)


def test_spiking(lines):
    ((x, y),) = lines("spiking.py")(2)
    total, peak = 12 * 22, 0.02
    low, last, top = peak / 25, peak / 25 / 1e4, 0.3 * total - 1
    expected = [
        low + (peak - low) * (1 - falling(t / top))
        if t <= top
        else last + (peak - last) * falling((t - top) / (total - 1 - top))
        for t in range(total)
    ]
    np.testing.assert_array_equal(x, np.arange(total))
    assert_close(y, expected)


def test_plateau_in_jit(lines):
    of = lines("plateau_in_jit.py")
    ((x, losses),), ((_, rates),) = of(0), of(1)
    np.testing.assert_array_equal(x, np.arange(30))
    rate, best, bad, expected = 0.2, math.inf, 0, []
    for loss in losses:
        expected.append(rate)
        if loss < best * (1 - 1e-4):
            best, bad = loss, 0
        else:
            bad += 1
        if bad == 3:
            rate, bad = rate / 2, 0
    assert_close(rates, expected)


@pytest.mark.braintools
@pytest.mark.skipif(importlib.util.find_spec("flax") is None, reason="flax is not installed")
def test_flax_nnx(lines):
    ((x, y),) = lines("flax_nnx.py")(1)
    np.testing.assert_array_equal(x, np.arange(401))
    expected = [0.01 * min(t / 40, 1) * (1 - math.sqrt(max(t - 200, 0) / 200)) for t in range(401)]
    assert_close(y, expected)
