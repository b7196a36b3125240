"""Pictures of finder.md: a range test, and what trainings at many learning rates come to."""

import functools

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import lrax

STEPS = 300
"""Of each training."""

PEAKS = np.float32(10.0) ** np.linspace(-4, 0, 13, dtype=np.float32)


def clouds(points=1024):
    """Points of ten clouds in 16 dimensions, and which one each is of."""
    draw = np.random.default_rng(0)
    label = draw.integers(10, size=points)
    x = draw.normal(size=(10, 16))[label] + draw.normal(size=(points, 16))
    return x.astype(np.float32).reshape(16, 64, 16), label.astype(np.int32).reshape(16, 64)


def begin():
    """The weights of a network with a hidden layer."""
    draw, tree = np.random.default_rng(1), {}
    for name, inputs, outputs in (("hidden", 16, 32), ("out", 32, 10)):
        w = draw.normal(scale=inputs**-0.5, size=(inputs, outputs))
        tree[name] = {"w": jnp.asarray(w, jnp.float32), "bias": jnp.zeros(outputs)}
    return tree


def loss_of(tree, x, y):
    x = jnp.tanh(x @ tree["hidden"]["w"] + tree["hidden"]["bias"])
    logits = x @ tree["out"]["w"] + tree["out"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@functools.cache
def found():
    """The range test of Adam, with all points in 16 batches."""
    net = brainstate.ParamState(begin())
    optimizer = lrax.Adam(lr=1e-3).register_trainable_weights({"net": net})
    batches = list(zip(*clouds(), strict=True))
    return lrax.find_lr(lambda x, y: loss_of(net.value, x, y), optimizer, batches)


@functools.cache
def final_losses():
    """The loss after a training of 300 batches, warmup and cosine, for each peak; one program."""
    x, y = map(jnp.asarray, clouds())

    def train(peak):
        net = brainstate.ParamState(begin())
        scheduler = lrax.WarmupCosineSchedule(base_lr=peak, warmup_steps=15, total_steps=STEPS)
        optimizer = lrax.Adam(lr=scheduler).register_trainable_weights({"net": net})

        def step(i):
            optimizer.step({"net": jax.grad(loss_of)(net.value, x[i], y[i])})
            scheduler.step()

        brainstate.transform.for_loop(step, np.arange(STEPS) % 16)
        return loss_of(net.value, x.reshape(1024, 16), y.ravel())

    return np.asarray(lrax.jit(jax.vmap(train))(PEAKS))


def range_test():
    found().plot()


def trainings():
    _, axes = plt.subplots()
    axes.plot(PEAKS, final_losses(), "o-", label=f"loss after {STEPS} batches")
    for i, (name, lr) in enumerate(found().suggestions.items(), start=1):
        axes.axvline(lr, color=f"C{i}", linestyle="--", label=f"{name}: {lr:.1e}")
    axes.set(xscale="log", xlabel="peak learning rate", ylabel="loss", yscale="log")
    axes.legend()
