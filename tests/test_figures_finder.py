"""The pictures of finder.md, beside trainings by hand with optax alone."""

import jax
import numpy as np
import optax

from drawn import figures_of
from helpers import assert_close

figures = figures_of("finder")
plt = figures.plt


def lines_of(figure):
    plt.close("all")
    figure()
    lines = [(line.get_label().partition(":")[0], line.get_xydata().T) for line in plt.gca().lines]
    plt.close("all")
    return dict(lines)


def by_hand(rates):
    """The loss before each update, and the weights at the end."""
    xs, ys = figures.clouds()
    adam = optax.scale_by_adam()

    @jax.jit
    def update(carry, lr, x, y):
        tree, state = carry
        loss, grads = jax.value_and_grad(figures.loss_of)(tree, x, y)
        step, state = adam.update(grads, state)
        return (jax.tree.map(lambda w, s: w - lr * s, tree, step), state), loss

    carry, losses = (figures.begin(), adam.init(figures.begin())), []
    for k, lr in enumerate(rates):
        carry, loss = update(carry, np.float32(lr), xs[k % 16], ys[k % 16])
        losses.append(float(loss))
    return losses, carry[0]


def test_range_test():
    lines = lines_of(figures.range_test)
    lrs, losses = lines["loss"]
    assert_close(lrs, 1e-7 * 1e8 ** (np.arange(100) / 99))
    calm = 75  # of later ones every rounding makes more
    assert_close(losses[:calm], by_hand(lrs[:calm])[0], rtol=1e-4)

    average, expected = 0.0, []
    for k, loss in enumerate(losses):
        average = 0.98 * average + 0.02 * loss
        expected.append(average / (1 - 0.98 ** (k + 1)))
    smoothed = lines["smoothed"][1]
    assert_close(smoothed, expected, rtol=1e-5)
    assert (np.array(expected) <= 4 * np.minimum.accumulate(expected)).all()

    kept = slice(10, -5)
    at = {name: float(xy[0][0]) for name, xy in lines.items() if name not in ("loss", "smoothed")}
    assert set(at) == {"valley", "steepest", "minimum / 10"}
    assert_close(at["steepest"], lrs[kept][np.argmin(np.diff(smoothed[kept]))])
    assert_close(at["minimum / 10"], lrs[kept][np.argmin(smoothed[kept])] / 10)


def test_trainings():
    lines = lines_of(figures.trainings)
    peaks, losses = lines[f"loss after {figures.STEPS} batches"]
    assert_close(peaks, 10 ** (np.arange(13) / 3 - 4))
    t = np.arange(300)
    shape = np.where(t < 15, t / 15, (1 + np.cos(np.pi * (t - 15) / 285)) / 2)
    xs, ys = figures.clouds()
    for i in (0, 5, 8):
        tree = by_hand(peaks[i] * shape)[1]
        expected = figures.loss_of(tree, xs.reshape(1024, 16), ys.ravel())
        assert_close(losses[i], expected, rtol=1e-3)
    assert 0.1 <= peaks[np.argmin(losses)] < 0.3  # what the page says of them
    assert losses[5] / losses[9] > 10
