"""flax nnx: a schedule for optax, and a training that goes on after a stop
=========================================================================

In flax the optimizer is one of optax, and a scheduler of lrax is a schedule for it: a pure function of the count that
optax keeps. So the checkpoint is what it is in flax; the scheduler adds its ``config``, a plain dict.
"""

import json

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import lrax

PEAK, WARMUP, STEPS, STOP, BATCH, TRAIN = 1e-2, 40, 400, 150, 64, 1408

# %%
# Handwritten digits of 8 x 8 pixels, and a network of flax.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = (images[order] / 16).astype(np.float32), labels[order]


class Network(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.hidden, self.out = nnx.Linear(64, 64, rngs=rngs), nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


def make(scheduler):
    """A network and its optimizer, which calls the scheduler with its count of updates."""
    model = Network()
    return model, nnx.Optimizer(model, optax.adamw(scheduler, weight_decay=0.05), wrt=nnx.Param)


@nnx.jit
def train_step(model, optimizer, x, y):
    def loss_fn(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, grads = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, grads)
    return loss


def train(model, optimizer, end):
    """The losses from where the optimizer is to the end."""
    losses = []
    for t in range(int(optimizer.step[...]), end):
        rows = np.random.default_rng([0, t]).integers(TRAIN, size=BATCH)
        losses.append(float(train_step(model, optimizer, images[rows], labels[rows])))
    return losses


# %%
# A training without a stop, and one that is stopped. What is left of the second are a text and arrays.

scheduler = lrax.WSDSchedule(PEAK, WARMUP, STEPS, decay_steps=STEPS // 2, decay="1-sqrt")
whole = make(scheduler)
losses = train(*whole, STEPS)

stopped = make(scheduler)
before = train(*stopped, STOP)
text, arrays = json.dumps(scheduler.config), jax.device_get(nnx.state(stopped))

# %%
# It goes on with all made anew, and gives the same bits.

resumed = make(lrax.from_config(json.loads(text)))
nnx.update(resumed, arrays)
after = train(*resumed, STEPS)
same = jax.tree.map(np.array_equal, nnx.state(whole), nnx.state(resumed))
assert all(jax.tree.leaves(same))
assert before + after == losses

figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(6, 5), layout="constrained")
top.plot(np.arange(STOP), before, label="before the stop")
top.plot(np.arange(STOP, STEPS), after, label="after it")
top.set(ylabel="loss")
top.legend(frameon=False)
scheduler.plot(ax=bottom)

model, _ = resumed
accuracy = float(np.mean(np.argmax(model(images[TRAIN:]), axis=1) == labels[TRAIN:]))
print(f"validation accuracy {accuracy:.2%}, every weight the same with and without the stop")
assert accuracy > 0.95
