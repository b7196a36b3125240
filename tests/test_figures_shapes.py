"""The picture of the shapes: those of the table on its page, and their lines in 50-digit arithmetic."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import exact
from drawn import FOLDER, figures_of

PAGE = (FOLDER.parent / "shapes.md").read_text(encoding="utf-8")
NAMES = re.findall(r'^\| `"(.+?)"` \|', PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def panels():
    figures_of("shapes").ways()
    yield {axes.get_title(): axes for axes in plt.gcf().axes if axes.get_title()}
    plt.close("all")


def test_all_are_there(panels):
    assert len(NAMES) == 11
    assert set(panels) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_lines(name, panels):
    (line,) = panels[name].get_lines()
    rise = [exact.way(name, 0.1, 1.0, t, 100) for t in range(100)]
    fall = [exact.way(name, 1.0, 0.1, t, 100) for t in range(101)]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(301))
    expected = np.float64([*rise, *[1.0] * 100, *fall])
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1.2e-7)
