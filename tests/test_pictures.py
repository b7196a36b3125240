"""Pictures by matplotlib and in notebooks: their numbers beside the formulas, and what they name."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ET

import brainstate
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import lrax
from helpers import assert_close

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PEAK, WARMUP, DECAY, TOTAL = 0.02, 50, 300, 1000


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def wsd(t):
    """Linear up, constant, linear down to 0."""
    return PEAK * min(t / WARMUP, 1.0, max(TOTAL - t, 0) / DECAY)


def cosine(t, low, high, length):
    return low + (high - low) * (1 + math.cos(math.pi * min(t, length) / length)) / 2


def scheduler():
    return lrax.WSDSchedule(PEAK, WARMUP, TOTAL, decay_steps=DECAY)


def data(line):
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def shaded(ax):
    """``(start, end, name)`` of what is shaded, in order, with the name written above its middle."""
    spans = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
    names = {text.get_position()[0]: text.get_text() for text in ax.texts}
    return [(round(s.x0), round(s.x1), names.get((s.x0 + s.x1) / 2)) for s in spans]


def test_the_numbers_of_a_picture_are_those_of_the_formula():
    x, y = data(scheduler().plot().lines[0])
    np.testing.assert_array_equal(x, np.arange(TOTAL + 1))
    assert_close(y, [wsd(t) for t in x])


def test_a_long_run_is_sampled_and_a_jump_still_takes_one_step():
    x, y = data(lrax.MultiStepLR(0.1, [123_457, 700_001], gamma=0.5).plot(10**6).lines[0])
    assert 1000 < len(x) < 3000
    assert (x[0], x[-1]) == (0, 10**6)
    assert_close(y, [0.1 * 0.5 ** (int(t >= 123_457) + int(t >= 700_001)) for t in x])
    assert {123_456, 123_457, 700_000, 700_001} <= {*x}


def test_groups_are_lines():
    ax = lrax.ExponentialLR([0.1, 0.05, 0.0], gamma=0.9).plot(20)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"group {i}" for i in range(3)
    ]
    for line, base in zip(ax.lines, (0.1, 0.05, 0.0), strict=True):
        x, y = data(line)
        assert len(x) == 21
        np.testing.assert_allclose(y, base * 0.9**x, rtol=1e-6)


def test_groups_of_an_optimizer_are_lines():
    schedule = lrax.CosineAnnealingLR(0.1, T_max=100, eta_min=0.01)
    optimizer = lrax.SGD(
        lr=schedule,
        groups={"b": {"lr_scale": 0.5}, "c": {"lr": 0.04}, "d": {"lr": lrax.StepLR(0.2, 30, 0.5)}},
    )
    weights = {name: brainstate.ParamState(jnp.ones(2)) for name in "abcd"}
    optimizer.register_trainable_weights(weights)
    ax = schedule.plot(steps=100)
    assert [line.get_label() for line in ax.lines] == [f"group {i}" for i in range(4)]
    t = range(101)
    expected = [
        [cosine(k, 0.01, 0.1, 100) for k in t],
        [0.5 * cosine(k, 0.01, 0.1, 100) for k in t],
        [cosine(k, 0.01, 0.04, 100) for k in t],
        [0.2 * 0.5 ** (k // 30) for k in t],
    ]
    for line, rates in zip(ax.lines, expected, strict=True):
        assert_close(data(line)[1], rates)


def test_phases_are_shaded_and_named():
    assert shaded(scheduler().plot()) == [
        (0, WARMUP, "warmup"),
        (WARMUP, TOTAL - DECAY, "stable"),
        (TOTAL - DECAY, TOTAL, "decay"),
    ]
    assert shaded(scheduler().plot(2000))[-1] == (TOTAL, 2000, "end")
    colors = [tuple(patch.get_facecolor()) for patch in scheduler().plot().patches]
    assert len({*colors}) == 3


def test_a_very_short_phase_has_its_name_upright():
    ax = lrax.WSDSchedule(1e-3, 100, 10_000, decay_steps=2000).plot()
    found = {text.get_text(): text.get_rotation() for text in ax.texts}
    assert found == {"warmup": 90, "stable": 0, "decay": 0}


def test_what_an_optimizer_has_follow_is_drawn_below():
    s = lrax.CosineAnnealingLR(0.1, T_max=200)
    beta = lrax.LinearLR(0.95, start_factor=0.9, end_factor=1.0, total_iters=100)
    decay = lrax.CosineAnnealingLR(0.04, T_max=200, eta_min=0.4)
    optimizer = lrax.AdamW(lr=s, betas=(beta, 0.999), weight_decay=decay)
    optimizer.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(3))})
    ax = s.plot()
    below = {panel.get_ylabel(): panel for panel in ax.figure.axes if panel is not ax}
    assert {*below} == {"beta1", "weight_decay"}
    x, y = data(below["beta1"].lines[0])
    assert_close(y, [0.95 * (0.9 + 0.1 * min(t / 100, 1)) for t in x])
    x, y = data(below["weight_decay"].lines[0])
    assert_close(y, [cosine(t, 0.4, 0.04, 200) for t in x])
    ax.figure.draw_without_rendering()
    boxes = [panel.get_position() for panel in (ax, below["beta1"], below["weight_decay"])]
    assert boxes[0].y0 > boxes[1].y1 > boxes[1].y0 > boxes[2].y1


@pytest.mark.parametrize("followed", [False, True])
def test_a_cycled_momentum_is_drawn_below(followed):
    s = lrax.OneCycleLR(0.1, total_steps=101, pct_start=31 / 101, cycle_momentum=True)
    keep = lrax.SGD(lr=s, momentum=0.9) if followed else None
    if keep:
        keep.register_trainable_weights({"w": brainstate.ParamState(jnp.ones(3))})
    ax = s.plot()
    (panel,) = (p for p in ax.figure.axes if p is not ax)
    assert panel.get_ylabel() == "momentum"
    x, y = data(panel.lines[0])
    up = [cosine(t, 0.85, 0.95, 30) if t <= 30 else cosine(t - 30, 0.95, 0.85, 70) for t in x]
    assert_close(y, up)


def test_a_scale_of_powers_of_ten():
    ax = lrax.ExponentialLR(0.1, gamma=0.5).plot(30, log=True)
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < 0.1 * 0.5**19
    assert high > 0.1
    assert scheduler().plot().get_yscale() == "linear"
    assert lrax.ConstantLR(0.0).plot(9, log=True).get_yscale() == "linear"  # nothing could be shown


def test_steps_below_and_epochs_above():
    ax = scheduler().plot(steps_per_epoch=50)
    assert ax.get_xlabel() == "step"
    ax.figure.draw_without_rendering()
    (above,) = ax.child_axes
    assert above.get_xlabel() == "epoch"
    assert above.get_xlim() == (0, TOTAL / 50)
    assert not scheduler().plot().child_axes


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_axes_that_are_given_are_drawn_into(by_hand):
    figure = plt.figure()
    given = figure.add_axes((0.1, 0.2, 0.8, 0.6)) if by_hand else figure.subplots(1, 2)[1]
    ax = lrax.OneCycleLR(0.1, total_steps=100, cycle_momentum=True).plot(ax=given)
    assert ax is given
    assert plt.get_fignums() == [figure.number]
    panel = figure.axes[-1].get_position()
    assert panel.x0 == ax.get_position().x0
    assert panel.y1 < ax.get_position().y0


def test_several_in_one_picture():
    a, b = lrax.WSDSchedule(0.1, 10, 100), lrax.WSDSchedule(0.1, 10, 100, decay="1-sqrt")
    c = lrax.CosineAnnealingLR([0.2, 0.1], T_max=150)
    ax = lrax.plot([a, b, c])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "WSDSchedule(decay='linear')",
        "WSDSchedule(decay='1-sqrt')",
        "CosineAnnealingLR group 0",
        "CosineAnnealingLR group 1",
    ]
    expected = (
        lambda t: 0.1 * min(t / 10, max(100 - t, 0) / 90),
        lambda t: 0.1 * t / 10 if t < 10 else 0.1 * (1 - math.sqrt(min((t - 10) / 90, 1))),
        lambda t: cosine(t, 0, 0.2, 150),
        lambda t: cosine(t, 0, 0.1, 150),
    )
    for line, rate in zip(ax.lines, expected, strict=True):
        x, y = data(line)
        assert x[-1] == 150
        assert_close(y, [rate(t) for t in x])
    assert len({line.get_color() for line in ax.lines}) == 3
    assert not ax.patches


def test_labels_can_be_told_apart():
    short, long = (0.5 * lrax.WSDSchedule(1e-3, warmup_steps=n, total_steps=100) for n in (10, 20))
    step = lrax.StepLR(0.1, 30)
    names = [line.get_label() for line in lrax.plot([short, long, step, step]).lines]
    assert len({*names}) == 4
    assert [name[-1] for name in names] == ["1", "2", "1", "2"]


def test_two_pictures_over_each_other():
    _, ax = plt.subplots()
    for step_size in (30, 40):
        lrax.StepLR(0.1, step_size).plot(ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["StepLR", "StepLR"]


LENGTHS = {  # of what has no steps given: up to where
    "its end": (lambda: lrax.CosineAnnealingLR(0.1, T_max=70), 70),
    "a while after a warmup": (lambda: lrax.WarmupScheduler(0.1, 30), 120),
    "six changes": (lambda: lrax.StepLR(0.1, step_size=30), 180),
    "a warmup, and a fall without end": (lambda: lrax.InverseSqrtLR(0.1, warmup_steps=40), 400),
    "a hundredth": (lambda: lrax.ExponentialLR(0.1, gamma=0.5**0.1), 128),
    "a function": (lambda: lrax.LambdaLR(0.1, lambda t: 1 / (1 + t)), 100),
    "a constant": (lambda: lrax.ConstantLR(0.1, factor=1.0, total_iters=0), 100),
    "far beyond the clock": (lambda: lrax.maximum(lrax.InverseSqrtLR(0.1, 40), 1e-9), 400),
}


@pytest.mark.parametrize("label", LENGTHS)
def test_how_far_a_picture_goes_by_itself(label):
    make, length = LENGTHS[label]
    x, _ = data(make().plot().lines[0])
    assert x[-1] == length


def test_what_learns_cannot_be_drawn_and_says_why():
    plateau = lrax.ReduceLROnPlateau(0.1)
    for draw in (plateau.plot, lambda: plateau.plot(50), lambda: lrax.plot([scheduler(), plateau])):
        with pytest.raises(
            TypeError, match="ReduceLROnPlateau has no learning rate at a given epoch"
        ):
            draw()
    assert not plt.get_fignums()


def test_without_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import lrax; print('<svg' in lrax.StepLR()._repr_html_())\n"
        "lrax.StepLR().plot()"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert run.stdout == "True\n"
    assert run.stderr.strip().endswith(
        "ImportError: plot() needs matplotlib, which is not installed. Install it with pip install matplotlib."
    )


# --- Notebooks -----------------------------------------------------------------------------------

LEFT, RIGHT, BASE, TOP = 58, 552, 126, 10
"""Where 0 and the end, and the rates 0 and the highest are in the SVG."""


def parsed(s):
    return ET.fromstring(s._repr_html_())


def svg(root, tag):
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def test_a_notebook_shows_the_curve():
    root = parsed(scheduler())
    (line,) = svg(root, "polyline")
    x, y = np.array([point.split(",") for point in line.get("points").split()], float).T
    t = (x - LEFT) / (RIGHT - LEFT) * TOTAL
    rates = (BASE - y) / (BASE - TOP) * PEAK
    assert len(t) == TOTAL + 1
    np.testing.assert_allclose(t, np.arange(TOTAL + 1), atol=0.15)
    np.testing.assert_allclose(rates, [wsd(k) for k in range(TOTAL + 1)], atol=PEAK / 1000)
    assert len(svg(root, "line")) == 2  # where another phase begins
    assert not svg(root, "circle")
    assert [text.text for text in svg(root, "text")] == ["0", "0.02", "0", "1000"]


def test_a_notebook_says_what_it_is():
    root = parsed(scheduler())
    assert root.find("code").text == repr(scheduler())
    assert "lr(t) = warmup_start_lr + " in root.find("pre").text
    assert root.find("p").text == "first 0, peak 0.02 at step 50, last 0 at step 1000"

    class Own(lrax.ExponentialLR):
        """One of a user's, without a formula."""

    assert parsed(Own(0.1)).find("pre").text == "lr(t) = base_lr * gamma ** t"
    groups = parsed(lrax.CosineAnnealingLR([0.1, 0.2], T_max=10)).find("p")
    assert "".join(groups.itertext()).startswith("group 0: first 0.1, peak 0.1 at step 0, last 0")


def test_a_notebook_marks_where_a_scheduler_is_that_has_run():
    s = scheduler()
    s.step(25)
    root = parsed(s)
    (dot,) = svg(root, "circle")
    assert float(dot.get("cx")) == pytest.approx(LEFT + 25 / TOTAL * (RIGHT - LEFT), abs=0.06)
    assert float(dot.get("cy")) == pytest.approx(BASE - (BASE - TOP) / 2, abs=0.06)
    assert root.findall("p")[-1].text == "now at step 25, learning rate 0.01"
    s.step(3 * TOTAL)  # beyond its end
    (dot,) = svg(parsed(s), "circle")
    assert float(dot.get("cx")) == RIGHT


def test_a_notebook_shows_what_has_no_curve():
    plateau = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=0)
    for metric in (1.0, 2.0):
        plateau.step(metric)
    root = parsed(plateau)
    assert not svg(root, "polyline")
    texts = [p.text for p in root.findall("p")]
    assert texts[0].startswith("ReduceLROnPlateau has no learning rate at a given epoch")
    assert texts[1] == "now at step 2, learning rate 0.05"
    table = lrax.LambdaLR(1.0, lambda t: [1.0, 0.5][int(t)])
    assert parsed(table).find("p").text == "list index out of range"
    many = lrax.StepLR(0.1)
    many.last_epoch.value = jnp.array([1, 2])
    assert svg(parsed(many), "polyline")
