"""Several gradients for one update: beside optax and float64, in between, compiled, mapped, saved and resumed."""

import itertools
import warnings

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from counted import (
    ALL,
    CHAINS,
    MAGNITUDES,
    RNG,
    SHAPES,
    START,
    begin,
    everything,
    gradients,
    mean_of,
    spoiled,
    stacked,
    values,
)
from formats import ANY, name_of
from helpers import assert_close, assert_same_bits, assert_trees_equal, compiled_programs, slow_but
from saved import contents
from steps import jits, memory_of

transform = brainstate.transform


# --- The mean ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("k", slow_but([2, 3, 7], 3))
def test_bits_of_multisteps_around_the_chain(k, chain):
    ours, theirs = CHAINS[chain]
    tx = optax.MultiSteps(theirs(), k)

    @jax.jit
    def update(weights, state, g):
        updates, state = tx.update(g, state, weights)
        return optax.apply_updates(weights, updates), state

    for kind in MAGNITUDES:
        optimizer, weights = begin(ours, accumulate_steps=k)
        step = lrax.jit(optimizer.step)
        expected = {name: jnp.array(value) for name, value in START.items()}
        state = tx.init(expected)
        for call, g in enumerate(gradients(3 * k - 1, kind), start=1):
            step(g)
            expected, state = update(expected, state, g)
            means = optimizer.opt_state.value.beside["means"]
            for name in SHAPES:
                assert_same_bits(weights[name].value, expected[name])
                assert_same_bits(means[name], state.acc_grads[name] + 0.0)  # theirs may be -0
            assert int(optimizer.step_count) == int(state.gradient_step) == call // k


@pytest.mark.parametrize("k", [2, 3, 4, 7, 10])
def test_the_exact_mean_within_the_rounding_of_float32(k):
    optimizer, _ = begin(lambda **options: lrax.SGD(lr=0.1, **options), accumulate_steps=k + 1)
    for kind in MAGNITUDES:
        *grads, last = gradients(k + 1, kind)
        for g in grads:
            optimizer.step(g)
        means = optimizer.opt_state.value.beside["means"]
        for name, exact in mean_of(grads).items():
            largest = np.abs([np.float64(g[name]) for g in grads]).max(axis=0)
            assert (np.abs(means[name] - exact) <= 2 * 2**-23 * largest).all(), kind
        optimizer.step(last)


def test_equal_to_one_large_batch():
    """Clipping and decay see the mean: each quarter's gradient alone would be clipped otherwise."""
    x, y = RNG.normal(size=(16, 7)), RNG.normal(size=16)
    w, lr, decay, norm = np.float64(START["b"]), 0.1, 0.05, 0.5
    sgd = lambda **options: lrax.SGD(lr=lr, weight_decay=decay, grad_clip_norm=norm, **options)  # noqa: E731
    optimizer, weights = begin(sgd, {"b": START["b"]}, accumulate_steps=4)
    for _ in range(5):
        whole = 2 * x.T @ (x @ w - y) / 16
        assert np.linalg.norm(whole) > norm
        for part in range(4):
            own = slice(4 * part, 4 * part + 4)
            error = x[own] @ np.float64(weights["b"].value) - y[own]
            optimizer.step({"b": np.float32(2 * x[own].T @ error / 4)})
        assert_close(optimizer.grad_norm, np.linalg.norm(whole), rtol=3e-6)
        w = w - lr * (whole * norm / np.linalg.norm(whole) + decay * w)
        assert_close(weights["b"].value, w, rtol=1e-5, floor=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_averaged_in_float32(dtype):
    start = {name: jnp.asarray(value, dtype) for name, value in START.items()}
    optimizer, weights = begin(start=start, accumulate_steps=10)
    grads = [jax.tree.map(lambda g: g.astype(dtype), g) for g in gradients(9, "of one sign")]
    for g in grads:
        optimizer.step(g)
    means = optimizer.opt_state.value.beside["means"]
    for name, exact in mean_of(grads).items():
        assert means[name].dtype == np.float32
        assert_close(means[name], exact, rtol=3e-7)
        assert weights[name].value.dtype == dtype
        np.testing.assert_array_equal(weights[name].value, start[name])


@jits
def test_nothing_moves_between_two_updates(jit):
    optimizer, weights = begin(CHAINS["SGD, clipped by norm"][0], accumulate_steps=4)
    step = jit(optimizer.step)
    moments = lambda: jax.tree.map(np.array, optimizer.opt_state.value.moments)  # noqa: E731
    before, learned = values(weights), moments()
    for call, g in enumerate(gradients(12), start=1):
        step(g)
        assert int(optimizer.step_count) == call // 4
        if call % 4:
            assert_trees_equal((values(weights), moments()), (before, learned))
        else:
            assert not any(np.array_equal(before[name], weights[name].value) for name in SHAPES)
        before, learned = values(weights), moments()


def test_extra_arguments_are_those_of_the_last_call():
    scale = np.float32([1.0, 3.0, 10.0])

    def loss(tree):
        return 0.5 * jnp.sum(scale * tree["w"] ** 2) + jnp.sum(jnp.cos(tree["w"]))

    make = lambda **options: lrax.OptaxOptimizer(optax.lbfgs(memory_size=4), **options)  # noqa: E731
    optimizer, weights = begin(make, {"w": scale}, accumulate_steps=2)
    tx, expected = optax.MultiSteps(optax.lbfgs(memory_size=4), 2), {"w": jnp.asarray(scale)}
    state = tx.init(expected)

    def ours():
        value, g = jax.value_and_grad(loss)({"w": weights["w"].value})
        optimizer.step(g, value=value, grad=g, value_fn=loss)

    @jax.jit
    def theirs(expected, state):
        value, g = jax.value_and_grad(loss)(expected)
        updates, state = tx.update(g, state, expected, value=value, grad=g, value_fn=loss)
        return optax.apply_updates(expected, updates), state

    compiled = lrax.jit(ours)
    for _ in range(8):
        compiled()
        expected, state = theirs(expected, state)
        assert_close(weights["w"].value, expected["w"], rtol=1e-4)
    assert loss(expected) < loss({"w": scale}) / 10


# --- One program, its memory -------------------------------------------------------------------------


@jits
def test_one_program_and_one_structure(jit):
    optimizer, _ = begin(**ALL)
    step = jit(optimizer.step)
    kinds = lambda: jax.tree.map(lambda v: (np.shape(v), v.dtype), optimizer.opt_state.value)  # noqa: E731
    before, grads = kinds(), [*gradients(6), spoiled("a", np.nan)]
    with compiled_programs() as compiled:
        for g in grads:
            step(g)
            assert kinds() == before
    assert len(compiled) == 1


def test_accumulators_keep_their_memory():
    weights = {"w": np.ones((256, 256), np.float32)}
    for options in ({"accumulate_steps": 4}, ALL):
        optimizer, states = begin(lambda **own: lrax.Adam(lr=0.1, **own), weights, **options)
        step, g = lrax.jit(optimizer.step), {"w": jnp.ones((256, 256))}
        step(g)
        before = memory_of([optimizer.opt_state, *states.values()])
        for _ in range(4):
            step(g)
            assert memory_of([optimizer.opt_state, *states.values()]) == before
        sizes, one = step.lower(g).compile().memory_analysis(), weights["w"].nbytes
        assert sizes.alias_size_in_bytes >= 4 * one  # weight, mean, two moments
        # Not more, as with a lax.switch of three: the mean, and what is clipped or has a norm.
        assert sizes.temp_size_in_bytes <= (1.1 + ("log_grad_norm" in options)) * one


@pytest.mark.parametrize("map_", slow_but([transform.vmap, jax.vmap], transform.vmap))
def test_mapped_trainings_skip_and_count_each_by_itself(map_):
    grads = stacked(gradients(8))
    bad = np.zeros((2, 8), bool)
    bad[0, [1, 4]] = True

    def train(lr, bad):
        optimizer, weights = begin(lambda **own: lrax.AdamW(lr=lr, **own), **ALL)

        def step(inputs):
            g, spoil = inputs
            optimizer.step(jax.tree.map(lambda v: jnp.where(spoil, jnp.nan, v), g))

        transform.for_loop(step, (grads, bad))
        counts = (optimizer.step_count.value, optimizer.skipped.value)
        return {name: state.value for name, state in weights.items()}, counts

    rates = np.float32([0.1, 0.03])
    found, (updates, skipped) = map_(train)(rates, bad)
    assert (updates.tolist(), skipped.tolist()) == ([2, 2], [2, 0])
    for i, lr in enumerate(rates):
        single, _ = jax.jit(train)(lr, bad[i])
        for name, expected in single.items():
            assert_close(found[name][i], expected, floor=1e-6)


# --- Saved in between --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ANY, ids=name_of)
def test_resumed_in_the_middle_of_an_accumulation(way, tmp_path):
    grads = [*gradients(4), spoiled("b", np.nan), *gradients(5)]
    optimizer, weights = begin(**ALL)
    for g in grads[:6]:
        optimizer.step(g)
    saved, values_then = optimizer.state_dict(), values(weights)
    twin, resumed = begin(start=values_then, **ALL)
    twin.load_state_dict(way(saved, twin.state_dict(), tmp_path))
    assert_trees_equal(contents(twin), contents(optimizer))
    for g in grads[6:]:
        optimizer.step(g)
        twin.step(g)
        assert_trees_equal(everything(twin, resumed), everything(optimizer, weights))
    assert (int(twin.step_count), int(twin.skipped)) == (3, 1)


@pytest.mark.parametrize("saved, here", [*itertools.permutations([1, 3, 5], 2)])
def test_another_number_of_gradients_begins_a_new_mean(saved, here):
    grads = gradients(6 + here)
    optimizer, weights = begin(accumulate_steps=saved, log_grad_norm=True)
    for g in grads[:4]:
        optimizer.step(g)
    twin, _ = begin(start=values(weights), accumulate_steps=here, log_grad_norm=True)
    with pytest.warns(UserWarning, match=f"accumulate_steps: saved {saved}, here {here}"):
        twin.load_state_dict(optimizer.state_dict(), strict=False)
    assert int(twin.step_count) == int(optimizer.step_count)
    for g in grads[4 : 4 + here]:
        twin.step(g)
    mean = mean_of(grads[4 : 4 + here])
    assert_close(twin.grad_norm, np.sqrt(sum(np.sum(g**2) for g in mean.values())))
    assert int(twin.step_count) == int(optimizer.step_count) + 1


def test_other_changes_leave_the_mean_alone():
    grads = gradients(3)
    optimizer, weights = begin(accumulate_steps=3, log_grad_norm=True)
    twin, _ = begin(CHAINS["AdamW, clipped by value"][0], accumulate_steps=3, log_grad_norm=True)
    other = lrax.AdamW(lr=0.1, weight_decay=0.3, accumulate_steps=3, log_grad_norm=True)
    other.register_trainable_weights(
        {n: brainstate.ParamState(v) for n, v in values(weights).items()}
    )
    for g in grads[:2]:
        optimizer.step(g)
    twin.load_state_dict(optimizer.state_dict())
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        other.load_state_dict(optimizer.state_dict(), strict=False)
    assert len(found) == 1
    for one in (optimizer, twin, other):
        one.step(grads[2])
    assert optimizer.grad_norm == twin.grad_norm == other.grad_norm > 0


@pytest.mark.parametrize("how", ["a group", "further weights", "a load"])
def test_weights_that_join_in_between_begin_a_new_mean(how):
    """A mean that counts gradients which a weight never had would be too small."""
    optimizer, _ = begin(start={"a": START["a"]}, accumulate_steps=2, log_grad_norm=True)
    first, *later = gradients(3)
    optimizer.step({"a": first["a"]})
    joined = brainstate.ParamState(jnp.array(START["b"]))
    if how == "a group":
        optimizer.add_param_group({"b": joined})
    elif how == "further weights":
        optimizer.register_trainable_weights({"b": joined})
    else:
        saved = optimizer.state_dict()
        optimizer, _ = begin(accumulate_steps=2, log_grad_norm=True)
        with pytest.warns(UserWarning, match="begin with fresh moments: b"):
            optimizer.load_state_dict(saved, strict=False)
    for g in later:
        assert int(optimizer.step_count) == 0
        optimizer.step(g)
    assert int(optimizer.step_count) == 1
    norm = np.sqrt(sum(np.sum(mean**2) for mean in mean_of(later).values()))
    assert_close(optimizer.grad_norm, norm)
