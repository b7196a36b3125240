"""A small network as functions of its weights, and optimizers for it beside those of optax."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax

import lrax
from helpers import values_of

RNG = np.random.default_rng(11)
X = jnp.asarray(RNG.normal(size=(16, 4)), jnp.float32)
Y = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32)
START = {
    "a": jnp.asarray(RNG.normal(size=(4, 5)), jnp.float32),
    "b": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32),
    "c": jnp.asarray(RNG.normal(size=(3,)), jnp.float32),
}


def loss_of(values):
    return jnp.mean((jnp.tanh(X @ values["a"]) @ values["b"] + values["c"] - Y) ** 2)


gradient_of = jax.jit(jax.grad(loss_of))


def new_states():
    return {key: brainstate.ParamState(value) for key, value in START.items()}


# name: (our optimizer, optax's for a schedule and a decay)
OPTIMIZERS = {
    "SGD": (
        lambda lr: lrax.SGD(lr=lr, momentum=0.9, weight_decay=0.01),
        lambda lr, decay: optax.chain(
            optax.add_decayed_weights(decay), optax.sgd(lr, momentum=0.9)
        ),
    ),
    "Adam": (
        lambda lr: lrax.Adam(lr=lr, weight_decay=0.01),
        lambda lr, decay: optax.chain(optax.add_decayed_weights(decay), optax.adam(lr)),
    ),
    "AdamW": (
        lambda lr: lrax.AdamW(lr=lr, weight_decay=0.01),
        lambda lr, decay: optax.adamw(lr, weight_decay=decay),
    ),
    "OptaxOptimizer": (
        lambda lr: lrax.OptaxOptimizer(optax.scale_by_lion(), lr=lr, weight_decay=0.01),
        lambda lr, decay: optax.lion(lr, weight_decay=decay),
    ),
}


def schedule(base):
    return lrax.WarmupCosineSchedule(base, 10, 45, 1e-4, 1e-3)


def begin(name):
    """An optimizer of ours with two groups, and their weights."""
    states = new_states()
    optimizer = OPTIMIZERS[name][0](schedule(0.05))
    optimizer.register_trainable_weights({"a": states["a"], "b": states["b"]})
    optimizer.add_param_group({"c": states["c"]}, lr=0.02, weight_decay=0.1)
    return optimizer, states


def train(optimizer, states, steps):
    for _ in range(steps):
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr_scheduler.step()
