"""Compiled train steps for the tests: one task, one optimizer and scheduler, any jit."""

import brainstate
import jax
import jax.numpy as jnp
import pytest

import lrax
from training import Task

JITS = {"lrax": lrax.jit, "brainstate": brainstate.transform.jit}
jits = pytest.mark.parametrize("jit", JITS.values(), ids=JITS)


def counter(start=0.0):
    return brainstate.State(jnp.asarray(start, jnp.float32))


def doubled(*states):
    """A program that doubles what the States hold."""

    @lrax.jit
    def double():
        for state in states:
            state.value = jax.tree.map(lambda leaf: 2 * leaf, state.value)

    return double


class Training:
    """A task with optimizer and scheduler, and its train step, compiled by `jit`."""

    def __init__(self, jit, inside=True, optimizer=lrax.AdamW):
        self.task = Task()
        self.scheduler = lrax.CosineAnnealingLR(0.1, T_max=20)
        self.optimizer = optimizer(lr=self.scheduler)
        self.optimizer.register_trainable_weights(self.task.params)
        self.batch = [data[0] for data in self.task.batches]

        def train_step(x, y):
            grads, loss = self.task.gradient(x, y)
            self.optimizer.step(grads)
            if inside:
                self.scheduler.step()
            return loss

        self.step = jit(train_step)
        self.written = [*self.task.params.values(), self.optimizer.opt_state]


def memory_of(states):
    """Where the arrays of States are: the same before and after a call that copies none of them."""
    leaves = jax.tree.leaves([state.value for state in states])
    return sorted(leaf.unsafe_buffer_pointer() for leaf in leaves if isinstance(leaf, jax.Array))
