"""The pictures of the schedules on the site: their lines beside the formulas in 50-digit arithmetic."""

import functools
import math
import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import exact
import registry
from lrax.preview.examples import EXPRESSIONS, LENGTH
from lrax.preview.expression import scheduler_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FIGURES = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "figures" / "schedules.py"))
EPOCHS = np.arange(LENGTH + 1)


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def spec(config):
    """What ``scheduler.config`` describes, as the oracle wants it."""
    ((name, arguments),) = config.items()
    return exact.Spec(name, {k: member(v) for k, v in arguments.items()})


def member(value):
    if isinstance(value, list):
        return [member(entry) for entry in value]
    if isinstance(value, dict):
        return spec(value)
    return value


def plateau(rate, loss, best, bad, seen):
    """Down to a half when the loss has not improved by 0.01 % for five epochs."""


LEARNING = {}


def expected(name):
    """The learning rates of an example."""
    found = {type(s).__name__: s for s in map(scheduler_of, EXPRESSIONS)}
    return exact.values(spec(found[name].config), EPOCHS)


CLOSED = {
    "LambdaLR": 0.1 * (0.6 + 0.4 * np.cos(0.4 * EPOCHS)),
    "MultiplicativeLR": 0.1 * 0.96**EPOCHS,
}
