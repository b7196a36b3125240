"""
Sweep: 64 trainings in one program
==================================

Eight learning rates, each with eight lengths of the warmup.

.. code-block:: bash

    python examples/sweep.py             # ten seconds on a CPU, most of them to compile
    python examples/sweep.py --compare   # and then one network after the other: nearly the same losses

Network, schedule and optimizer are built inside a function, as for a single training, and ``vmap`` maps that function
over the learning rates and the lengths. The networks start from the same weights and see scikit-learn's handwritten
digits in the same order. A picture of their losses goes to ``--out``, or to a new temporary folder.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

BATCH, VALIDATION = 128, 360
LEARNING_RATES = np.geomspace(2e-3, 0.3, 8).astype(np.float32)
WARMUP_PARTS = np.array([0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])  # of all steps
TOLERANCE = 1e-3  # other programs round differently, and a training makes more of it


# %%
# What is swept are the arguments of ``train``: learning rate and length may be arrays of a program, as they are under
# ``vmap``.


def make_training(epochs):
    """The number of steps, and a function that trains a network and returns its loss and accuracy."""
    images, labels = load_digits(return_X_y=True)
    images, labels = jnp.asarray(images, jnp.float32) / 16, jnp.asarray(labels, jnp.int32)
    rng = np.random.default_rng(0)
    validation, training = np.split(rng.permutation(len(images)), [VALIDATION])
    x_val, y_val = images[validation], labels[validation]
    whole = len(training) // BATCH * BATCH
    batches = np.array([rng.permutation(training)[:whole] for _ in range(epochs)])
    batches = jnp.asarray(batches.reshape(-1, BATCH))

    def train(learning_rate, warmup_steps):
        brainstate.random.seed(0)
        nn = brainstate.nn
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        params = model.states(brainstate.ParamState)
        scheduler = lrax.WarmupCosineSchedule(
            base_lr=learning_rate, warmup_steps=warmup_steps, total_steps=len(batches)
        )
        optimizer = lrax.AdamW(lr=scheduler, weight_decay=0.05)
        optimizer.register_trainable_weights(params)

        def loss(x, y):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        def step(batch):
            grads = brainstate.transform.grad(lambda: loss(images[batch], labels[batch]), params)()
            optimizer.step(grads)
            scheduler.step()

        brainstate.transform.for_loop(step, batches)
        return loss(x_val, y_val), jnp.mean(jnp.argmax(model(x_val), axis=-1) == y_val)

    return len(batches), train


# %%
# Compiling is timed apart from training.


def timed(name, train, *args):
    """What `train` returns; it is called twice, to print the time without that of compiling it."""
    begin = time.perf_counter()
    jax.block_until_ready(train(*args))
    between = time.perf_counter()
    result = jax.device_get(train(*args))
    seconds = time.perf_counter() - between
    print(f"{name:20} {seconds:.2f} s, and {between - begin - seconds:.1f} s to compile")
    return result


def draw(losses, warmups, best, path):
    """The loss over the learning rate, with a line for each length of the warmup."""
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    colors = plt.colormaps["turbo"](np.linspace(0.1, 0.9, len(warmups)))
    for line, warmup, color in zip(losses.T, warmups, colors, strict=True):
        axes.loglog(LEARNING_RATES, line, "o-", markersize=4, color=color, label=str(warmup))
    axes.plot(
        LEARNING_RATES[best[0]], losses[best], "o", ms=12, color="0.5", mfc="none", label="best"
    )
    axes.set(xlabel="learning rate after the warmup", ylabel="validation loss after the training")
    axes.grid(which="both", alpha=0.2)
    figure.legend(title="warmup steps", loc="outside right upper")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description="Train 64 networks in one program.")
    parser.add_argument("--epochs", type=int, default=10, help="length of each training")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: a new temporary folder")
    parser.add_argument("--compare", action="store_true", help="also train one after the other")
    args = parser.parse_args()

    steps, train = make_training(args.epochs)
    warmups = (WARMUP_PARTS * steps).astype(np.int32)
    sweep = lrax.jit(jax.vmap(jax.vmap(train, in_axes=(None, 0)), in_axes=(0, None)))
    losses, scores = timed("all at once", sweep, LEARNING_RATES, warmups)
    if args.compare:
        one = lrax.jit(train)
        loop = lambda: [[one(lr, n)[0] for n in warmups] for lr in LEARNING_RATES]  # noqa: E731
        error = np.abs(losses / np.array(timed("one after the other", loop)) - 1)
        print(f"equal losses         {np.sum(error < TOLERANCE)} of 64, apart by {error.max():.1e}")

    best = divmod(int(np.nanargmin(losses)), len(warmups))
    lr, warmup = LEARNING_RATES[best[0]], warmups[best[1]]
    print(f"best configuration   learning rate {lr:.1e}, {warmup} steps of warmup")
    print(f"validation accuracy  {scores[best]:.2%}")
    out = args.out or Path(tempfile.mkdtemp(prefix="lrax-sweep-"))
    out.mkdir(parents=True, exist_ok=True)
    draw(losses, warmups, best, out / "sweep.png")
    print(f"the picture is in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
