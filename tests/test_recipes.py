"""What docs/recipes.md says: each recipe beside its formula, written out in float64."""

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close

PEAK, WARMUP, TOTAL, STEPS = 0.1, 5, 40, 30
START = np.linspace(-1.0, 1.5, 12).reshape(3, 4)


def rate(t):
    """A linear warmup, then a cosine to 0."""
    fraction = (t - WARMUP) / (TOTAL - WARMUP)
    return PEAK * (t / WARMUP if t < WARMUP else (1 + np.cos(np.pi * fraction)) / 2)


def scheduler():
    return lrax.WarmupCosineSchedule(PEAK, WARMUP, TOTAL)


def gradient(t, w):
    return w * np.cos(t) + np.sin(0.7 * t)


def train(optimizer, weights):
    """`STEPS` updates of States by name, with gradients out of their own values."""
    optimizer.register_trainable_weights(weights)

    def step(t):
        grads = {k: s.value * jnp.cos(t) + jnp.sin(0.7 * t) for k, s in weights.items()}
        optimizer.step(grads)
        optimizer.lr.step()

    brainstate.transform.for_loop(step, jnp.arange(STEPS, dtype=jnp.float32))
    return {name: state.value for name, state in weights.items()}


def adam(shrinks, w=START, beta1=lambda t: 0.9, rate=rate):
    """Adam, where `shrinks(t)` is the share of itself that a weight loses at step t."""
    m, v, w = np.zeros_like(w), np.zeros_like(w), w.copy()
    for t in range(STEPS):
        g, b = gradient(t, w), beta1(t)
        m, v = b * m + (1 - b) * g, 0.999 * v + 0.001 * g**2
        u = m / (1 - b ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        w = w - rate(t) * u - shrinks(t) * w
    return w


def weight(value=START):
    return brainstate.ParamState(jnp.asarray(value, jnp.float32))


DECAYS = {
    "independent": (lambda s: 0.1 / PEAK, lambda t: 0.1 * rate(t) / PEAK),
    "AdamC": (lambda s: lambda t: 0.5 * s(t) / PEAK, lambda t: 0.5 * rate(t) ** 2 / PEAK),
    "a rising cosine": (
        lambda s: lrax.CosineAnnealingLR(0.04, TOTAL, eta_min=0.4),
        lambda t: rate(t) * (0.04 + 0.36 * (1 - np.cos(np.pi * t / TOTAL)) / 2),
    ),
}


@pytest.mark.parametrize("decay, shrinks", DECAYS.values(), ids=DECAYS)
def test_weight_decay(decay, shrinks):
    s = scheduler()
    found = train(lrax.AdamW(lr=s, weight_decay=decay(s)), {"w": weight()})
    assert_close(found["w"], adam(shrinks), floor=2e-5)
    assert not np.allclose(found["w"], adam(lambda t: 0.0), rtol=1e-3)


def test_no_decay_for_what_has_one_dimension():
    optimizer = lrax.AdamW(
        lr=scheduler(),
        weight_decay=0.5,
        groups=[(lambda path, leaf: leaf.ndim < 2, {"weight_decay": 0.0})],
    )
    found = train(optimizer, {"w": weight(), "b": weight(START[0])})
    assert_close(found["w"], adam(lambda t: 0.5 * rate(t)), floor=2e-5)
    assert_close(found["b"], adam(lambda t: 0.0, START[0]), floor=2e-5)


def test_a_batch_that_grows():
    ramp = lrax.PiecewiseConstantSchedule(boundaries=[10, 20], values=[1.0, 2**0.5, 2.0])
    both = lrax.ChainedScheduler([scheduler(), ramp])
    batch = lambda t: 1 if t < 10 else 2 if t < 20 else 4  # noqa: E731
    grown = lambda t: rate(t) * np.sqrt(batch(t))  # noqa: E731
    assert_close([both(t) for t in range(STEPS)], [grown(t) for t in range(STEPS)])
    found = train(lrax.AdamW(lr=both, weight_decay=0.0), {"w": weight()})
    assert_close(found["w"], adam(lambda t: 0.0, rate=grown), floor=2e-5)


def test_a_momentum_that_warms_up():
    warm = lrax.LinearLR(0.97, start_factor=0.85 / 0.97, end_factor=1.0, total_iters=20)
    found = train(
        lrax.AdamW(lr=scheduler(), betas=(warm, 0.999), weight_decay=0.0), {"w": weight()}
    )
    beta1 = lambda t: 0.85 + 0.12 * min(t / 20, 1)  # noqa: E731
    assert_close(found["w"], adam(lambda t: 0.0, beta1=beta1), floor=2e-5)


def test_rates_of_their_own():
    head = lrax.ConstantLR(0.02, factor=1.0, total_iters=0)
    weights = {name: weight() for name in ("embed", "backbone", "neck", "head", "rest")}
    groups = {
        "^embed": {"frozen": True},
        "^backbone": {"lr_scale": 0.1},
        "^neck": {"lr": 3e-2},
        "^head": {"lr": head},
    }
    found = train(lrax.AdamW(lr=scheduler(), weight_decay=0.0, groups=groups), weights)
    rates = {
        "backbone": lambda t: 0.1 * rate(t),
        "neck": lambda t: 0.3 * rate(t),
        "head": lambda t: 0.02,
        "rest": rate,
    }
    for name, own in rates.items():
        assert_close(found[name], adam(lambda t: 0.0, rate=own), floor=2e-5)
    np.testing.assert_array_equal(found["embed"], np.float32(START))
