"""Train through crashes: kill this program at any moment, start it again, and it ends in the same bits.

    python examples/resume.py                    # a full run, a few seconds on a CPU
    kill -9 ...; python examples/resume.py       # goes on from the last checkpoint that is intact

After every epoch orbax writes a checkpoint in the background, and keeps the last three. A save that is
cut short leaves nothing behind that looks like a checkpoint. A file that is damaged later, by a full or a
failing disk, is found out by its checksum: the checkpoint is set aside, and the one before it is used.
"""

import argparse
import hashlib
import os
from pathlib import Path

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from sklearn.datasets import load_digits

import lrax

BATCH = 64
TRAIN = 1408


def load_data():
    """1408 images to train on and 389 to validate with: 64 pixels each, from 0 to 1."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    train, validation = order[:TRAIN], order[TRAIN:]
    return images[train], labels[train], images[validation], labels[validation]


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
        self.step = lrax.jit(self._step)

    def logits(self, x):
        hidden, out = self.weights["hidden"].value, self.weights["out"].value
        x = jax.nn.relu(x @ hidden["weight"] + hidden["bias"])
        return x @ out["weight"] + out["bias"]

    def _step(self, x, y):
        def loss():
            return optax.softmax_cross_entropy_with_integer_labels(self.logits(x), y).mean()

        grads = brainstate.transform.grad(loss, grad_states=self.weights)()
        self.optimizer.step(grads)
        self.optimizer.lr_scheduler.step()

    @property
    def state(self):
        weights = {name: state.value for name, state in self.weights.items()}
        # Copies, since the next step reuses the memory of the weights.
        weights = jax.tree.map(jnp.copy, weights)
        return {"weights": weights, "optimizer": self.optimizer.state_dict()}

    @state.setter
    def state(self, saved):
        for name, state in self.weights.items():
            state.value = jax.tree.map(jnp.asarray, saved["weights"][name])
        self.optimizer.load_state_dict(saved["optimizer"])  # moments, step count, and the schedule


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


def main(argv=None):
    parser = argparse.ArgumentParser(description="Train on scikit-learn's digits, through crashes.")
    parser.add_argument("--epochs", type=int, default=12, help="length of the whole run")
    parser.add_argument("--stop-after", type=int, default=10**9, help="stop after so many epochs")
    parser.add_argument("--out", type=Path, default=Path("digits", "resume"), metavar="DIR")
    args = parser.parse_args(argv)

    x_train, y_train, x_val, y_val = load_data()
    steps_per_epoch = TRAIN // BATCH
    training = Training(total_steps=args.epochs * steps_per_epoch)

    folder = (args.out / "checkpoints").resolve()
    options = ocp.CheckpointManagerOptions(max_to_keep=3, enable_async_checkpointing=True)
    with ocp.CheckpointManager(folder, options=options) as manager:
        epoch, saved = restore(manager)
        if saved is not None:
            training.state = saved
            print(f"going on after epoch {epoch}")
        while epoch < min(args.epochs, args.stop_after):
            # The order of the data follows from the epoch alone: nothing to save, nothing to lose.
            order = np.random.default_rng([0, epoch]).permutation(TRAIN)
            for batch in order.reshape(-1, BATCH):
                training.step(x_train[batch], y_train[batch])
            epoch += 1
            save(manager, epoch, training.state)
        # Leaving the block waits for the last save.

    if epoch < args.epochs:
        print(f"stopped after epoch {epoch} of {args.epochs}; the same command goes on")
        return
    score = float(jnp.mean(jnp.argmax(training.logits(x_val), axis=-1) == y_val))
    print(f"validation accuracy  {score:.2%}")
    print(f"final state          {checksum(training.state)}")


if __name__ == "__main__":
    main()
