"""What a call of lrax.jit sees, and copies, where the States hold what its last call left them, and where they nearly do."""

import functools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import lrax
from helpers import assert_trees_equal, compiled_programs
from steps import Training, doubled, memory_of

NUMBERS = np.arange(1.0, 65, dtype=np.float32)

# How a State holds an array, and how it is found.
SHAPES = {
    "alone": (lambda array: array, lambda value: value),
    "in a dict": (lambda array: {"weight": array}, lambda value: value["weight"]),
    "in two dicts": (lambda array: {"a": {"b": array}}, lambda value: value["a"]["b"]),
    "in a list": (lambda array: [array, jnp.ones(2)], lambda value: value[0]),
}
shapes = pytest.mark.parametrize("made, found", SHAPES.values(), ids=SHAPES)


def pair(value):
    """A State that holds the value, and another one."""
    return [brainstate.State(value), brainstate.State(jnp.ones(64))]


def called(states, times=3):
    """A program that doubles what the States hold, after some calls."""
    double = doubled(*states)
    for _ in range(times):
        double()
    return double


@shapes
@pytest.mark.parametrize("whole", [False, True], ids=["the array", "what it is in"])
def test_what_is_held_stays_as_it_is(made, found, whole):
    state, other = pair(made(jnp.asarray(NUMBERS)))
    double = called([state, other])
    held = state.value if whole else found(state.value)
    with compiled_programs() as compiled:
        double()
        double()
    assert not compiled
    np.testing.assert_array_equal(found(held) if whole else held, 8 * NUMBERS)
    np.testing.assert_array_equal(found(state.value), 32 * NUMBERS)


# What keeps something of what the State of an optimizer holds, and gives it.
HOLDERS = {
    "the leaves": lambda state: functools.partial(tuple, jax.tree.leaves(state.value)),
    "the value": lambda state: functools.partial(tuple, state.value),
    "the moments": lambda state: functools.partial(tuple, state.value.moments),
    "the inner tuple": lambda state: functools.partial(tuple, state.value.moments[0]),
    "a copy of the State": lambda state: functools.partial(getattr, state.copy(), "value"),
    "another State": lambda state: functools.partial(getattr, brainstate.State(state.value), "value"),
}  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
def test_moments_that_are_held_stay_as_they_are(holder):
    run = Training(lrax.jit)
    for _ in range(3):
        run.step(*run.batch)
    held = HOLDERS[holder](run.optimizer.opt_state)
    before = jax.tree.map(np.array, held())
    run.step(*run.batch)
    run.step(*run.batch)
    assert_trees_equal(held(), before)


@shapes
def test_what_nobody_holds_is_not_copied(made, found):
    state, other = pair(made(jnp.asarray(NUMBERS)))
    double = called([state, other])
    before = memory_of([state, other])
    double()
    assert memory_of([state, other]) == before


def put(state):
    state.value["weight"] = jnp.full(64, 7.0)


def renamed(state):
    state.value["other"] = state.value.pop("weight")


def added(state):
    state.value["zero"] = jnp.zeros(2)


def replaced(state):
    state.value = jnp.full(64, 7.0)


def copied(state):
    state.value = dict(state.value)


def emptied(state):
    state.value.clear()


@pytest.mark.parametrize("change", [put, renamed, added, replaced, copied, emptied])
def test_what_was_changed_in_place_is_seen(change):
    state, other = pair({"weight": jnp.asarray(NUMBERS)})
    double = called([state, other])
    change(state)
    expected = jax.tree.map(lambda leaf: 2 * np.array(leaf), state.value)
    double()
    assert jax.tree.structure(state.value) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, state.value, expected)
    np.testing.assert_array_equal(other.value, np.full(64, 16.0))


def test_an_entry_was_moved_from_one_state_to_another():
    first, second = ({name: jnp.full(64, n)} for n, name in enumerate("ab", start=1))
    states = [brainstate.State(first), brainstate.State({**second, "c": jnp.full(64, 3)})]
    double = called(states)
    states[0].value["b"] = states[1].value.pop("b")
    double()
    assert_trees_equal(states[0].value, {"a": np.full(64, 16), "b": np.full(64, 32)})
    assert_trees_equal(states[1].value, {"c": np.full(64, 48)})


def test_a_list_in_a_state_was_changed_in_place():
    state = brainstate.State([jnp.asarray(NUMBERS), jnp.ones(2)])
    double = called([state])
    state.value[1] = jnp.full(2, 3.0)
    double()
    np.testing.assert_array_equal(state.value[1], [6, 6])


@pytest.mark.parametrize("structure", [lambda v: {"a": v}, lambda v: [v, v]])
def test_what_is_only_read_becomes_a_tree(structure):
    """Of other shapes than what is written, so that nobody asks where it is from."""
    state, read = brainstate.State(jnp.asarray(NUMBERS)), brainstate.State(jnp.ones(3))

    @lrax.jit
    def step():
        state.value = state.value + sum(map(jnp.sum, jax.tree.leaves(read.value)))

    step()
    step()
    held = state.value
    read.value = structure(jnp.ones(3))
    step()
    np.testing.assert_array_equal(held, NUMBERS + 6)
    np.testing.assert_array_equal(state.value, NUMBERS + 6 + 3 * len(jax.tree.leaves(read.value)))


@shapes
def test_what_is_only_read_is_given_the_memory_of_what_is_written(made, found):
    """As a target network that is set to the weights, and keeps what they were."""
    state, target = brainstate.State(jnp.asarray(NUMBERS)), brainstate.State(made(jnp.ones(64)))

    @lrax.jit
    def step():
        state.value = state.value + found(target.value)

    for _ in range(3):
        step()
    target.value = made(jax.device_put(state.value, jax.devices()[0]))
    for n in range(3):
        step()
        np.testing.assert_array_equal(found(target.value), NUMBERS + 3)
        np.testing.assert_array_equal(state.value, (n + 2) * (NUMBERS + 3))


@pytest.mark.parametrize("kept", [lambda v: {"a": v}, lambda v: (v, [v])])
@pytest.mark.parametrize("size", [64, 3], ids=["alike", "unlike"])
@pytest.mark.parametrize("donate", [True, False])
def test_what_is_only_read_is_changed_by_a_callback(kept, size, donate):
    state, read = brainstate.State(jnp.zeros(64)), brainstate.State(kept(jnp.ones(size)))
    calls = []

    def callback():
        calls.append(len(calls))
        if len(calls) == 4:
            read.value = kept(jnp.full(size, 5.0))
        elif len(calls) == 6 and isinstance(read.value, dict):
            read.value["b"] = jnp.zeros(2)
        return np.float32(1)

    @lrax.jit(donate=donate)
    def step():
        one = io_callback(callback, jax.ShapeDtypeStruct((), np.float32), ordered=True)
        state.value = state.value + one * jax.tree.leaves(read.value)[0].mean()

    for _ in range(8):
        step()
    assert calls == [*range(8)]
    np.testing.assert_array_equal(state.value, np.full(64, 4 * 1 + 4 * 5))


@pytest.mark.parametrize("donate", [True, False])
@pytest.mark.parametrize("typed", [True, False])
def test_a_random_key_that_was_seeded_again(donate, typed):
    source, state = brainstate.random.RandomState(7), brainstate.State(jnp.ones(64))
    if typed:
        source.value = jax.random.key(7)

    @lrax.jit(donate=donate)
    def draw():
        state.value = state.value + 1
        return source.rand(3)

    first = [np.array(draw()) for _ in range(3)]
    source.seed(7)
    np.testing.assert_array_equal([draw() for _ in range(3)], first)
    np.testing.assert_array_equal(state.value, np.full(64, 7.0))


def test_an_error_in_the_next_call_leaves_everything():
    state, other = pair({"weight": jnp.asarray(NUMBERS)})

    @lrax.jit
    def scale(by):
        state.value = {"weight": by * state.value["weight"]}
        other.value = other.value + 1

    for _ in range(3):
        scale(2.0)
    with pytest.raises(TypeError):
        scale("two")
    np.testing.assert_array_equal(state.value["weight"], 8 * NUMBERS)
    scale(2.0)
    np.testing.assert_array_equal(state.value["weight"], 16 * NUMBERS)
    np.testing.assert_array_equal(other.value, np.full(64, 5.0))
