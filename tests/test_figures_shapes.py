"""The picture of the shapes: its lines beside the formulas of the table on the same page."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from drawn import figures_of

FALLS = {
    "linear": lambda p: 1 - p,
    "cosine": lambda p: (1 + np.cos(np.pi * p)) / 2,
    "1-sqrt": lambda p: 1 - np.sqrt(p),
    "square": lambda p: 1 - p**2,
    "power": lambda p: (1 - p) ** 2,
    "exponential": lambda p: (0.5**p - 0.5) / 0.5,
    "log": lambda p: 1 - np.log(1 + p * (math.e - 1)),
    "rex": lambda p: (1 - p) / (1 - p / 2),
    "tanh": lambda p: (1 - np.tanh(3 * (2 * p - 1)) / np.tanh(3)) / 2,
    "harmonic": lambda p: (1 / (p / 0.1 + 1 - p) - 0.1) / 0.9,
    "constant": lambda p: np.where(p < 1, 1.0, 0.0),
}


@pytest.fixture(scope="module")
def panels():
    figures_of("shapes").ways()
    yield {axes.get_title(): axes for axes in plt.gcf().axes if axes.get_title()}
    plt.close("all")


def test_all_are_there(panels):
    assert set(panels) == set(FALLS)


@pytest.mark.parametrize("name", FALLS)
def test_lines(name, panels):
    (line,) = panels[name].get_lines()
    fall = FALLS[name](np.arange(101) / 100)
    height = np.concatenate([fall[:0:-1], np.ones(100), fall])
    np.testing.assert_array_equal(line.get_xdata(), np.arange(301))
    np.testing.assert_allclose(line.get_ydata(), 0.1 + 0.9 * height, rtol=3e-7)
