"""What the tests of counted updates share: an optimizer of two weights, gradients for it, ways to run its steps."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax

import lrax
from saved import contents
from steps import JITS

transform = brainstate.transform
RNG = np.random.default_rng(5)
SHAPES = {"a": (4, 3), "b": (7,)}
START = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}

# Gradients of so many calls, of one shape.
MAGNITUDES = {
    "alike": lambda shape: RNG.normal(size=shape),
    "of one sign": lambda shape: 1 + np.abs(RNG.normal(size=shape)),
    "mixed": lambda shape: RNG.normal(size=shape) * 10 ** RNG.uniform(-6, 6, shape),
    "one call above all": lambda shape: (
        RNG.normal(size=shape) * 10 ** RNG.uniform(-6, 6, (shape[0], *(1,) * (len(shape) - 1)))
    ),
    "huge": lambda shape: RNG.normal(size=shape) * 1e16,
    "tiny": lambda shape: RNG.normal(size=shape) * 1e-16,
}

# name: (our optimizer, the same chain of optax)
CHAINS = {
    "SGD, clipped by norm": (
        lambda **options: lrax.SGD(
            lr=0.1, momentum=0.9, weight_decay=0.01, grad_clip_norm=1.0, **options
        ),
        lambda: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.add_decayed_weights(0.01),
            optax.sgd(0.1, momentum=0.9),
        ),
    ),
    "AdamW, clipped by value": (
        lambda **options: lrax.AdamW(lr=0.1, weight_decay=0.01, grad_clip_value=1.0, **options),
        lambda: optax.chain(optax.clip(1.0), optax.adamw(0.1, weight_decay=0.01)),
    ),
}
ALL = {"accumulate_steps": 3, "skip_nonfinite": True, "log_grad_norm": True}


def gradients(calls, kind="alike"):
    made = {name: MAGNITUDES[kind]((calls, *shape)) for name, shape in SHAPES.items()}
    return [{name: jnp.float32(g[i]) for name, g in made.items()} for i in range(calls)]


def begin(make=CHAINS["AdamW, clipped by value"][0], start=START, **options):
    weights = {name: brainstate.ParamState(jnp.array(value)) for name, value in start.items()}
    optimizer = make(**options)
    optimizer.register_trainable_weights(weights)
    return optimizer, weights


def values(weights):
    return {name: np.asarray(state.value) for name, state in weights.items()}


def everything(optimizer, weights):
    return contents(optimizer), values(weights)


def mean_of(grads):
    return {n: np.mean([np.float64(g[n]) for g in grads], axis=0) for n in grads[0]}


def stacked(grads):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads)


RUNS = {
    "eager": lambda step, grads: [step(g) for g in grads],
    **{name: lambda step, grads, jit=jit: [*map(jit(step), grads)] for name, jit in JITS.items()},
    "for_loop": lambda step, grads: transform.for_loop(step, stacked(grads)),
    "for_loop in a jit": lambda step, grads: lrax.jit(lambda g: transform.for_loop(step, g))(
        stacked(grads)
    ),
}


def spoiled(leaf, number):
    g = gradients(1)[0]
    return {**g, leaf: g[leaf].at[(1,) * g[leaf].ndim].set(number)}
