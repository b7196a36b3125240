"""The pictures of the schedules on the site: their lines beside the formulas in 50-digit arithmetic."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest

import exact
import registry
from drawn import figures_of
from helpers import assert_close
from internals import EXPRESSIONS, LENGTH, scheduler_of

FIGURES = vars(figures_of("schedules"))
EPOCHS = np.arange(LENGTH + 1)
LOSSES = np.maximum(1 - EPOCHS / 12, 0.3)
CONFIGS = [scheduler_of(text).config for text in EXPRESSIONS]
NAMES = [*(name for config in CONFIGS for name in config), "LambdaLR", "MultiplicativeLR"]


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def decoded(value):
    """What stands in ``scheduler.config``, as the oracle wants it."""
    if not isinstance(value, dict):
        return value
    if all(key.isdigit() for key in value):
        return [*map(decoded, value.values())]
    ((name, inner),) = value.items()
    if isinstance(inner, dict):
        asked = inspect.signature(registry.ENTRIES[name].exact).parameters
        return exact.Spec(name, {k: decoded(v) for k, v in inner.items() if k in asked})
    return None if name == "None" else name


def learned(better, worse, patience_up, patience_down):
    """The rates of what multiplies by `better` and `worse` after more good, or bad, losses than its patience."""
    rate, best, good, bad, rates = 0.1, np.inf, 0, 0, []
    for loss in LOSSES:
        rates.append(rate)
        good, bad = (good + 1, 0) if loss < best else (0, bad + 1)
        best = min(best, loss)
        if good > patience_up:
            rate, good = rate * better, 0
        if bad > patience_down:
            rate, bad = rate * worse, 0
    return np.array(rates)


BY_HAND = {
    "LambdaLR": 0.1 * (0.6 + 0.4 * np.cos(0.4 * EPOCHS)),
    "MultiplicativeLR": 0.1 * 0.96**EPOCHS,
    "ReduceLROnPlateau": learned(1.0, 0.5, 99, 4),
    "GreedyLR": learned(1 / 0.8, 0.8, 3, 3),
}
EXPECTED = BY_HAND | {
    name: exact.values(decoded(config), EPOCHS)
    for config in CONFIGS
    for name in config
    if name not in BY_HAND
}


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_of_a_schedule(name):
    FIGURES[name]()
    (axes,) = plt.gcf().axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), EPOCHS)
    assert_close(line.get_ydata(), EXPECTED[name])
    low, high = axes.get_ylim()
    assert low == 0
    assert high > EXPECTED[name].max()


def test_the_overview_shows_all():
    FIGURES["overview"]()
    drawn = {axes.get_title(): axes.lines[0] for axes in plt.gcf().axes if axes.lines}
    assert [*drawn] == NAMES
    for name, line in drawn.items():
        assert_close(line.get_ydata(), EXPECTED[name])


def test_the_picture_of_the_first_page():
    figures_of("index").wsd()
    (line,) = plt.gca().lines
    t = line.get_xdata()
    np.testing.assert_array_equal(t, np.arange(1001))
    up, down = t / 100, (1000 - t) / 200
    assert_close(line.get_ydata(), 1e-3 * np.minimum(np.minimum(up, 1), down))
