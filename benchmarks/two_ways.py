"""One train step in two ways: written by hand with `jax.jit` and optax, and with lrax on brainstate States."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import brainstate
import jax
import numpy as np
import optax
from models import Model

import lrax

transform = brainstate.transform
Step = Callable[[], jax.Array]
"""Trains with one batch, and returns the loss."""

WARMUP, TOTAL, DECAY = 10, 100_000, 1e-4
PEER = "`jax.jit` + optax, donated"


class Optimizer(NamedTuple):
    peak: float
    optax: Callable[..., optax.GradientTransformation]
    lrax: Callable[..., lrax.OptaxOptimizer]


OPTIMIZERS = {
    "AdamW": Optimizer(
        1e-3,
        functools.partial(optax.adamw, weight_decay=DECAY),
        functools.partial(lrax.AdamW, weight_decay=DECAY),
    ),
    "SGD": Optimizer(3e-2, optax.sgd, lrax.SGD),
    "SGD with momentum": Optimizer(
        3e-3, functools.partial(optax.sgd, momentum=0.9), functools.partial(lrax.SGD, momentum=0.9)
    ),
}

SMALL = ("AdamW", "SGD")
"""Those that train every model."""


def optax_schedule(peak: float) -> optax.Schedule:
    return optax.warmup_cosine_decay_schedule(0.0, peak, WARMUP, TOTAL)


def optax_parts(
    model: Model, name: str, schedule: Any = None
) -> tuple[Callable[..., Any], list[Any]]:
    """The step, not yet compiled, and what it carries along: weights and state."""
    optimizer = OPTIMIZERS[name]
    tx, weights = optimizer.optax(schedule or optax_schedule(optimizer.peak)), model.weights()
    return optax_step(model, tx), [weights, tx.init(weights)]


def optax_step(model: Model, tx: optax.GradientTransformation) -> Callable[..., Any]:
    def step(weights, state, x, y):
        loss, grads = jax.value_and_grad(model.loss)(weights, x, y)
        updates, state = tx.update(grads, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    return step


def by_hand(model: Model, name: str) -> Step:
    step, carried = optax_parts(model, name)
    compiled = jax.jit(step, donate_argnums=(0, 1))

    def run():
        *carried[:], loss = compiled(*carried, model.x, model.y)
        return loss

    return run


def with_rate(model: Model, name: str) -> Step:
    """The same, but each step is handed a learning rate that Python has worked out."""
    optimizer = OPTIMIZERS[name]
    peak, length = optimizer.peak, TOTAL - WARMUP

    def step(weights, state, x, y, rate):
        return optax_step(model, optimizer.optax(rate))(weights, state, x, y)

    def rate_at(count: int) -> float:
        if count < WARMUP:
            return peak * count / WARMUP
        return peak * (1 + math.cos(math.pi * (count - WARMUP) / length)) / 2

    compiled, counts = jax.jit(step, donate_argnums=(0, 1)), itertools.count()
    carried = optax_parts(model, name, peak)[1]

    def run():
        rate = np.float32(rate_at(next(counts)))
        *carried[:], loss = compiled(*carried, model.x, model.y, rate)
        return loss

    return run


def states_of(model: Model) -> dict[str, brainstate.ParamState]:
    return {name: brainstate.ParamState(value) for name, value in model.weights().items()}


def lrax_parts(model: Model, name: str, peak: Any = None) -> tuple[Any, ...]:
    """States, optimizer and scheduler."""
    optimizer, states = OPTIMIZERS[name], states_of(model)
    peak = optimizer.peak if peak is None else peak
    scheduler = lrax.WarmupCosineSchedule(peak, warmup_steps=WARMUP, total_steps=TOTAL)
    found = optimizer.lrax(lr=scheduler)
    found.register_trainable_weights(states)
    return states, found, scheduler


def state_step(
    model: Model, states: Any, optimizer: Any, scheduler: Any = None
) -> Callable[..., Any]:
    """The step on States, not yet compiled; it steps the scheduler that it is given."""

    def step(x, y):
        loss_fn = lambda: model.loss({k: s.value for k, s in states.items()}, x, y)  # noqa: E731
        grads, loss = transform.grad(loss_fn, states, return_value=True)()
        optimizer.step(grads)
        if scheduler is not None:
            scheduler.step()
        return loss

    return step


def with_states(
    model: Model, parts: tuple[Any, ...], jit: Callable[..., Any] = lrax.jit, *, inside: bool = True
) -> Step:
    """The step on the States, optimizer and scheduler of `parts`; the scheduler is stepped inside or outside of it."""
    states, optimizer, scheduler = parts
    compiled = jit(state_step(model, states, optimizer, scheduler if inside else None))

    def run():
        loss = compiled(model.x, model.y)
        if not inside:
            scheduler.step()
        return loss

    return run


def check_that_they_agree(steps: dict[str, Step], number: int = 20) -> None:
    """The same losses after some steps, which have changed them; a GPU multiplies with fewer digits."""
    close = 1e-4 if jax.default_backend() == "cpu" else 1e-2
    losses = np.array([[float(step()) for _ in range(number)] for step in steps.values()])
    np.testing.assert_allclose(losses, losses[:1].repeat(len(losses), 0), rtol=close)
    assert (abs(losses[:, -1] / losses[:, 0] - 1) > 1e-3).all(), losses


def megabytes(size: float) -> str:
    return f"{size / 1e6:.3g} MB"


def held(compiled: jax.stages.Compiled) -> int:
    """Bytes that a program holds at once, as XLA plans them."""
    m = compiled.memory_analysis()
    kept = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
    return kept + m.temp_size_in_bytes
