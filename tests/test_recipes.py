"""What docs/recipes.md says: each recipe beside its formula, written out in float64."""

import re
from pathlib import Path

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

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


def test_a_run_ended_from_a_checkpoint():
    """Two branches of one run: the weights are those of a schedule that was known from the start."""
    calls = []
    run = lrax.WarmupScheduler(PEAK, WARMUP)
    weights = {"w": weight()}
    optimizer = lrax.AdamW(lr=run, weight_decay=0.0).register_trainable_weights(weights)

    def update(t):
        calls.append(t)
        w = weights["w"].value
        optimizer.step({"w": w * jnp.cos(t) + jnp.sin(0.7 * t)})

    update, checkpoints = lrax.jit(update), {}

    def steps(first, last):
        for t in range(first, last):
            if t in (10, 20):
                kept = jnp.copy(weights["w"].value), optimizer.state_dict()
                checkpoints.setdefault(t, kept)
            update(jnp.float32(t))
            optimizer.lr.step()

    steps(0, STEPS)
    for start, (w, saved) in checkpoints.items():
        run.attach_optimizer(optimizer)
        weights["w"].value = jnp.copy(w)
        optimizer.load_state_dict(saved)
        cooled = run.with_cooldown(start, 8, "1-sqrt")
        cooled.attach_optimizer(optimizer)
        assert int(cooled.last_epoch.value) == start
        steps(start, STEPS)

        def known(t, start=start):
            done = min(max(t - start, 0) / 8, 1)
            return PEAK * min(t / WARMUP, 1) * (1 - done**0.5)

        assert_close([cooled(t) for t in range(STEPS)], [known(t) for t in range(STEPS)])
        found = weights["w"].value
        assert_close(found, adam(lambda t: 0.0, rate=known), floor=2e-5)
    assert len(calls) == 1


def test_an_infinite_learning_rate():
    constant, end, start = 0.4 * PEAK, 0.01 * PEAK, 25
    infinite = lrax.CosineAnnealingLR(PEAK, T_max=12, eta_min=constant).with_warmup(WARMUP)
    annealed = infinite.with_cooldown(start, 10, ("exponential", end / constant), end)

    def formula(t, annealed):
        if t < WARMUP:
            return PEAK * t / WARMUP
        part = min((t - WARMUP) / 12, 1)
        lr = constant + (PEAK - constant) * (1 + np.cos(np.pi * part)) / 2
        done = min(max(t - start, 0) / 10, 1) if annealed else 0
        return lr * (end / constant) ** done

    t = np.arange(TOTAL)
    assert_close(infinite(t), [formula(i, False) for i in t])
    assert_close(annealed(t), [formula(i, True) for i in t])


def test_the_schedule_of_deepseek():
    cosine = lrax.WSDSchedule(0.22, 4, 30, decay_steps=10, decay="cosine", eta_min=0.022)
    last = lrax.ConstantLR(0.0073, factor=1.0, total_iters=0)
    found = lrax.SequentialLR([cosine, last], milestones=[36])(np.arange(TOTAL))
    fall = [0.022 + 0.198 * (1 + np.cos(np.pi * i / 10)) / 2 for i in range(10)]
    rise = [0.22 * i / 4 for i in range(4)]
    assert_close(found, rise + [0.22] * 16 + fall + [0.022] * 6 + [0.0073] * 4)


def test_the_rate_of_averaging():
    swa = scheduler().with_cooldown(20, 8, "cosine", 0.07)
    part = lambda t: (1 - np.cos(np.pi * min((t - 20) / 8, 1))) / 2  # noqa: E731
    swalr = lambda t: rate(t) if t < 20 else 0.07 * part(t) + rate(20) * (1 - part(t))  # noqa: E731
    assert_close([swa(t) for t in range(TOTAL)], [swalr(t) for t in range(TOTAL)])


def recipe_noise():
    """What the page defines, out of the page."""
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(import jax\nimport math\n.*?)\nnoisy = ", page, re.DOTALL)
    names = {"jnp": jnp}
    exec(block[1], names)
    return names["noise"]


def test_noise():
    factor = lrax.LambdaLR(1.0, recipe_noise())
    flat = lrax.ConstantLR(0.1, factor=1.0, total_iters=0) * factor
    near = np.arange(90, 120)
    compiled = np.array(jax.jit(flat)(jnp.arange(1000)))
    one = jax.jit(flat)
    np.testing.assert_array_equal(compiled[near], flat(near))
    np.testing.assert_array_equal(compiled[near], [one(t) for t in near])

    found = np.array(jax.jit(factor)(jnp.arange(1000)), np.float64)
    assert np.all(found[:100] == 1)
    assert np.all(found[900:] == 1)
    drawn = found[100:900] - 1
    assert 0.6 < np.abs(drawn).max() < 0.67
    # the standard normal law between -0.67 and 0.67, at 800 numbers
    law = scipy.stats.truncnorm(-0.67, 0.67)
    assert scipy.stats.kstest(drawn, law.cdf).pvalue > 0.01
