"""The picture of start.md, beside its formula."""

import math
import sys
from pathlib import Path

import matplotlib
import numpy as np

from helpers import assert_close

matplotlib.use("Agg")
sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "figures"))
import start


def formula(t):
    return 1e-2 * t / 50 if t < 50 else 5e-3 * (1 + math.cos(math.pi * (t - 50) / 750))


def test_schedule():
    start.schedule()
    (line,) = matplotlib.pyplot.gca().lines
    t, rates = line.get_xydata().T
    matplotlib.pyplot.close("all")
    np.testing.assert_array_equal(t, np.arange(801))
    assert_close(rates, [formula(k) for k in t])
