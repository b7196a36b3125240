"""Scheduled hyper-parameters in compiled programs: one for all, the same bits in each, mapped and differentiated."""

import subprocess
import sys

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import (
    assert_close,
    assert_same_bits,
    assert_trees_equal,
    compiled_programs,
    slow_but,
    values_of,
)
from network import START, loss_of, new_states
from steps import memory_of

transform = brainstate.transform
STEPS = 12


def curve(high):
    return lrax.CosineAnnealingLR(high, T_max=STEPS, eta_min=high / 10)


def cycle():
    return lrax.OneCycleLR(0.1, total_steps=STEPS, cycle_momentum=True)


# All are without a Python number that could be scheduled, but for the last.
MAKE = {
    "AdamW": lambda: lrax.AdamW(
        cycle(), betas=(0.9, curve(0.99)), eps=curve(0.01), weight_decay=curve(0.4)
    ),
    "SGD": lambda: lrax.SGD(
        lrax.StepLR(0.1, 3),
        momentum=curve(0.9),
        weight_decay=lambda epoch: 0.1 + 0.01 * epoch,
        grad_clip_norm=curve(1.0),
        grad_clip_value=curve(0.3),
        groups={"b": {"momentum": curve(0.5), "lr_scale": 0.5}},
    ),
}


def begun(name):
    states = new_states()
    return MAKE[name]().register_trainable_weights(states), states


def step_of(optimizer, states, inside=True):
    def step():
        optimizer.step(jax.grad(loss_of)(values_of(states)))
        if inside:
            optimizer.lr.step()

    return step


# --- The same bits --------------------------------------------------------------------------------


def in_a_loop(step):
    transform.for_loop(lambda _: step(), jnp.arange(STEPS))


def one_by_one(step):
    for _ in range(STEPS):
        step()


PROGRAMS = {
    "brainstate.transform.jit": lambda step: one_by_one(transform.jit(step)),
    "for_loop": in_a_loop,
    "for_loop in lrax.jit": lambda step: lrax.jit(in_a_loop, static_argnums=0)(step),
}


def used_by(optimizer):
    """The schedule's numbers in one array: of all groups, in order."""
    found = [value for used in optimizer.hyperparams for value in used.values()]
    return np.array([v for v in found if isinstance(v, (np.ndarray, np.generic, jax.Array))])


@pytest.mark.parametrize("name", MAKE)
def test_every_program_has_the_same_bits(name):
    optimizer, states = begun(name)
    one_by_one(lrax.jit(step_of(optimizer, states)))
    for way, run in PROGRAMS.items():
        other, own = begun(name)
        run(step_of(other, own))
        assert_same_bits(used_by(other), used_by(optimizer))
        if way == "brainstate.transform.jit":
            assert_trees_equal(values_of(own), values_of(states))
        for key, state in own.items():
            assert_close(state.value, states[key].value, rtol=1e-5, floor=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_the_published_numbers_are_the_same_eagerly_and_compiled(name):
    optimizers = [begun(name)[0] for _ in range(3)]
    steps = [o.lr.step for o in optimizers]
    steps[1], steps[2] = lrax.jit(steps[1]), transform.jit(steps[2])
    rows = []
    for _ in range(STEPS + 3):
        for step in steps:
            step()
        rows.append([used_by(optimizer) for optimizer in optimizers])
    first, *others = np.array(rows).swapaxes(0, 1)
    assert len(np.unique(first, axis=0)) >= STEPS - 1
    for other in others:
        assert_same_bits(other, first)


# --- One program ----------------------------------------------------------------------------------


def everything(jit, inside):
    """A step around which everything happens that may happen."""
    optimizer, states = begun("AdamW")
    first = optimizer.lr
    step = jit(step_of(optimizer, states, inside))
    step()
    saved = jax.tree.map(np.asarray, optimizer.state_dict())
    used = []
    for scheduler in (
        lrax.StepLR(0.05, 2),
        lrax.CyclicLR(0.01, 0.1, 5, cycle_momentum=True, base_momentum=0.7, max_momentum=0.8),
        first,
    ):
        first.step()
        step()
        first.step(7)
        optimizer.current_lr = 0.3
        step()
        optimizer.add_scheduler(scheduler)
        step()
        used.append(float(optimizer.hyperparams[0]["beta1"]))
    optimizer.load_state_dict(saved)
    step()
    assert len(set(used)) == 3
    assert optimizer.step_count.value == 2


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("jit", slow_but([lrax.jit, transform.jit], lrax.jit))
def test_one_program_whatever_happens(jit, inside):
    for _ in range(2):  # with the first, all that belongs to no step is compiled
        with compiled_programs() as compiled:
            everything(jit, inside)
    assert len(compiled) == 1


def test_an_update_outside_of_every_program_is_one_program():
    optimizer, states = begun("SGD")
    grads = {key: jnp.ones_like(state.value) for key, state in states.items()}
    optimizer.step(grads)
    with compiled_programs() as compiled:
        for epoch in (1, 5, 2):
            optimizer.lr.step(epoch)
            optimizer.step(grads)
    assert not compiled


def test_a_donated_step_keeps_its_memory_in_place():
    optimizer, states = begun("AdamW")
    for state in states.values():
        state.value = jnp.array(np.asarray(state.value))
    step = lrax.jit(step_of(optimizer, states), donate=True)
    step()
    written = [*states.values(), optimizer.opt_state]
    before = memory_of(written)
    for _ in range(3):
        step()
    assert memory_of(written) == before
    other, own = begun("AdamW")
    plain = lrax.jit(step_of(other, own))
    for _ in range(4):
        plain()
    assert_trees_equal(values_of(states), values_of(own))


# --- Numbers stay numbers -------------------------------------------------------------------------


@jax.jit
def by_optax(weights, state, lr, decay):
    """Numbers of Python in optax, beside what is scheduled."""
    tx = optax.chain(
        optax.scale_by_adam(0.9, 0.9999, 1e-8), optax.add_decayed_weights(decay), optax.scale(-lr)
    )
    updates, state = tx.update(jax.grad(loss_of)(weights), state, weights)
    return optax.apply_updates(weights, updates), state


def test_what_is_not_scheduled_is_a_number_of_python_in_the_program():
    states = new_states()
    optimizer = lrax.AdamW(0.01, betas=(0.9, 0.9999), weight_decay=curve(0.4))
    optimizer.register_trainable_weights(states)
    step = lrax.jit(step_of(optimizer, states))
    tx = optax.chain(optax.scale_by_adam(), optax.identity(), optax.identity())
    weights, state = START, tx.init(START)
    for epoch in range(STEPS):
        decay = np.float32(curve(0.4)(epoch))
        weights, state = by_optax(weights, state, np.float32(0.01), decay)
        step()
    assert_trees_equal(values_of(states), weights)


# --- Other weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_small_weights_are_updated_in_float32(name, dtype):
    start = {key: value.astype(dtype) for key, value in START.items()}
    grads = {key: jnp.sin(value).astype(dtype) for key, value in START.items()}
    states = {key: brainstate.ParamState(value) for key, value in start.items()}
    optimizer = MAKE[name]().register_trainable_weights(states)
    before = jax.tree.map(jnp.result_type, optimizer.opt_state.value)
    for _ in range(3):
        optimizer.step(grads)
        optimizer.lr.step()
    assert jax.tree.map(jnp.result_type, optimizer.opt_state.value) == before
    assert {state.value.dtype for state in states.values()} == {jnp.dtype(dtype)}
    wide = {key: brainstate.ParamState(v.astype(jnp.float32)) for key, v in start.items()}
    optimizer = MAKE[name]().register_trainable_weights(wide)
    for _ in range(3):
        optimizer.step({key: g.astype(jnp.float32) for key, g in grads.items()})
        optimizer.lr.step()
    for key, state in wide.items():
        assert_close(states[key].value.astype(np.float32), state.value, rtol=0.02, floor=0.02)
        assert float(jnp.abs(state.value - START[key]).max()) > 0.02


def test_complex_weights_follow_schedules():
    start = jnp.array([1 + 2j, -0.5j, 3.0], jnp.complex64)
    weight = brainstate.ParamState(start)
    optimizer = lrax.SGD(0.1, momentum=curve(0.9), weight_decay=curve(0.4))
    optimizer.register_trainable_weights({"w": weight})
    right, buffer = np.asarray(start, np.complex128), 0.0
    for epoch in range(6):
        part = 0.1 + 0.9 * (1 + np.cos(np.pi * epoch / STEPS)) / 2
        buffer = 0.9 * part * buffer + (1j + 0.4 * part * right)
        right = right - 0.1 * buffer
        optimizer.step({"w": jnp.full(3, 1j, jnp.complex64)})
        optimizer.lr.step()
    assert_close(np.abs(np.asarray(weight.value) - right) + 1, np.ones(3), rtol=2e-6)


X64 = """
import brainstate, jax, jax.numpy as jnp, numpy as np, lrax
jax.config.update("jax_enable_x64", True)
weight = brainstate.ParamState(jnp.array([1.0, -2.0]))
optimizer = lrax.SGD(0.1, momentum=lrax.ExponentialLR(0.9, 0.5), weight_decay=lrax.ExponentialLR(0.4, 0.5))
optimizer.register_trainable_weights({"w": weight})
step = lrax.jit(lambda: (optimizer.step({"w": jnp.cos(weight.value)}), optimizer.lr.step())[0])
right, buffer = np.array([1.0, -2.0]), 0.0
for epoch in range(6):
    momentum, decay = (np.float64(np.float32(high * 0.5**epoch)) for high in (0.9, 0.4))
    buffer = momentum * buffer + np.cos(right) + decay * right
    right = right - np.float64(np.float32(0.1)) * buffer
    step()
assert weight.value.dtype == np.float64
assert optimizer.hyperparams[0]["momentum"].dtype == np.float32
assert np.abs(weight.value - right).max() < 1e-14, weight.value - right
"""


def test_float64_weights_follow_schedules():
    done = subprocess.run([sys.executable, "-c", X64], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


# --- Sweeps ---------------------------------------------------------------------------------------


def last_loss(momentum, decay, gamma, loop=True):
    """Everything is made inside; its numbers may be traced."""
    states = new_states()
    optimizer = lrax.SGD(
        lrax.CosineAnnealingLR(0.1, T_max=20),
        momentum=lrax.ExponentialLR(momentum, gamma),
        weight_decay=lrax.LinearLR(decay, 1.0, 0.5, 7),
        grad_clip_norm=lambda epoch: 2.0 - 0.1 * epoch,
    )
    optimizer.register_trainable_weights(states)
    step = step_of(optimizer, states)
    if loop:
        transform.for_loop(lambda _: step(), jnp.arange(STEPS))
    else:
        for _ in range(4):
            step()
    return loss_of(values_of(states))


SWEPT = np.float32([[0.9, 0.1, 0.95], [0.5, 0.3, 0.8], [0.2, 0.01, 0.99]])


@pytest.mark.parametrize("vmap", slow_but([transform.vmap, jax.vmap], jax.vmap))
def test_a_sweep_over_schedules_equals_its_runs(vmap):
    found = jax.jit(vmap(last_loss))(*SWEPT.T)
    right = [last_loss(*map(float, row)) for row in SWEPT]
    assert len(set(map(float, right))) == 3
    assert_close(found, right, rtol=2e-6)


def test_a_loss_has_a_gradient_by_the_numbers_of_a_schedule():
    at = SWEPT[1].astype(float)
    found = jax.jit(jax.grad(lambda row: last_loss(*row, loop=False)))(jnp.float32(at))
    whole = jax.jit(lambda row: last_loss(*row, loop=False))
    for i, slope in enumerate(found):
        h = 0.02 * at[i]
        up, down = (float(whole(jnp.float32(at + d * np.eye(3)[i]))) for d in (h, -h))
        assert_close(slope, (up - down) / (2 * h), rtol=0.02)
        assert abs(float(slope)) > 1e-4
