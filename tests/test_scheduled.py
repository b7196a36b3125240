"""Every number of an optimizer may follow a schedule: the weights are those of optax and torch with its values."""

import functools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_same_bits, assert_trees_equal, slow_but, values_of
from network import START, gradient_of, loss_of, new_states

STEPS, GAMMA, LR = 50, 0.98, 0.02

KINDS = {
    "scheduler": lambda high: lrax.ExponentialLR(high, GAMMA),
    "function": lambda high: lambda epoch: high * GAMMA**epoch,
    "optax": lambda high: optax.exponential_decay(high, 1, GAMMA),
}


def _decay(h, *rest):
    return optax.chain(optax.add_decayed_weights(h), *rest)


def _adam(**options):
    return optax.scale_by_adam(**options)


# name: (our optimizer with the hyper-parameter, its first value, optax's direction with one of its values)
PLACES = {
    "SGD momentum": (lambda **o: lrax.SGD(**o), "momentum", 0.95, lambda h: optax.trace(h)),
    "SGD nesterov momentum": (
        lambda **o: lrax.SGD(nesterov=True, **o),
        "momentum",
        0.95,
        lambda h: optax.trace(h, nesterov=True),
    ),
    "SGD weight_decay": (
        lambda **o: lrax.SGD(momentum=0.9, **o),
        "weight_decay",
        0.3,
        lambda h: _decay(h, optax.trace(0.9)),
    ),
    "SGD grad_clip_norm": (
        lambda **o: lrax.SGD(**o),
        "grad_clip_norm",
        0.2,
        lambda h: optax.clip_by_global_norm(h),
    ),
    "SGD clip_norm": (
        lambda **o: lrax.SGD(**o),
        "clip_norm",
        0.2,
        lambda h: optax.clip_by_global_norm(h),
    ),
    "SGD grad_clip_value": (
        lambda **o: lrax.SGD(**o),
        "grad_clip_value",
        0.05,
        lambda h: optax.clip(h),
    ),
    "Adam beta1": (lambda **o: lrax.Adam(**o), "beta1", 0.95, lambda h: _adam(b1=h)),
    "Adam beta2": (lambda **o: lrax.Adam(**o), "beta2", 0.95, lambda h: _adam(b2=h)),
    "Adam betas[0]": (
        lambda betas0, **o: lrax.Adam(betas=(betas0, 0.99), **o),
        "betas0",
        0.95,
        lambda h: _adam(b1=h, b2=0.99),
    ),
    "Adam weight_decay": (
        lambda **o: lrax.Adam(**o),
        "weight_decay",
        0.3,
        lambda h: _decay(h, _adam()),
    ),
    "Adam eps": (lambda **o: lrax.Adam(**o), "eps", 0.1, lambda h: _adam(eps=h)),
    "amsgrad beta1": (
        lambda **o: lrax.Adam(amsgrad=True, **o),
        "beta1",
        0.95,
        lambda h: optax.scale_by_amsgrad(b1=h),
    ),
    "AdamW weight_decay": (
        lambda **o: lrax.AdamW(**o),
        "weight_decay",
        0.5,
        lambda h: optax.chain(_adam(), optax.add_decayed_weights(h)),
    ),
    "AdamW betas[1]": (
        lambda betas1, **o: lrax.AdamW(betas=(0.9, betas1), weight_decay=0.0, **o),
        "betas1",
        0.95,
        lambda h: _adam(b1=0.9, b2=h),
    ),
    "AdamW eps": (
        lambda **o: lrax.AdamW(weight_decay=0.0, **o),
        "eps",
        0.1,
        lambda h: _adam(eps=h),
    ),
    "AdamW grad_clip_norm": (
        lambda **o: lrax.AdamW(weight_decay=0.0, **o),
        "grad_clip_norm",
        0.2,
        lambda h: optax.chain(optax.clip_by_global_norm(h), _adam()),
    ),
    "OptaxOptimizer weight_decay": (
        lambda **o: lrax.OptaxOptimizer(optax.scale_by_lion(), **o),
        "weight_decay",
        0.5,
        lambda h: optax.chain(optax.scale_by_lion(), optax.add_decayed_weights(h)),
    ),
}


def rates():
    """The learning rate at each epoch, in float64."""
    return LR * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2


def lr_schedule():
    return lrax.CosineAnnealingLR(LR, T_max=STEPS)


def optax_run(direction, lrs, values):
    """Weights after one update with each of these numbers, by optax alone."""

    def body(carry, now):
        weights, state = carry
        lr, h = now
        tx = optax.chain(direction(h), optax.scale(-lr))
        updates, state = tx.update(jax.grad(loss_of)(weights), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    first = START, optax.chain(direction(0.5), optax.scale(1.0)).init(START)
    return jax.lax.scan(body, first, (jnp.float32(lrs), jnp.float32(values)))[0][0]


@functools.cache
def wanted():
    """Beside it what constant numbers would give."""
    path = GAMMA ** np.arange(STEPS)

    def run():
        return {
            name: [optax_run(direction, rates(), first * p) for p in (path, np.ones(STEPS))]
            for name, (_, _, first, direction) in PLACES.items()
        }

    return jax.jit(run)()


def begun(name, kind):
    make, argument, first, _ = PLACES[name]
    states, scheduler = new_states(), lr_schedule()
    optimizer = make(lr=scheduler, **{argument: KINDS[kind](first)})
    return scheduler, optimizer.register_trainable_weights(states), states


@functools.cache
def compiled_runs(kind):
    """All of them in one compiled loop."""
    runs = {name: begun(name, kind) for name in PLACES}

    def body(_):
        for scheduler, optimizer, states in runs.values():
            optimizer.step(jax.grad(loss_of)(values_of(states)))
            scheduler.step()

    lrax.jit(lambda: brainstate.transform.for_loop(body, jnp.arange(STEPS)))()
    return {name: values_of(states) for name, (_, _, states) in runs.items()}


def furthest(a, b):
    """The largest difference of two networks, by the largest weight."""
    assert a.keys() == b.keys() == START.keys()
    largest = max(float(jnp.abs(leaf).max()) for leaf in b.values())
    return max(float(jnp.abs(a[key] - b[key]).max()) for key in a) / largest


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", slow_but(KINDS, "scheduler"))
def test_the_weights_are_those_of_optax(name, kind):
    right, constant = wanted()[name]
    assert furthest(compiled_runs(kind)[name], right) <= 2e-6
    assert furthest(constant, right) > 1e-4  # the schedule matters


@pytest.mark.parametrize("name", slow_but(PLACES, "SGD nesterov momentum", "AdamW weight_decay"))
@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_those_of_optax_eagerly(name, kind):
    scheduler, optimizer, states = begun(name, kind)
    for _ in range(STEPS):
        optimizer.step(gradient_of(values_of(states)))
        scheduler.step()
    assert furthest(values_of(states), wanted()[name][0]) <= 2e-6
