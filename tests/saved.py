"""What the tests of checkpoints share: every scheduler and optimizer, and what a checkpoint must keep of it."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax

import lrax
from helpers import METRICS, takes_metric, values_of
from network import START, gradient_of

OPTIMIZERS = {
    "SGD": lambda lr: lrax.SGD(lr=lr),
    "SGD with momentum": lambda lr: lrax.SGD(lr=lr, momentum=0.9, weight_decay=0.01),
    "Adam": lambda lr: lrax.Adam(lr=lr),
    "Adam with amsgrad": lambda lr: lrax.Adam(lr=lr, amsgrad=True, grad_clip_norm=0.5),
    "AdamW": lambda lr: lrax.AdamW(lr=lr, weight_decay=0.01),
    "OptaxOptimizer": lambda lr: lrax.OptaxOptimizer(optax.scale_by_lion(), lr=lr),
    "a complete OptaxOptimizer": lambda lr: lrax.OptaxOptimizer(optax.adam(lr)),
}


def advance(scheduler, first, last):
    """Step from epoch `first` to `last`; the learning rates of all groups after each step."""
    options = [
        {"metric": METRICS[e]} if takes_metric(scheduler) else {} for e in range(first, last)
    ]
    rates = []
    for option in options:
        scheduler.step(**option)
        rates.append(np.float32(scheduler.get_last_lr()))
    return np.array(rates)


def schedule():
    return lrax.WarmupCosineSchedule(0.05, 5, 30, 1e-4, 1e-3)


def begin(name, scheduler=None):
    """An optimizer with two groups (one, if its learning rate is its own affair), and its weights."""
    # Copies, since a donating step would take the arrays from the other tests.
    states = {key: brainstate.ParamState(jnp.copy(value)) for key, value in START.items()}
    optimizer = OPTIMIZERS[name](schedule() if scheduler is None else scheduler)
    optimizer.register_trainable_weights({"a": states["a"], "b": states["b"]})
    complete = name == "a complete OptaxOptimizer"
    options = {} if complete else {"lr": 0.02, "weight_decay": 0.1}
    optimizer.add_param_group({"c": states["c"]}, **options)
    return optimizer, states


def train(optimizer, states, steps):
    for _ in range(steps):
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr_scheduler.step()


def set_weights(states, values):
    """Through the host: what orbax gives is committed to its device, and would be compiled for again."""
    for name, state in states.items():
        state.value = jnp.asarray(np.asarray(values[name]))


def contents(node):
    """Copies of all States of a scheduler or optimizer, by their path."""
    states = brainstate.graph.states(node)
    return {str(path): jax.tree.map(np.array, state.value) for path, state in states.items()}
