"""What lrax.jit gives away, nothing else refers to; and what nothing else refers to, it does not copy."""

import copy
import functools
import gc
import operator
import weakref

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_trees_equal, compiled_programs
from steps import Training, counter, doubled, memory_of

transform = brainstate.transform


def vector(start=0.0):
    return brainstate.State(start + jnp.arange(64.0))


# --- Somebody else holds it ---------------------------------------------------------------------------


# What keeps something of {"a": {"b": array}}, and gives the array.
HOLDERS = {
    "a variable": lambda tree: functools.partial(np.asarray, tree["a"]["b"]),
    "a list": lambda tree: functools.partial(operator.getitem, [tree["a"]["b"]], 0),
    "the same array, reshaped": lambda tree: functools.partial(np.asarray, tree["a"]["b"].reshape(-1)),
    "a view of NumPy": lambda tree: functools.partial(np.array, np.asarray(tree["a"]["b"])),
    "a memoryview": lambda tree: functools.partial(np.array, memoryview(tree["a"]["b"])),
    "another dict": lambda tree: functools.partial(operator.getitem, {**tree["a"]}, "b"),
    "the inner dict": lambda tree: functools.partial(operator.getitem, tree["a"], "b"),
    "the whole value": lambda tree: functools.partial(lambda tree: tree["a"]["b"], tree),
    "another State": lambda tree: functools.partial(lambda s: s.value["b"], brainstate.State(tree["a"])),
}  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("calls", [0, 2], ids=["at first", "later"])
def test_an_array_that_somebody_holds_is_copied_once(holder, calls):
    state = brainstate.State({"a": {"b": 1 + jnp.arange(64.0)}, "c": jnp.ones(3)})
    double = doubled(state)
    for _ in range(calls):
        double()
    expected = np.array(state.value["a"]["b"])
    held = HOLDERS[holder](state.value)
    double()
    np.testing.assert_array_equal(held(), expected)
    np.testing.assert_array_equal(state.value["a"]["b"], 2 * expected)
    before = memory_of([state])
    double()
    assert memory_of([state]) == before
    np.testing.assert_array_equal(held(), expected)


ALIASES = {
    "device_put": lambda array: jax.device_put(array, jax.devices()[0]),
    "addressable_data": lambda array: array.addressable_data(0),
    "from_dlpack": jnp.from_dlpack,
}


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("calls", [0, 2], ids=["at first", "written since"])
def test_another_array_with_the_memory_of_one_that_came_from_outside(alias, calls):
    state = vector()
    double = doubled(state)
    for _ in range(calls):
        double()
    state.value = 1 + jnp.arange(64.0)
    twin, expected = ALIASES[alias](state.value), np.array(state.value)
    assert twin is not state.value
    assert twin.unsafe_buffer_pointer() == state.value.unsafe_buffer_pointer()
    double()
    np.testing.assert_array_equal(twin, expected)
    np.testing.assert_array_equal(state.value, 2 * expected)


def test_memory_of_numpy_is_not_written():
    room = np.ones(1024 + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    mine = room[start : start + 1024]
    state = brainstate.State(jax.device_put(mine))
    assert state.value.unsafe_buffer_pointer() == mine.ctypes.data  # no copy was made
    double = doubled(state)
    double()
    double()
    assert (mine == 1).all()
    assert (np.asarray(state.value) == 4).all()


COPIES = {
    "clone": brainstate.graph.clone,
    "deepcopy": copy.deepcopy,
    "split and merge": lambda node: brainstate.graph.treefy_merge(*brainstate.graph.treefy_split(node)),
}  # fmt: skip


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("first", ["original", "copy"])
@pytest.mark.parametrize("calls", [0, 2], ids=["at first", "later"])
def test_a_copy_of_an_optimizer_is_independent(copied, first, calls):
    results = {}
    for donate in (True, False):
        scheduler = lrax.StepLR(0.1, step_size=1, gamma=0.5)
        optimizer = lrax.Adam(lr=scheduler)
        weight = brainstate.ParamState(jnp.ones(3))
        optimizer.register_trainable_weights({"w": weight})

        def step(optimizer):
            optimizer.step({"w": jnp.arange(3.0)})

        ours = lrax.jit(lambda o=optimizer: step(o), donate=donate)
        for _ in range(calls):
            ours()
        twin = copied(optimizer)
        theirs = lrax.jit(lambda o=twin: step(o), donate=donate)
        for call in (ours, theirs, theirs) if first == "original" else (theirs, ours, ours):
            call()
        results[donate] = [
            jax.tree.map(np.array, (node.param_states["w"].value, node.state_dict()))
            for node in (optimizer, twin)
        ]
    assert_trees_equal(results[True], results[False])


def test_a_random_key_that_was_put_aside():
    source = brainstate.random.RandomState(7)
    draw = lrax.jit(lambda: source.rand(3))
    draw()
    source.backup_key()
    first = np.array(draw())
    source.restore_key()
    np.testing.assert_array_equal(draw(), first)


# --- Nobody does --------------------------------------------------------------------------------------


def test_the_first_call_copies_nothing():
    run = Training(lrax.jit)
    before = memory_of(run.written)
    assert len(before) == 2 + 4  # weights and moments
    run.step(*run.batch)
    assert {*before} < {*memory_of(run.written)}  # counts were on the host


def test_what_was_written_from_outside_is_not_copied():
    state = vector()
    double = doubled(state)
    double()
    for _ in range(2):
        state.value = state.value + 1
        before = memory_of([state])
        double()
        assert memory_of([state]) == before


@pytest.mark.parametrize("read", [False, True], ids=["both write", "one reads"])
def test_two_programs_that_take_turns_copy_nothing(read):
    state, other = vector(), vector(1.0)

    @lrax.jit
    def add():
        state.value = state.value + 1

    @lrax.jit
    def scale():
        other.value = 2 * other.value + state.value
        if not read:
            state.value = state.value / 2

    states = [state, other]
    before = memory_of(states)
    for _ in range(3):
        add()
        scale()
        scale()
        add()
        assert memory_of(states) == before


def test_a_copy_is_no_program():
    state = brainstate.State(jnp.arange(67.0))
    double = doubled(state)
    held = [state.value]
    with compiled_programs() as compiled:
        for _ in range(3):
            double()
            held.append(state.value)
    assert len(compiled) == 1
    for n, array in enumerate(held):
        np.testing.assert_array_equal(array, 2**n * np.arange(67))


def test_a_program_that_only_reads_keeps_nothing():
    """Not even what was replaced since."""
    state = vector()
    total = lrax.jit(lambda: state.value.sum())
    total()
    before = len(jax.live_arrays())
    state.value = np.zeros(64, np.float32)
    assert len(jax.live_arrays()) == before - 1


def one_that_nobody_else_knows(passes):
    """A State, referred to weakly, and a program that writes it."""
    state = brainstate.State({"new": jnp.zeros(64), "same": jnp.ones(64)})

    @lrax.jit
    def step():
        same = state.value["same"]
        state.value = {"new": state.value["new"] + 1, "same": same if passes else 2 * same}

    return weakref.ref(state), step


@pytest.mark.parametrize("passes", [False, True])
def test_what_a_program_was_compiled_for_goes_with_it(passes):
    """And does not wait for the garbage collector."""
    state, step = one_that_nobody_else_knows(passes)
    gc.collect()
    gc.disable()
    try:
        step()
        step()
        del step
        assert state() is None
    finally:
        gc.enable()


def test_a_number_of_python_does_not_look_held():
    state = brainstate.State(3)  # everybody refers to it
    double = doubled(state)
    double()
    before = memory_of([state])
    double()
    assert memory_of([state]) == before
    assert counter(12.0).value == state.value


def test_what_a_program_only_reads_it_has_not_made():
    first = vector()
    second = brainstate.State(jax.device_put(first.value, jax.devices()[0]))
    total = brainstate.State(jnp.zeros(()))
    evaluate = lrax.jit(lambda: setattr(total, "value", total.value + first.value.sum()))
    evaluate()
    doubled(first)()
    np.testing.assert_array_equal(second.value, np.arange(64.0))
    np.testing.assert_array_equal(first.value, 2 * np.arange(64.0))


@pytest.mark.parametrize("kept", [lambda v: {"a": v}, lambda v: (v,), lambda v: [v, v]])
def test_a_state_becomes_a_tree_while_another_has_to_be_copied(kept):
    read, written = brainstate.State(jnp.ones(3)), brainstate.State(jnp.ones(3))

    @lrax.jit
    def step():
        written.value = 2 * written.value + sum(jax.tree.leaves(read.value))

    step()
    old = written.value
    read.value = kept(jnp.ones(3))
    step()
    np.testing.assert_array_equal(old, [3] * 3)
    np.testing.assert_array_equal(written.value, [6 + len(jax.tree.leaves(read.value))] * 3)
