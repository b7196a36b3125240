"""
Resume: killed at any moment, it ends in the same bits
======================================================

A training that survives crashes: the same command goes on from the last checkpoint that is intact.

.. code-block:: bash

    python examples/resume.py --out digits       # a full run, a few seconds on a CPU
    kill -9 ...                                  # at any moment of it ...
    python examples/resume.py --out digits       # ... and this goes on
    python examples/resume.py                    # does all of that, and compares with a run left alone

After every epoch orbax writes a checkpoint in the background, and keeps the last three. A save that is cut short leaves
nothing behind that looks like a checkpoint. A file that is damaged later, by a full or a failing disk, is found out
by its checksum: the checkpoint is set aside, and the one before it is used.
"""

import argparse
import hashlib
import os
import signal
import subprocess
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

import lrax

BATCH = 64
TRAIN = 1408
NEVER = 10**9


def load_data():
    """1408 images to train on and 389 to validate with: 64 pixels each, from 0 to 1."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    train, validation = order[:TRAIN], order[TRAIN:]
    return images[train], labels[train], images[validation], labels[validation]


# %%
# What goes on later is weights, optimizer and schedule, and the losses for the picture. The order of the data follows
# from the epoch alone: nothing to save, nothing to lose.


def layer(rng, inputs, outputs):
    weight = rng.normal(scale=(2 / inputs) ** 0.5, size=(inputs, outputs))
    values = {"weight": weight.astype(np.float32), "bias": np.zeros(outputs, np.float32)}
    return brainstate.ParamState(jax.tree.map(jnp.asarray, values))


class Training:
    """Weights, optimizer and schedule; `state` is all that a checkpoint must hold."""

    def __init__(self, total_steps):
        rng = np.random.default_rng(0)
        self.weights = {"hidden": layer(rng, 64, 64), "out": layer(rng, 64, 10)}
        scheduler = lrax.WarmupCosineSchedule(
            base_lr=1e-2, warmup_steps=total_steps // 10, total_steps=total_steps
        )
        self.optimizer = lrax.AdamW(lr=scheduler, weight_decay=0.05)
        self.optimizer.register_trainable_weights(self.weights)
        self.losses = np.zeros(0, np.float32)
        self.step = lrax.jit(self._step)

    def logits(self, x):
        hidden, out = self.weights["hidden"].value, self.weights["out"].value
        x = jax.nn.relu(x @ hidden["weight"] + hidden["bias"])
        return x @ out["weight"] + out["bias"]

    def _step(self, x, y):
        def loss():
            return optax.softmax_cross_entropy_with_integer_labels(self.logits(x), y).mean()

        gradient = brainstate.transform.grad(loss, grad_states=self.weights, return_value=True)
        grads, loss = gradient()
        self.optimizer.step(grads)
        self.optimizer.lr_scheduler.step()
        return loss

    def epoch(self, number, x, y):
        order = np.random.default_rng([0, number]).permutation(TRAIN)
        losses = [self.step(x[batch], y[batch]) for batch in order.reshape(-1, BATCH)]
        self.losses = np.append(self.losses, np.asarray(losses))

    @property
    def state(self):
        weights = {name: state.value for name, state in self.weights.items()}
        # Copies, since the next step reuses the memory of the weights.
        weights = jax.tree.map(jnp.copy, weights)
        optimizer = self.optimizer.state_dict()
        return {"weights": weights, "optimizer": optimizer, "losses": self.losses}

    @state.setter
    def state(self, saved):
        for name, state in self.weights.items():
            state.value = jax.tree.map(jnp.asarray, saved["weights"][name])
        self.optimizer.load_state_dict(saved["optimizer"])  # moments, step count, and the schedule
        self.losses = saved["losses"]


# %%
# A checkpoint is saved with its checksum, and used if it still has it.


def checksum(tree):
    """A fingerprint of every bit of a tree, and of what is where."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        leaf = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def save(manager, epoch, state):
    """Begin to write a checkpoint; it is there, all of it, or it is not."""
    check = ocp.args.JsonSave({"sha256": checksum(state)})
    manager.save(epoch, args=ocp.args.Composite(state=ocp.args.StandardSave(state), check=check))


def restore(manager):
    """The epoch and the state of the newest checkpoint that holds what was saved; 0 and None without one."""
    parts = ocp.args.Composite(state=ocp.args.StandardRestore(), check=ocp.args.JsonRestore())
    epochs = sorted(manager.all_steps(), reverse=True)
    for epoch in epochs:
        try:
            saved = manager.restore(epoch, args=parts)
            if checksum(saved.state) == saved.check["sha256"]:
                return epoch, saved.state
            reason = "its content is not what was saved"
        except Exception as error:  # a damaged file can make the reader raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        damaged = manager.directory / str(epoch)
        aside = manager.directory.parent / f"damaged-{epoch}-{os.getpid()}"
        damaged.rename(aside)
        manager.reload()
        print(f"checkpoint {epoch} is damaged ({reason}); it is not used and now in {aside}")
    if epochs:
        print("no checkpoint is left that is intact: the training begins anew")
    return 0, None


def train(out, epochs, stop_after=NEVER, kill_after=NEVER):
    """Go on with the training in `out`, or begin it; and after how many epochs this was."""
    x_train, y_train, x_val, y_val = load_data()
    training = Training(total_steps=epochs * (TRAIN // BATCH))
    options = ocp.CheckpointManagerOptions(max_to_keep=3, enable_async_checkpointing=True)
    with ocp.CheckpointManager((out / "checkpoints").resolve(), options=options) as manager:
        begun, saved = restore(manager)
        if saved is not None:
            training.state = saved
            print(f"going on after epoch {begun}")
        epoch = begun
        while epoch < min(epochs, stop_after):
            training.epoch(epoch, x_train, y_train)
            epoch += 1
            save(manager, epoch, training.state)
            if epoch >= kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
        # Leaving the block waits for the last save.

    if epoch < epochs:
        print(f"stopped after epoch {epoch} of {epochs}; the same command goes on")
    else:
        score = float(jnp.mean(jnp.argmax(training.logits(x_val), axis=-1) == y_val))
        print(f"validation accuracy  {score:.2%}")
        print(f"final state          {checksum(training.state)}")
    return training, begun


# %%
# The demonstration. The first training is a process of its own, which dies while its checkpoint is being written; no
# handler runs, and no buffer is written out. What it did in that epoch is done again.


def demonstrate(epochs):
    """Kill a training, go on with it, and compare it with one that is left alone."""
    with tempfile.TemporaryDirectory(prefix="lrax-resume-") as folder:
        killed = Path(folder, "killed")
        here = demonstrate.__code__.co_filename  # sphinx-gallery has no __file__
        command = [sys.executable, here, "--out", killed, "--epochs", epochs]
        child = subprocess.run([*map(str, command), "--kill-after", str(epochs // 2)], check=False)
        assert child.returncode == -signal.SIGKILL
        print(f"killed while it saved epoch {epochs // 2}")
        resumed, begun = train(killed, epochs)
        print("left alone")
        alone, _ = train(Path(folder, "alone"), epochs)
    assert checksum(resumed.state) == checksum(alone.state)

    _, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    steps, first = np.arange(len(alone.losses)), begun * (TRAIN // BATCH)
    axes.semilogy(steps, alone.losses, color="0.75", linewidth=5, label="left alone")
    axes.semilogy(steps[:first], resumed.losses[:first], label="before it was killed")
    axes.semilogy(steps[first:], resumed.losses[first:], label="after it was resumed")
    axes.set(xlabel="step", ylabel="training loss")
    axes.legend()


def main(argv=None):
    parser = argparse.ArgumentParser(description="Train on scikit-learn's digits, through crashes.")
    parser.add_argument("--epochs", type=int, default=12, help="length of the whole run")
    parser.add_argument("--stop-after", type=int, default=NEVER, help="stop after so many epochs")
    parser.add_argument("--kill-after", type=int, default=NEVER, help="die in the save after them")
    parser.add_argument("--out", type=Path, metavar="DIR", help="without, it is shown in another")
    args = parser.parse_args(argv)
    if args.out:
        train(args.out, args.epochs, args.stop_after, args.kill_after)
    elif min(args.stop_after, args.kill_after) < NEVER:
        parser.error("--stop-after and --kill-after need --out DIR")
    else:
        demonstrate(args.epochs)


if __name__ == "__main__":
    main()
    plt.show()
