"""
Digits: warmup, cosine, checkpoints, resume
===========================================

A small network learns scikit-learn's handwritten digits.

.. code-block:: bash

    python examples/train_digits.py                                # a full run, half a minute on a CPU
    python examples/train_digits.py --out digits --stop-after 10   # interrupted after ten epochs ...
    python examples/train_digits.py --out digits --resume          # ... to the very same parameters

It writes the checkpoints and a picture of loss and learning rate to ``--out``, or to a new temporary folder, and
it exits with status 1 if the finished network recognises fewer than 97 % of the digits it has not seen.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import orbax.checkpoint as ocp
from sklearn.datasets import load_digits
from tqdm import tqdm

import lrax

BATCH = 64
VALIDATION = 360
TARGET = 0.97


def load_data():
    """1437 images to train on and 360 to validate with: 64 pixels each, from 0 to 1."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    validation, train = order[:VALIDATION], order[VALIDATION:]
    return images[train], labels[train], images[validation], labels[validation]


# %%
# A checkpoint is a tree of arrays under plain names. The checksum shows that a run which was interrupted and resumed
# ends in the same bits.


def by_name(params):
    """The parameters as a plain dict with str keys, which every checkpoint library can store."""
    return {".".join(map(str, path)): state.value for path, state in params.items()}


def checksum(tree):
    """A fingerprint of every bit of the arrays in a tree."""
    every_bit = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    return hashlib.sha256(every_bit).hexdigest()[:16]


# %%
# A scheduler is a function of the step as well, so nothing is recorded for its curve.


def draw(losses, scheduler, total_steps, path):
    """Loss and learning rate over the steps; the scheduler itself is the function to plot."""
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(6, 5), layout="constrained")
    top.plot(losses, linewidth=0.8)
    top.set(ylabel="training loss")
    bottom.plot(scheduler(np.arange(total_steps)), color="C1")
    bottom.set(ylabel="learning rate", xlabel="step")
    figure.savefig(path, dpi=120)


def parse_args():
    parser = argparse.ArgumentParser(description="Train on scikit-learn's digits with lrax.")
    parser.add_argument("--epochs", type=int, default=30, help="length of the whole run")
    parser.add_argument("--stop-after", type=int, default=10**9, help="stop after so many epochs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: a new temporary folder")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    args = parser.parse_args()
    if args.resume and args.out is None:
        parser.error("--resume needs --out DIR, the folder of the run that was stopped")
    args.out = args.out or Path(tempfile.mkdtemp(prefix="lrax-digits-"))
    return args


# %%
# The scheduler is stepped in the compiled function, once for every batch. The optimizer's state dict holds the moments,
# the count of its steps and the scheduler.


def main():
    args = parse_args()
    x_train, y_train, x_val, y_val = load_data()
    steps_per_epoch = len(x_train) // BATCH
    total_steps = args.epochs * steps_per_epoch

    brainstate.random.seed(0)
    nn = brainstate.nn
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    params = model.states(brainstate.ParamState)

    scheduler = lrax.WarmupCosineSchedule(
        base_lr=1e-2, warmup_steps=total_steps // 15, total_steps=total_steps
    )
    optimizer = lrax.AdamW(lr=scheduler, weight_decay=0.05, grad_clip_norm=1.0)
    optimizer.register_trainable_weights(params)

    @brainstate.transform.jit
    def train_step(x, y):
        def loss_fn():
            targets = optax.smooth_labels(jax.nn.one_hot(y, 10), 0.1)
            return optax.softmax_cross_entropy(model(x), targets).mean()

        grads, loss = brainstate.transform.grad(loss_fn, grad_states=params, return_value=True)()
        optimizer.step(grads)
        scheduler.step()
        return loss

    # The manager writes to a temporary folder and renames it, so that a run that is killed in the
    # middle of a save still has its last complete checkpoint.
    folder = (args.out / "checkpoints").resolve()
    if not args.resume:
        shutil.rmtree(folder, ignore_errors=True)
    manager = ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(max_to_keep=1))
    epoch, losses = 0, np.zeros(0, np.float32)
    if args.resume:
        epoch = manager.latest_step()
        if epoch is None:
            sys.exit(f"--resume: there is no checkpoint in {folder}")
        saved = manager.restore(epoch, args=ocp.args.StandardRestore())
        for name, state in zip(by_name(params), params.values(), strict=True):
            state.value = jax.tree.map(jnp.asarray, saved["params"][name])
        optimizer.load_state_dict(saved["optimizer"])  # moments, step count and the scheduler
        losses = saved["losses"]

    last_epoch = min(args.epochs, args.stop_after)
    begun = epoch * steps_per_epoch
    with tqdm(total=total_steps, initial=begun, unit="step", disable=None) as bar:  # on a terminal
        while epoch < last_epoch:
            # The order of the data follows from the epoch alone: nothing to save, nothing to lose.
            order = np.random.default_rng([0, epoch]).permutation(len(x_train))
            new = []
            for batch in order[: steps_per_epoch * BATCH].reshape(-1, BATCH):
                new.append(train_step(x_train[batch], y_train[batch]))
                bar.update()
            epoch, losses = epoch + 1, np.append(losses, np.asarray(new))
            bar.set_postfix(loss=f"{np.mean(new):.4f}", lr=f"{float(optimizer.current_lr):.2e}")
            state = {"params": by_name(params), "optimizer": optimizer.state_dict()}
            state = jax.device_get({**state, "losses": losses})
            manager.save(epoch, args=ocp.args.StandardSave(state))
    manager.close()

    if epoch < args.epochs:
        print(
            f"stopped after epoch {epoch} of {args.epochs}; --out {args.out} --resume continues the run"
        )
        return
    draw(losses, scheduler, total_steps, args.out / "loss_and_lr.png")
    score = float(jnp.mean(jnp.argmax(model(x_val), axis=-1) == y_val))
    print(f"checkpoints and picture are in {args.out}", file=sys.stderr)
    print(f"validation accuracy  {score:.2%}")
    print(f"final learning rate  {float(optimizer.current_lr):.3e}")
    print(f"parameter checksum   {checksum(by_name(params))}")
    if score < TARGET:
        sys.exit(f"validation accuracy is below {TARGET:.0%}")


if __name__ == "__main__":
    main()
