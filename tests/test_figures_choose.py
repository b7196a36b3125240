"""The pictures of docs/choose.md show what docs/data/study.json holds."""

import json
import math
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from drawn import figures_of

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = json.loads((DOCS / "data" / "study.json").read_text(encoding="utf-8"))


@pytest.fixture
def drawn():
    """{task: panel} of a picture."""
    functions = vars(figures_of("choose"))
    with plt.rc_context({"backend": "agg", **plt.rcParamsDefault}):
        yield (
            lambda name: functions[name]() or {panel.get_title(): panel for panel in plt.gcf().axes}
        )
    plt.close("all")


def means(task, schedule):
    """{(steps, peak): the mean over the seeds, and their deviation}"""
    found = {}
    for run in RESULTS["runs"]:
        if (run["task"], run["schedule"]) == (task, schedule):
            for peak, seeds in zip(RESULTS["settings"][task]["peaks"], run["losses"], strict=True):
                diverged = None in seeds
                mean = math.inf if diverged else statistics.fmean(seeds)
                found[run["steps"], peak] = mean, 0 if diverged else statistics.stdev(seeds)
    return found


SCHEDULES = list(dict.fromkeys(run["schedule"] for run in RESULTS["runs"]))


def test_loss_over_budget(drawn):
    panels = drawn("loss_over_budget")
    assert list(panels) == list(RESULTS["settings"])
    for task, panel in panels.items():
        assert sorted(bar.get_label() for bar in panel.containers) == sorted(SCHEDULES)
        for bar in panel.containers:
            line, _, (spread,) = bar.lines
            points = means(task, bar.get_label())
            for steps, x, y, segment in zip(
                RESULTS["settings"][task]["lengths"],
                *line.get_data(),
                spread.get_segments(),
                strict=True,
            ):
                mean, deviation = min(v for (n, _), v in points.items() if n == steps)
                assert x == pytest.approx(steps, rel=0.1)
                assert y == pytest.approx(mean, rel=1e-9)
                low, high = segment[:, 1]
                assert (high - low) / 2 == pytest.approx(deviation, rel=1e-6)
                assert (high + low) / 2 == pytest.approx(mean, rel=1e-6)


def test_wrong_peak(drawn):
    for task, panel in drawn("wrong_peak").items():
        settings = RESULTS["settings"][task]
        lines = {line.get_label(): line for line in panel.get_lines()}
        assert sorted(lines) == sorted(SCHEDULES)
        for schedule, line in lines.items():
            points = means(task, schedule)
            last = [points[settings["lengths"][-1], peak][0] for peak in settings["peaks"]]
            assert list(line.get_xdata()) == settings["peaks"]
            assert list(line.get_ydata()) == pytest.approx(
                [100 * (y - min(last)) / min(last) for y in last], rel=1e-9, abs=1e-9
            )


def test_labels_stand_in_the_order_of_the_ends(drawn):
    for task, panel in drawn("loss_over_budget").items():
        last = RESULTS["settings"][task]["lengths"][-1]
        ends = {
            schedule: min(v for (n, _), v in means(task, schedule).items() if n == last)
            for schedule in SCHEDULES
        }
        labels = sorted(panel.texts, key=lambda label: label.xyann[1])
        assert [label.get_text() for label in labels] == sorted(SCHEDULES, key=ends.__getitem__)
        for label in labels:
            assert label.xy[1] == pytest.approx(ends[label.get_text()][0], rel=1e-9)
