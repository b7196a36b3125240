"""The picture of start.md, beside its formula."""

import math

import matplotlib.pyplot as plt
import numpy as np

from drawn import figures_of
from helpers import assert_close


def formula(t):
    return 1e-2 * t / 50 if t < 50 else 5e-3 * (1 + math.cos(math.pi * (t - 50) / 750))


def test_schedule():
    figures_of("start").schedule()
    (line,) = plt.gca().lines
    t, rates = line.get_xydata().T
    plt.close("all")
    np.testing.assert_array_equal(t, np.arange(801))
    assert_close(rates, [formula(k) for k in t])
