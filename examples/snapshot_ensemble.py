"""Snapshot ensemble: one training, six networks
==============================================

A learning rate that restarts ends every cycle in another minimum. The weights at each end are kept, and the mean of
what these networks say is better than each of them (https://arxiv.org/abs/1704.00109). It costs one training.
"""

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

CYCLES, LENGTH, PEAK = 6, 200, 0.4
BATCH, TRAIN = 16, 1000

# %%
# Handwritten digits of 8 x 8 pixels: 1000 to train on and 797 to validate with. The rate is so high that each
# restart leaves the minimum.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
x_val, y_val = images[TRAIN:], labels[TRAIN:]

nn = brainstate.nn
brainstate.random.seed(0)
model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
params = model.states(brainstate.ParamState)

scheduler = lrax.CosineAnnealingWarmRestarts(base_lr=PEAK, T_0=LENGTH)
optimizer = lrax.SGD(lr=scheduler, momentum=0.9, weight_decay=2e-3)
optimizer.register_trainable_weights(params)

# %%
# The whole training is one program. Each turn of the outer loop is a cycle, and returns its snapshot.


def update(batch):
    def loss_fn():
        logits = model(images[batch])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean()

    rate = optimizer.current_lr
    grads, loss = brainstate.transform.grad(loss_fn, params, return_value=True)()
    optimizer.step(grads)
    scheduler.step()
    return rate, loss


def cycle(batches):
    rates, losses = brainstate.transform.for_loop(update, batches)
    return rates, losses, {path: state.value for path, state in params.items()}


@lrax.jit
def train(batches):
    return brainstate.transform.for_loop(cycle, batches)


batches = np.random.default_rng(0).integers(TRAIN, size=(CYCLES, LENGTH, BATCH))
rates, losses, snapshots = train(batches)
rates, losses = np.ravel(rates), np.ravel(losses)

# %%
# Every snapshot says how likely each digit is; the ensemble says the mean of that.


def chances(i):
    for path, state in params.items():
        state.value = jax.tree.map(lambda stacked: stacked[i], snapshots[path])
    return jax.nn.softmax(model(x_val))


said = [chances(i) for i in range(CYCLES)]
single = [float(jnp.mean(jnp.argmax(each, axis=1) == y_val)) for each in said]
ensemble = float(jnp.mean(jnp.argmax(sum(said), axis=1) == y_val))

figure, (top, middle, bottom) = plt.subplots(3, figsize=(6, 7), layout="constrained")
top.plot(losses, linewidth=0.6)
top.set(ylabel="loss of a batch", ylim=(0, 1.5))
middle.plot(rates)
middle.plot(
    np.arange(1, CYCLES + 1) * LENGTH - 1, rates[LENGTH - 1 :: LENGTH], "o", label="snapshot"
)
middle.set(ylabel="learning rate", xlabel="update")
figure.legend(frameon=False, loc="outside upper right")
bottom.bar(
    [*map(str, range(1, CYCLES + 1)), "ensemble"],
    [*single, ensemble],
    color=["C0"] * CYCLES + ["C1"],
)
bottom.set(ylabel="validation accuracy", ylim=(0.9, 1.0), xlabel="snapshot")

print("snapshots", *(f"{accuracy:.2%}" for accuracy in single))
print(f"ensemble  {ensemble:.2%}")
assert ensemble > max(single)
