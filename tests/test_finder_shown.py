"""What a range test shows: a picture, a line of text, a bar while it runs."""

import io
import time

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import lrax
from ready import weight

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def search(**options):
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight(3))})
    batches = [(np.float32(c),) for c in (1.9, 2.0, 2.1)]
    return lrax.find_lr(lambda c: jnp.sum((w.value - c) ** 2), optimizer, batches, **options)


def test_picture():
    found = search(steps=60)
    axes = found.plot()
    try:
        assert axes.get_xscale() == "log"
        loss, smoothed, *marks = axes.get_lines()
        np.testing.assert_array_equal(loss.get_xydata(), np.c_[found.lrs, found.losses])
        np.testing.assert_array_equal(smoothed.get_xydata(), np.c_[found.lrs, found.smoothed])
        assert [float(mark.get_xdata()[0]) for mark in marks] == [*found.suggestions.values()]
        for mark, name in zip(marks, found.suggestions, strict=True):
            assert mark.get_label().startswith(name)
            assert found.smoothed.min() <= mark.get_ydata()[0] <= found.smoothed.max()
        low, high = axes.get_ylim()
        assert low < found.losses.min() < found.smoothed[:-1].max() < high
        assert axes.get_xlabel() == "learning rate"
        axes.figure.canvas.draw()
    finally:
        plt.close(axes.figure)


def picture_of(*losses):
    """The axes of a range test whose losses are these."""
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"w": (w := weight())})
    batches = [(loss,) for loss in losses]
    loss_fn = lambda v: v + 0 * w.value  # noqa: E731
    axes = lrax.find_lr(loss_fn, optimizer, batches, smoothing=0.0, steps=len(losses)).plot()
    axes.figure.canvas.draw()
    plt.close(axes.figure)
    return axes


def test_what_has_diverged_does_not_hide_the_rest():
    low, high = picture_of(3.0, 2.0, 1.0, 1e6).get_ylim()
    assert (low, high) == pytest.approx((0.8, 3.2))


def test_picture_of_one_loss():
    assert len(picture_of(2.0, np.nan).get_lines()) == 5


def test_text():
    found = search()
    for lr in found.suggestions.values():
        assert f"{lr:.2e}" in repr(found)
    assert f"{found.lrs[-1]:.2e}" in repr(found)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("seconds, stream, bar", [(2, Terminal, True), (2, io.StringIO, False), (0.02, Terminal, False)])  # fmt: skip
def test_bar(monkeypatch, seconds, stream, bar):
    """On a terminal, and only if it takes seconds."""
    shown, clock = stream(), iter(np.arange(0, 1000, seconds))
    monkeypatch.setattr("sys.stderr", shown)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: float(next(clock)))
        search(steps=40)
    lines = shown.getvalue().split("\r")
    assert bool(shown.getvalue()) == bar
    if bar:
        assert "find_lr |##########          | 20/40 loss " in shown.getvalue()
        assert len(lines) == 21 + 1, "one in 20 of them, but the last is written when it is over"
        assert lines[-1] == lines[-2].strip() == "", "the line is left empty"
        assert [len(line) for line in lines[1:]] == [*sorted(map(len, lines[1:-1])), 0]
