"""
Finder: a range test, and trainings at what it suggests
=======================================================

``find_lr`` trains for a hundred updates, each at a larger learning rate than the one before, and forgets them: weights,
moments and clocks are the same bits afterwards. Where the loss falls is where to train. Here it looks for the
learning rate of AdamW on scikit-learn's digits, and trainings below, at and above its suggestions show what they
are worth. It takes some seconds on a CPU.
"""

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

STEPS, BATCH, VALIDATION = 150, 64, 360

# %%
# The data in batches, and a network.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = images[order].astype(np.float32) / 16, labels[order].astype(np.int32)
chosen = np.random.default_rng(1).integers(VALIDATION, len(images), size=(STEPS, BATCH))
batches = [(images[batch], labels[batch]) for batch in chosen]

brainstate.random.seed(0)
nn = brainstate.nn
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
params = model.states(brainstate.ParamState)


def loss_fn(x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def weights():
    return {path: jax.tree.map(np.array, state.value) for path, state in params.items()}


# %%
# The range test. What the learning rate of the optimizer is now makes no difference.

optimizer = lrax.AdamW(lr=1e-3, weight_decay=0.01)
optimizer.register_trainable_weights(params)
begin = weights()
found = lrax.find_lr(loss_fn, optimizer, batches)
for name, lr in found.suggestions.items():
    print(f"{name:14} {lr:.1e}")
assert found.suggestion == found.suggestions["valley"]
assert all(jax.tree.leaves(jax.tree.map(np.array_equal, begin, weights())))
found.plot()
plt.show()

# %%
# The valley is a careful suggestion. In 150 steps along one cycle, all from the same weights, the steepest point does
# better, a tenth of the valley does not get far, and 20 times the steepest point is too much.


def train(peak):
    """The loss of each update."""
    for path, state in params.items():
        state.value = jax.tree.map(jnp.asarray, begin[path])
    optimizer = lrax.AdamW(lr=lrax.OneCycleLR(peak, total_steps=STEPS), weight_decay=0.01)
    optimizer.register_trainable_weights(params)

    def update(x, y):
        gradient = brainstate.transform.grad(loss_fn, grad_states=params, return_value=True)
        grads, loss = gradient(x, y)
        optimizer.step(grads)
        optimizer.lr.step()
        return loss

    loop = lrax.jit(lambda *data: brainstate.transform.for_loop(update, *data))
    return np.asarray(loop(*map(np.stack, zip(*batches, strict=True))))


valley, steepest = found.suggestions["valley"], found.suggestions["steepest"]
peaks = {
    "a tenth of the valley": valley / 10,
    "valley": valley,
    "steepest": steepest,
    "20 times the steepest": 20 * steepest,
}
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
ends = {}
for name, peak in peaks.items():
    losses = train(peak)
    ends[name] = losses[-10:].mean()
    score = np.mean(np.argmax(model(images[:VALIDATION]), axis=-1) == labels[:VALIDATION])
    print(f"{name:22} {peak:.1e}, loss {ends[name]:.3f}, validation accuracy {score:.1%}")
    axes.semilogy(losses, label=f"{name}: {peak:.1e}")
axes.set(xlabel="step", ylabel="training loss")
figure.legend(loc="outside upper center", ncols=2)
plt.show()

low, good, best, high = ends.values()
assert best < good < low
assert best < high
