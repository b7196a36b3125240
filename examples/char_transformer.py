"""Character transformer: one run without an end, cooled down twice
================================================================

After its warmup the learning rate stays where it is, so the run needs no length. Whenever a finished network is
wanted, the rate falls to 0 from a checkpoint on, along 1 - sqrt (https://arxiv.org/abs/2405.18392): warmup, stable,
decay (WSD). Here one run is ended twice, and each time goes on from its checkpoint. Nothing is compiled again.
"""

import importlib
import inspect
from collections import defaultdict

import brainstate
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import lrax

PEAK, WARMUP, BRANCHES = 2e-2, 50, {400: 480, 800: 960}
CONTEXT, BATCH, WIDTH, HEADS = 32, 8, 48, 4

# %%
# The text is the source of some modules of Python's own library. The network learns to say which character comes
# next, and is validated on the last module, which it has not seen.

MODULES = "argparse", "calendar", "configparser", "csv", "difflib", "random", "textwrap"
texts = [inspect.getsource(importlib.import_module(name)) for name in MODULES]
*train, unseen = (np.frombuffer(text.encode("ascii", "replace"), np.uint8) for text in texts)
train, unseen = np.concatenate(train), unseen[: 510 * (CONTEXT + 1)].reshape(510, -1)[::3]

# %%
# Two blocks of attention and perceptron. Three of the four heads prefer what is near (ALiBi).

nn = brainstate.nn
distance = np.abs(np.arange(CONTEXT)[:, None] - np.arange(CONTEXT))
bias = np.multiply.outer(np.float32([-2.0, -0.7, -0.2, 0.0]), distance)[None]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def __call__(self, x):
        q, k, v = jnp.split(self.qkv(self.norm(x)).reshape(*x.shape[:2], 3 * HEADS, -1), 3, axis=2)
        x = x + jax.nn.dot_product_attention(q, k, v, bias, is_causal=True).reshape(x.shape)
        return x + self.down(jax.nn.gelu(self.up(x)))


brainstate.random.seed(0)
model = nn.Sequential(nn.Embedding(128, WIDTH), Block(), Block(), nn.Linear(WIDTH, 128))
params = model.states(brainstate.ParamState)

# %%
# The clock is stepped outside of the compiled function: ``optimizer.lr`` is the scheduler that is followed at the time.

run = lrax.WarmupScheduler(base_lr=PEAK, warmup_epochs=WARMUP)
optimizer = lrax.AdamW(lr=run, weight_decay=0.05, grad_clip_norm=1.0)
optimizer.register_trainable_weights(params)
compilations = []
rates, losses = defaultdict(dict), defaultdict(dict)  # of the run and its branches, by update


@lrax.jit
def loss_fn(text):
    logits, targets = model(text[:, :-1]), text[:, 1:]
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


@lrax.jit
def train_step(text):
    compilations.append("train_step")  # runs while it is compiled, and never again
    optimizer.step(brainstate.transform.grad(lambda: loss_fn(text), params)())


def train_until(end, name):
    for t in range(optimizer.lr.last_epoch.value, end):
        if t % 40 == 0:
            losses[name][t] = float(loss_fn(unseen))
        rates[name][t] = optimizer.current_lr  # what the update below uses
        first = np.random.default_rng([0, t]).integers(len(train) - CONTEXT, size=BATCH)
        train_step(train[first[:, None] + np.arange(CONTEXT + 1)])
        optimizer.lr.step()
    losses[name][end] = float(loss_fn(unseen))


# %%
# A checkpoint is the weights and the state dict of the optimizer, with the scheduler in it; here it stays in memory.
# ``lrax.jit`` reuses the memory of weights; those that the checkpoint refers to it copies before.

for start, end in BRANCHES.items():
    train_until(start, "the run")
    saved, weights = optimizer.state_dict(), {path: s.value for path, s in params.items()}
    run.with_cooldown(start, end - start, "1-sqrt").attach_optimizer(optimizer)
    train_until(end, f"cooled down from {start}")
    run.attach_optimizer(optimizer)
    optimizer.load_state_dict(saved)
    for path, state in params.items():
        state.value = weights[path]
train_until(960, "the run")

# %%
# At the same step each branch is below the run.

figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(6, 5), layout="constrained")
for name in rates:
    top.plot(losses[name].keys(), losses[name].values(), label=name)
    bottom.plot(rates[name].keys(), rates[name].values(), label=name)
bottom.set(ylabel="learning rate", xlabel="update")
top.set(ylabel="validation loss", ylim=(1.9, 2.6))
top.legend(frameon=False)
for start, end in BRANCHES.items():
    stable, cooled = losses["the run"][end], losses[f"cooled down from {start}"][end]
    print(f"loss at step {end}: {stable:.3f}, cooled down {cooled:.3f}")
    assert cooled < stable - 0.02
assert len(compilations) == 1
