"""
Groups: layer-wise rates, no decay on biases, a frozen layer
=============================================================

A network that knows the digits 0 to 4 learns 5 to 9 from 100 images. What its layers near the input have learned is
mostly of use there too, so the learning rate halves from each layer to the one below, and the lowest layer is frozen.
Biases have no weight decay. All of it is said once, in the groups of the optimizer, and one schedule drives them
all. It takes some seconds on a CPU.
"""

import brainstate
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import lrax

FALL, PEAK, STEPS, BATCH = 0.5, 4e-3, 200, 32

# %%
# The data: images of 64 pixels from 0 to 1, in random order, the low digits apart from the high ones.

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = jnp.asarray(images[order], jnp.float32) / 16, jnp.asarray(labels[order])
low, high = labels < 5, labels >= 5
x_val, y_val = images[high][100:], labels[high][100:]

# %%
# The network, and a loop that trains it with any optimizer.

brainstate.random.seed(0)
nn = brainstate.nn
model = nn.Sequential(
    *(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()),
    *(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
)
params = model.states(brainstate.ParamState)


def loss_fn(x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def accuracy():
    """Of 5 to 9, in images that it has not seen."""
    return float(jnp.mean(jnp.argmax(model(x_val), axis=-1) == y_val))


def train(optimizer, x, y, steps):
    def update(batch):
        optimizer.step(brainstate.transform.grad(lambda: loss_fn(x[batch], y[batch]), params)())
        optimizer.lr.step()

    batches = np.random.default_rng(1).integers(len(x), size=(steps, BATCH))
    lrax.jit(lambda batches: brainstate.transform.for_loop(update, batches))(batches)


first = lrax.AdamW(lr=lrax.WarmupCosineSchedule(PEAK, warmup_steps=40, total_steps=400))
train(first.register_trainable_weights(params), images[low], labels[low], 400)
print(f"accuracy before      {accuracy():.1%}")
before = {path[1]: np.asarray(state.value["weight"]) for path, state in params.items()}

# %%
# The groups. A pattern is searched in paths such as ``layers.2.weight.bias``, and the first that matches decides.
# ``layerwise_lr_decay`` makes a pattern and its ``lr_scale`` of each layer, from the bottom to the top; it is given
# the layers that are trained. The table shows what each group gets.

trained = {path: state for path, state in params.items() if path[1] > 0}
groups = [
    (r"^layers\.0\.", {"frozen": True}),
    *lrax.layerwise_lr_decay(trained, FALL, no_decay="bias$"),
]
scheduler = lrax.WarmupCosineSchedule(PEAK, warmup_steps=20, total_steps=STEPS)
optimizer = lrax.AdamW(lr=scheduler, weight_decay=0.05, groups=groups)
optimizer.register_trainable_weights(params)
print(optimizer)

decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
assert decays == {
    **{f"layer {i}": 0.05 for i in (2, 4, 6)},
    **{f"layer {i}, no decay": 0.0 for i in (2, 4, 6)},
}

# %%
# ``lr_at`` gives the rates of all groups at any steps. No weight of the frozen layer changes by a bit, and the
# others move the further the nearer they are to the output.

train(optimizer, images[high][:100], labels[high][:100], STEPS)
after = {path[1]: np.asarray(state.value["weight"]) for path, state in params.items()}
moved = [np.linalg.norm(after[i] - before[i]) / np.linalg.norm(before[i]) for i in before]
print(f"accuracy after       {accuracy():.1%}")
assert np.array_equal(after[0], before[0])
assert moved == sorted(moved)
assert accuracy() > 0.8

steps = np.arange(STEPS + 1)
figure, (top, bottom) = plt.subplots(2, figsize=(6, 6), layout="constrained")
for name, rates in zip(decays, optimizer.lr_at(steps).T, strict=True):
    if name in ("layer 2", "layer 4", "layer 6"):  # biases have the same
        top.plot(steps, rates, label=name)
top.set(xlabel="step", ylabel="learning rate")
figure.legend(loc="outside upper center", ncols=3)
bottom.bar([f"layer {i}" for i in before], moved, color=["C7", "C0", "C1", "C2"])
bottom.set(ylabel="change of the weights, relative")
plt.show()
