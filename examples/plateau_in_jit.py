"""Plateau in a compiled loop: the metric never leaves the device
===============================================================

``ReduceLROnPlateau`` halves the learning rate when the metric has not improved for a while. It is stepped with a
traced metric here, so that a whole training, an epoch and a validation in each turn, is one program: the host waits
for nothing, and nothing is compiled again when the rate falls.
"""

import brainstate
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

EPOCHS, BATCH, TRAIN = 30, 32, 1408
LR, FACTOR, PATIENCE = 0.2, 0.5, 2

# %%
# Handwritten digits of 8 x 8 pixels: 1408 to train on and 389 to validate with.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
x_val, y_val = images[TRAIN:], labels[TRAIN:]

nn = brainstate.nn
brainstate.random.seed(0)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
params = model.states(brainstate.ParamState)

scheduler = lrax.ReduceLROnPlateau(base_lr=LR, factor=FACTOR, patience=PATIENCE)
optimizer = lrax.SGD(lr=scheduler, momentum=0.9)
optimizer.register_trainable_weights(params)

# %%
# The inner loop is an epoch. The validation loss is an array on the device, and goes into ``step`` as it is.


def loss_fn(x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def update(batch):
    grads = brainstate.transform.grad(lambda: loss_fn(images[batch], labels[batch]), params)()
    optimizer.step(grads)


def epoch(batches):
    rate = optimizer.current_lr  # that of all updates of this epoch
    brainstate.transform.for_loop(update, batches)
    loss = loss_fn(x_val, y_val)
    scheduler.step(loss)
    return rate, loss


compilations = []


@lrax.jit
def train(batches):
    compilations.append("train")  # runs while it is compiled, and never again
    return brainstate.transform.for_loop(epoch, batches)


shuffled = [np.random.default_rng([0, i]).permutation(TRAIN) for i in range(EPOCHS)]
rates, losses = map(np.asarray, train(np.reshape(shuffled, (EPOCHS, -1, BATCH))))

# %%
# The rate is halved after the third epoch in a row that was no better than the best so far.

figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(6, 5), layout="constrained")
top.plot(losses, "o-", markersize=3)
top.set(ylabel="validation loss")
bottom.step(np.arange(EPOCHS), rates, where="post")
bottom.set(ylabel="learning rate", xlabel="epoch", yscale="log")

accuracy = float(jnp.mean(jnp.argmax(model(x_val), axis=1) == y_val))
print(f"learning rate {rates[0]:.3g} to {rates[-1]:.2g}, validation accuracy {accuracy:.2%}")
print(f"compilations: {len(compilations)}")
assert len(compilations) == 1
assert rates[-1] < LR / 4
assert accuracy > 0.95
