"""One run without an end, ended from two of its checkpoints: a cooldown each, and nothing is compiled again.

    python examples/branch_and_cooldown.py    # a few seconds on a CPU

The learning rate is constant after its warmup, so the run needs no length. Whenever a finished network is
wanted, the learning rate falls to 0 from a checkpoint on, along 1 - sqrt, in a tenth or so of the steps that
were made (https://arxiv.org/abs/2405.18392). The long run goes on from the same checkpoint as if nothing had been.
"""

import argparse

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

BATCH = 32
TRAIN = 1408
WARMUP = 50


def load_data():
    """1408 images to train on and 389 to validate with: 64 pixels each, from 0 to 1."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32) / 16, labels.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    train, validation = order[:TRAIN], order[TRAIN:]
    return images[train], labels[train], images[validation], labels[validation]


class Training:
    """A network and its optimizer, which follows one scheduler after the other."""

    def __init__(self):
        brainstate.random.seed(0)
        nn = brainstate.nn
        self.model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.params = self.model.states(brainstate.ParamState)
        self.run = lrax.WarmupScheduler(base_lr=2e-2, warmup_epochs=WARMUP)
        self.optimizer = lrax.AdamW(lr=self.run, weight_decay=0.05)
        self.optimizer.register_trainable_weights(self.params)
        self.compilations = 0
        self.step = lrax.jit(self._step)

    def loss(self, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(self.model(x), y).mean()

    def _step(self, x, y):
        self.compilations += 1  # Python runs this line while it is compiled, and never again
        grads = brainstate.transform.grad(lambda: self.loss(x, y), self.params)()
        self.optimizer.step(grads)

    def train(self, data, start, steps):
        """The updates from `start` on. The clock is stepped outside of what is compiled."""
        x, y = data
        for t in range(start, start + steps):
            batch = np.random.default_rng([0, t]).choice(TRAIN, BATCH, replace=False)
            self.step(x[batch], y[batch])
            self.optimizer.lr.step()

    @property
    def state(self):
        """All that a checkpoint must hold, copied: the next step reuses the memory of the weights."""
        weights = {name: state.value for name, state in self.params.items()}
        return jax.tree.map(jnp.copy, weights), self.optimizer.state_dict()

    @state.setter
    def state(self, saved):
        weights, optimizer = saved
        self.run.attach_optimizer(self.optimizer)  # it follows the long run, of which `saved` is
        for name, state in self.params.items():
            state.value = jax.tree.map(jnp.copy, weights[name])
        self.optimizer.load_state_dict(optimizer)


def main():
    parser = argparse.ArgumentParser(description="End one long run from two of its checkpoints.")
    parser.add_argument("--branches", type=int, nargs="+", default=[300, 600], metavar="STEP")
    parser.add_argument("--cooldown", type=int, default=100, help="steps of each cooldown")
    args = parser.parse_args()

    x_train, y_train, x_val, y_val = load_data()
    training, checkpoints, done = Training(), {}, 0
    for start in sorted(args.branches):
        training.train((x_train, y_train), done, start - done)
        checkpoints[start], done = training.state, start

    for start, saved in checkpoints.items():
        for name in ("goes on", "is cooled down"):
            training.state = saved
            if name == "is cooled down":
                cooled = training.run.with_cooldown(start, args.cooldown, "1-sqrt")
                cooled.attach_optimizer(training.optimizer)
            training.train((x_train, y_train), start, args.cooldown)
            where, rate = f"step {start} {name}", training.optimizer.current_lr
            losses = training.loss(x_train, y_train), training.loss(x_val, y_val)
            print(
                f"{where:25} loss {losses[0]:.4f}, validation {losses[1]:.4f}, at rate {rate:.3f}"
            )
    print(f"{'compilations':25} {training.compilations}")


if __name__ == "__main__":
    main()
