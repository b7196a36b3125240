"""Spiking network: surrogate gradients in a loop on the device
=============================================================

Leaky integrate-and-fire neurons learn to tell handwritten digits apart. A spike is a step, which has no useful
gradient, so the backward pass takes that of a smooth function (https://arxiv.org/abs/1901.09948). The whole training
is one loop on the device, and the schedule is stepped in it.
"""

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

PEAK, EPOCHS, BATCH, TRAIN = 2e-2, 12, 64, 1408
HIDDEN, TIMES, LEAK = 100, 20, 0.9

# %%
# Handwritten digits of 8 x 8 pixels: 1408 to train on and 389 to validate with. A pixel is a constant current.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])

# %%
# Forward a spike is 0 or 1; backward its slope is that of ``x / (1 + 10 |x|)``.


@jax.custom_jvp
def spike(x):
    return (x > 0).astype(jnp.float32)


@spike.defjvp
def spike_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return spike(x), dx / (1 + 10 * jnp.abs(x)) ** 2


# %%
# A neuron's voltage leaks and is driven by its current; at 1 it spikes, and loses 1. The output is what all spikes
# are worth, on average.

brainstate.random.seed(0)
into, out = brainstate.nn.Linear(64, HIDDEN), brainstate.nn.Linear(HIDDEN, 10)
params = brainstate.graph.states([into, out], brainstate.ParamState)


def network(x):
    """The output for each image, and all spikes."""
    current = into(x)

    def tick(voltage, _):
        voltage = LEAK * voltage + (1 - LEAK) * current
        spikes = spike(voltage - 1.0)
        return voltage - spikes, spikes

    rest = jnp.zeros_like(current)
    _, spikes = brainstate.transform.scan(tick, rest, jnp.arange(TIMES))
    return out(spikes.mean(axis=0)), spikes


# %%
# One cycle: up to the peak in 30 % of the updates, and far down in the others.

scheduler = lrax.OneCycleLR(max_lr=PEAK, total_steps=EPOCHS * (TRAIN // BATCH))
optimizer = lrax.Adam(lr=scheduler, grad_clip_norm=1.0)
optimizer.register_trainable_weights(params)


def update(batch):
    def loss_fn():
        logits, _ = network(images[batch])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean()

    rate = optimizer.current_lr
    grads, loss = brainstate.transform.grad(loss_fn, params, return_value=True)()
    optimizer.step(grads)
    scheduler.step()
    return rate, loss


@lrax.jit
def train(batches):
    return brainstate.transform.for_loop(update, batches)


shuffled = [np.random.default_rng([0, i]).permutation(TRAIN) for i in range(EPOCHS)]
rates, losses = train(np.reshape(shuffled, (-1, BATCH)))
logits, spikes = network(images[TRAIN:])
accuracy = float(jnp.mean(jnp.argmax(logits, axis=1) == labels[TRAIN:]))

# %%
# Above, the spikes for one image; below, the training.

figure, (top, middle, bottom) = plt.subplots(
    3, figsize=(6, 8), height_ratios=(2, 1, 1), layout="constrained"
)
time, neuron = np.nonzero(spikes[:, 0])
top.plot(time, neuron, "s", markersize=3)
top.set(xlabel="time", ylabel="neuron", xticks=range(0, TIMES, 5))
middle.plot(losses, linewidth=1.2)
middle.set(ylabel="loss", xlabel="update")
bottom.plot(rates)
bottom.set(ylabel="learning rate", xlabel="update")

print(
    f"validation accuracy {accuracy:.2%}, a neuron spikes at {float(spikes.mean()):.1%} of the times"
)
assert accuracy > 0.93
