"""Small weights of one shape are rows of one array for optax: the numbers, the files and the refusals are as without."""

import os
import subprocess
import sys
import textwrap

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_trees_close, assert_trees_equal, compiled_programs
from internals import without_stacks

RNG = np.random.default_rng(0)
SHAPES = {
    **{f"w{i:02d}": (3, 2) for i in range(69)},  # eight arrays of eight rows, and five as they are
    **{f"b{i}": (2,) for i in range(6)},  # one array
    **{f"s{i}": () for i in range(4)},
    **{f"few{i}": (4,) for i in range(3)},
    **{f"large{i}": (33, 32) for i in range(4)},
}
FIRST = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
MAKERS = {
    "SGD": lambda **more: lrax.SGD(0.1, 0.9, 0.01, nesterov=True, **more),
    "Adam": lambda **more: lrax.Adam(0.01, weight_decay=0.01, amsgrad=True, **more),
    "AdamW": lambda **more: lrax.AdamW(0.01, weight_decay=0.1, **more),
}
BY_HAND = {
    "SGD": optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1, 0.9, nesterov=True)),
    "Adam": optax.chain(optax.add_decayed_weights(0.01), optax.amsgrad(0.01)),
    "AdamW": optax.adamw(0.01, weight_decay=0.1),
}
ALL = {
    "groups": {
        "^b": {"lr_scale": 0.5},
        "^w6[5-8]": {"weight_decay": 0.0},
        "^few": {"frozen": True},
    },
    "grad_clip_norm": 3.0,
    "grad_clip_value": lrax.LinearLR(0.5, 0.5, 1.0, 4),
    "accumulate_steps": 2,
    "skip_nonfinite": True,
}
JITS = {"lrax": lrax.jit, "brainstate": brainstate.transform.jit, "eager": lambda fn: fn}
kinds = pytest.mark.parametrize("kind", MAKERS)
EVERYTHING = {"SGD": pytest.mark.weekly, "Adam": pytest.mark.weekly, "AdamW": pytest.mark.slow}


def made(kind, first=FIRST, **more):
    states = {name: brainstate.ParamState(jnp.array(value)) for name, value in first.items()}
    return states, MAKERS[kind](**more).register_trainable_weights(states)


def gradients(values, factor):
    return {name: factor * jnp.sin(3 * value) for name, value in values.items()}


def stepping(states, optimizer, jit=lrax.jit):
    def step(factor):
        optimizer.step(gradients({k: s.value for k, s in states.items()}, factor))
        optimizer.lr.step()

    return jit(step)


def values(states):
    return {name: np.array(state.value) for name, state in states.items()}


def moments(optimizer):
    return jax.tree.leaves(optimizer.opt_state.value.moments)


@pytest.fixture
def unstacked(monkeypatch):
    """From here on nothing is stacked."""
    return lambda: without_stacks(monkeypatch)


@kinds
def test_they_train_where_jax_has_64_bits(kind):
    with jax.enable_x64(True):
        first = {name: value.astype(float) for name, value in FIRST.items()}
        states, optimizer = made(kind, first)
        step = stepping(states, optimizer)
        for factor in (1.0, -2.0, 0.5):
            step(factor)
        weights, state = first, BY_HAND[kind].init(first)
        for factor in (1.0, -2.0, 0.5):
            updates, state = BY_HAND[kind].update(gradients(weights, factor), state, weights)
            weights = optax.apply_updates(weights, updates)
        # The published learning rate is a float32.
        assert_trees_close(values(states), jax.tree.map(np.asarray, weights), rtol=1e-6)
        assert {value.dtype.name for value in values(states).values()} == {"float64"}


@pytest.mark.parametrize("jit", JITS)
@kinds
def test_the_numbers_are_those_of_optax(kind, jit):
    states, optimizer = made(kind)
    step, tx = stepping(states, optimizer, JITS[jit]), BY_HAND[kind]

    @jax.jit
    def by_hand(weights, state, factor):
        updates, state = tx.update(gradients(weights, factor), state, weights)
        return optax.apply_updates(weights, updates), state

    weights = {name: jnp.array(value) for name, value in FIRST.items()}
    state = tx.init(weights)
    for factor in jnp.float32([1, -2, 0.5, 3]):
        step(factor)
        weights, state = by_hand(weights, state, factor)
    assert_trees_close(values(states), jax.tree.map(np.asarray, weights), rtol=1e-5)
    shapes = [leaf.shape for leaf in moments(optimizer)]
    per_weight = {"SGD": 1, "Adam": 3, "AdamW": 2}[kind]
    assert shapes.count((8, 3, 2)) == 8 * per_weight
    assert shapes.count((3, 2)) == 5 * per_weight
    assert shapes.count((33, 32)) == 4 * per_weight
    # With one moment for each weight few are not worth it.
    assert shapes.count((6, 2)) == (0 if kind == "SGD" else per_weight)


@pytest.mark.parametrize(
    "kind, more",
    [
        *(pytest.param(kind, {}, id=f"{kind}, plain") for kind in MAKERS),
        *(
            pytest.param(kind, ALL, id=f"{kind}, with everything", marks=marks)
            for kind, marks in EVERYTHING.items()
        ),
    ],
)
def test_the_numbers_are_those_without_and_a_file_serves_both(kind, more, unstacked):
    factors = jnp.float32([1, -2, np.nan, 0.5, 3, 1, 2]) if more else jnp.float32([1, -2, 0.5])

    def train(states, optimizer):
        step = stepping(states, optimizer)
        for factor in factors:
            step(factor)

    together = made(kind, **more)
    train(*together)
    unstacked()
    apart = made(kind, **more)
    train(*apart)
    assert len(moments(together[1])) < len(moments(apart[1])) / 2
    assert_trees_close(values(together[0]), values(apart[0]), rtol=1e-5)
    saved, other = together[1].state_dict(), apart[1].state_dict()
    assert_trees_close(saved, other, floor=1e-6)  # XLA fuses multiply and add where it likes
    assert {np.shape(leaf) for leaf in saved["opt_state"]["weights"]["w07"].values()} == {
        (),
        (3, 2),
    }
    # Each goes on from the file of the other.
    before = values(together[0])
    for states, optimizer, file in ((*together, other), (*apart, saved)):
        for name, state in states.items():
            state.value = jnp.array(before[name])
        optimizer.load_state_dict(jax.tree.map(np.array, file))
        train(states, optimizer)
    assert_trees_close(values(together[0]), values(apart[0]), rtol=1e-5)


@kinds
def test_a_resumed_training_is_the_same_to_the_bit_and_compiles_nothing(kind):
    whole, optimizer = made(kind)
    step = stepping(whole, optimizer)
    for factor in (1.0, -2.0):
        step(jnp.float32(factor))
    saved, middle = jax.tree.map(np.array, optimizer.state_dict()), values(whole)
    twin, other = made(kind, middle)
    again = stepping(twin, other)
    again(jnp.float32(5.0))
    other.load_state_dict(saved)
    for name, state in twin.items():
        state.value = jnp.array(middle[name])
    with compiled_programs() as compiled:
        for factor in (0.5, 3.0):
            step(jnp.float32(factor))
            again(jnp.float32(factor))
    assert compiled == []
    assert_trees_equal(values(twin), values(whole))


def test_moments_in_rows_are_given_away_and_those_saved_are_not():
    states, optimizer = made("AdamW")
    step = stepping(states, optimizer)
    step(jnp.float32(1))
    saved = optimizer.state_dict()
    before = jax.tree.map(np.array, saved)
    shown = jax.tree.map(np.array, optimizer.optax_states())
    rows = [leaf.unsafe_buffer_pointer() for leaf in moments(optimizer)]
    step(jnp.float32(2))
    assert rows == [leaf.unsafe_buffer_pointer() for leaf in moments(optimizer)]
    assert_trees_equal(saved, before)
    mu = before["opt_state"]["weights"]["w07"]["0.mu"]
    np.testing.assert_array_equal(shown[0][0].mu["w07"], mu)


def test_a_group_that_is_added_begins_anew_and_the_others_go_on():
    states, optimizer = made("SGD")
    stepping(states, optimizer)(jnp.float32(1))
    before = jax.tree.map(np.array, optimizer.optax_states()[0])
    new = {f"new{i:02d}": brainstate.ParamState(jnp.ones((3, 2))) for i in range(64)}
    optimizer.add_param_group(new, lr=0.2)
    assert_trees_equal(optimizer.optax_states()[0], before)
    assert [leaf.shape for leaf in moments(optimizer)][-1] == (8, 3, 2)
    stepping(states | new, optimizer)(jnp.float32(1))
    # Nesterov's first update is (1 + momentum) times the gradient and the decay.
    expected = 1 - 0.2 * 1.9 * (np.sin(3.0) + 0.01)
    assert_close([new["new33"].value], [np.full((3, 2), expected)])
    assert [group["size"] for group in optimizer.param_groups][1] == 64 * 6


def test_half_precision_is_updated_in_float32_beside_others():
    states = {f"h{i}": brainstate.ParamState(jnp.full(3, i, jnp.bfloat16)) for i in range(4)}
    states |= {f"f{i}": brainstate.ParamState(jnp.full(3, i, jnp.float32)) for i in range(4)}
    optimizer = lrax.AdamW(0.5, weight_decay=0.0).register_trainable_weights(states)
    optimizer.step({name: jnp.ones(3) for name in states})
    assert {state.value.dtype.name for name, state in states.items() if name[0] == "h"} == {
        "bfloat16"
    }
    assert_close([states["h2"].value, states["f3"].value], [[1.5] * 3, [2.5] * 3], rtol=1e-5)
    assert [leaf.shape for leaf in moments(optimizer)] == [(8, 3)] * 2
    assert all(leaf.dtype == np.float32 for leaf in moments(optimizer))


def trained_apart(factors):
    for factor in factors:
        states, optimizer = made("AdamW")
        stepping(states, optimizer)(factor)
        yield values(states)


def test_trainings_built_in_a_mapped_function():
    factors = jnp.float32([1, -2, 3])

    def train(factor):
        states, optimizer = made("AdamW")
        stepping(states, optimizer, lambda fn: fn)(factor)
        return {name: state.value for name, state in states.items()}

    mapped = brainstate.transform.vmap(train)(factors)
    for i, apart in enumerate(trained_apart(factors)):
        assert_trees_close({name: np.asarray(v[i]) for name, v in mapped.items()}, apart)


def test_trainings_mapped_over_their_states():
    """Also over the numbers of the rows."""
    factors = jnp.float32([1, -2, 3])
    states, optimizer = made("AdamW")
    every = brainstate.graph.states(optimizer)
    for state in every.values():
        state.value = jax.tree.map(lambda v: jnp.stack([jnp.asarray(v)] * 3), state.value)
    step = stepping(states, optimizer, lambda fn: fn)
    brainstate.transform.vmap(step, in_states=every, out_states=every)(factors)
    moment = optimizer.optax_states()[0][0].mu["w07"]
    for i, apart in enumerate(trained_apart(factors)):
        assert_trees_close({name: value[i] for name, value in values(states).items()}, apart)
        assert_close(moment[i], 0.1 * factors[i] * np.sin(3 * FIRST["w07"]), rtol=1e-5)


def test_others_transformations_and_what_is_on_several_devices_stay_as_they_are():
    script = """
        import brainstate, jax, jax.numpy as jnp, lrax, optax
        from jax.sharding import NamedSharding, PartitionSpec as P

        def shapes(optimizer, put):
            states = {f"w{i}": brainstate.ParamState(put(jnp.ones((4, 2)))) for i in range(8)}
            optimizer.register_trainable_weights(states)
            lrax.jit(lambda: optimizer.step({k: s.value for k, s in states.items()}))()
            return {leaf.shape for leaf in jax.tree.leaves(optimizer.opt_state.value.moments)}

        mesh = jax.make_mesh((2,), ("x",))
        second = jax.devices()[1]
        for spec in (P("x"), P()):
            assert shapes(lrax.AdamW(), lambda v: jax.device_put(v, NamedSharding(mesh, spec))) == {(4, 2)}
        assert shapes(lrax.AdamW(), lambda v: jax.device_put(v, second)) == {(8, 4, 2)}
        assert shapes(lrax.OptaxOptimizer(optax.adamw, lr=0.1), jnp.array) == {(4, 2)}
        assert shapes(lrax.OptaxOptimizer(optax.scale_by_adam(), lr=0.1), jnp.array) == {(4, 2)}
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_a_kernel_is_compiled_once_for_all_rows():
    """What makes it cheap: the program is told the numbers of the rows, so no slice has one of its own."""
    states, optimizer = made("AdamW")
    text = stepping(states, optimizer).lower(jnp.float32(1)).as_text()
    assert text.count("stablehlo.dynamic_slice") == 64 + 6 + 4
