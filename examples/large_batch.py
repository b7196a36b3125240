"""Large batches: how far the learning rate goes with the batch
=============================================================

A batch that is k times as large makes k times fewer updates in an epoch. To get as far in them the learning rate is
multiplied by k for SGD (https://arxiv.org/abs/1706.02677), and by its square root for Adam
(https://arxiv.org/abs/2205.10287), with a warmup as long as before in epochs.
"""

import brainstate
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

EPOCHS, WARMUP_EPOCHS, TRAIN = 20, 2, 1280
SMALL, FACTOR = 16, 8

# %%
# Handwritten digits of 8 x 8 pixels. The loss that is compared is that of all 1280 images that are trained on.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))[:TRAIN]
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])

# %%
# One training is one program: a loop on the device over the epochs, and in it one over the updates.


def train(make_optimizer, lr, batch):
    """The loss after each epoch, and the learning rate of every update."""
    brainstate.random.seed(0)
    nn = brainstate.nn
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    params = model.states(brainstate.ParamState)
    updates = TRAIN // batch
    scheduler = lrax.WarmupCosineSchedule(lr, WARMUP_EPOCHS * updates, EPOCHS * updates)
    optimizer = make_optimizer(lr=scheduler)
    optimizer.register_trainable_weights(params)

    def loss_fn(x, y):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    def update(rows):
        rate = optimizer.current_lr
        optimizer.step(
            brainstate.transform.grad(lambda: loss_fn(images[rows], labels[rows]), params)()
        )
        scheduler.step()
        return rate

    def epoch(rows):
        rates = brainstate.transform.for_loop(update, rows)
        return rates, loss_fn(images, labels)

    shuffled = [np.random.default_rng([0, i]).permutation(TRAIN) for i in range(EPOCHS)]
    rows = np.reshape(shuffled, (EPOCHS, updates, batch))
    rates, losses = lrax.jit(lambda rows: brainstate.transform.for_loop(epoch, rows))(rows)
    return np.ravel(rates), np.asarray(losses)


# %%
# A batch of 128 is trained with the rate of the batch of 16, and with that of the rule.

RULES = {"SGD": (lrax.SGD, 0.05, FACTOR), "Adam": (lrax.Adam, 3e-3, FACTOR**0.5)}
figure, axes = plt.subplots(2, 2, sharex=True, figsize=(6, 6.5), layout="constrained")
for (top, bottom), (name, (make_optimizer, lr, scale)) in zip(axes.T, RULES.items(), strict=True):
    final = []
    for batch, rate in (SMALL, lr), (FACTOR * SMALL, lr), (FACTOR * SMALL, lr * scale):
        rates, losses = train(make_optimizer, rate, batch)
        label = f"batch {batch}, {rate:.3g}"
        top.semilogy(np.arange(1, EPOCHS + 1), losses, label=label)
        dashed = "--" if len(final) == 1 else "-"  # it is the first line once more
        bottom.plot(np.arange(len(rates)) * EPOCHS / len(rates), rates, dashed, label=label)
        final.append(losses[-1])
        print(f"{name:5} {label:18} loss {losses[-1]:.3f}")
    top.set(title=name, ylabel="loss on all images")
    bottom.set(xlabel="epoch", ylabel="learning rate")
    bottom.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), frameon=False)

    small, same, scaled = final
    assert scaled < 2 * small  # about as far,
    assert same > 4 * small  # and not without the rule
