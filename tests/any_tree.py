"""Optimizers on any tree of States, beside those of optax."""

import brainstate
import jax
import jax.numpy as jnp
import optax
import pytest

import lrax

OPTIMIZERS = {
    "SGD": (lambda lr: lrax.SGD(lr=lr, momentum=0.9), lambda lr: optax.sgd(lr, momentum=0.9)),
    "Adam": (lambda lr: lrax.Adam(lr=lr), optax.adam),
    "AdamW": (
        lambda lr: lrax.AdamW(lr=lr, weight_decay=0.1),
        lambda lr: optax.adamw(lr, weight_decay=0.1),
    ),
}


optimizers = pytest.mark.parametrize("name", OPTIMIZERS)


def schedule():
    return lrax.StepLR(0.05, step_size=2, gamma=0.5)


def loss_of(values):
    """Of any tree of numbers."""
    return sum(jnp.sum((leaf**2 - 0.7) ** 2) for leaf in jax.tree.leaves(values))


def train(optimizer, states, jit, steps=6, loss=None):
    """`steps` of training on all `states`, whatever the optimizer has registered."""
    total = loss or (lambda: loss_of(jax.tree.map(lambda s: s.value, states, is_leaf=is_state)))
    gradient = brainstate.transform.grad(total, states)
    gradient = brainstate.transform.jit(gradient) if jit is None else gradient

    def update():
        optimizer.step(gradient())
        optimizer.lr_scheduler.step()

    update = update if jit is None else jit(update)
    for _ in range(steps):
        update()


def is_state(leaf):
    return isinstance(leaf, brainstate.State)
