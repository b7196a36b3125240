"""lrax.jit traces anew where jax.jit does: for other settings of jax, and once for random numbers."""

import contextlib

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import compiled_programs
from steps import counter

SETTINGS = {
    "x64": lambda: jax.enable_x64(True),
    "matmul precision": lambda: jax.default_matmul_precision("float32"),
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "random bits": lambda: jax.threefry_partitionable(not jax.config.jax_threefry_partitionable),
    "default device": lambda: jax.default_device(jax.devices()[0]),
    "mesh": lambda: jax.set_mesh(jax.make_mesh((1,), ("x",))),
    "precision of brainstate": lambda: brainstate.environ.context(precision=64),
    "checks": lambda: jax.enable_checks(True),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_traces_for_other_settings_as_jax_does(setting):
    state, traces = counter(1.0), {"lrax": [], "jax": []}

    def double(name, old, x):
        traces[name].append(x)
        return 2 * old, jnp.dot(x, x)

    @lrax.jit
    def ours(x):
        state.value, result = double("lrax", state.value, x)
        return result

    @jax.jit
    def pure(old, x):
        return double("jax", old, x)

    value, x = jnp.float32(1), np.ones((3, 3), np.float32)
    for within in (False, True, False, True, False):
        with SETTINGS[setting]() if within else contextlib.nullcontext():
            with compiled_programs() as compiled:
                ours(x)
            with compiled_programs() as expected:
                value, _ = pure(value, x)
        # jax.jit traces a third time for a value that has come to live on a mesh.
        assert len(traces["lrax"]) == min(len(traces["jax"]), 2)
        assert len(compiled) == len(expected)


def test_a_setting_reaches_the_program():
    state = brainstate.State(jnp.ones((2, 2)))

    @lrax.jit
    def square():
        state.value = state.value @ state.value + np.arange(2)

    square()
    assert "HIGHEST" not in square.lower().as_text()
    with jax.default_matmul_precision("highest"):
        assert "HIGHEST" in square.lower().as_text()
    with jax.numpy_dtype_promotion("strict"), pytest.raises(Exception, match="promotion"):
        square()
    before = np.array(state.value)
    with jax.disable_jit():
        square()
    np.testing.assert_array_equal(state.value, before @ before + np.arange(2))


@pytest.fixture
def unread_key():
    """As in a new process: the default key is numbers that were not read yet."""
    before = brainstate.random.DEFAULT.value
    brainstate.random.DEFAULT.value = np.uint32([3, 5])
    yield
    brainstate.random.DEFAULT.value = before


@pytest.mark.usefixtures("unread_key")
def test_the_first_random_numbers_take_one_trace():
    traces = []

    @lrax.jit
    def draw():
        traces.append(0)
        return brainstate.random.rand(3)

    with compiled_programs() as compiled:
        found = [draw() for _ in range(3)]
    assert len(traces) == len(compiled) == 1
    key = jax.random.wrap_key_data(np.uint32([3, 5]))
    for numbers in found:
        key, used = jax.random.split(key)
        np.testing.assert_array_equal(numbers, jax.random.uniform(used, 3))

    brainstate.random.DEFAULT.value = np.uint32([3, 5])  # a new seed
    np.testing.assert_array_equal(draw(), found[0])
    assert len(traces) == 1


def test_a_random_state_of_its_own_takes_one_program():
    """And two traces: that the function uses it shows only in the first, which makes its key."""
    source, traces = brainstate.random.RandomState(np.uint32([3, 5])), []

    @lrax.jit
    def draw():
        traces.append(0)
        return source.rand(3)

    with compiled_programs() as compiled:
        numbers = [draw(), draw()]
    assert (len(traces), len(compiled)) == (2, 1)
    again = brainstate.random.RandomState(np.uint32([3, 5]))
    np.testing.assert_array_equal(numbers, [again.rand(3), again.rand(3)])
    source.seed()
    draw()
    assert len(traces) == 2


@pytest.mark.parametrize(
    "first, then",
    [
        ((jnp.ones(2),), (jnp.full(4, 2.0),)),
        ((jnp.int32(2),), (jnp.float32(3),)),
        ((jnp.ones(3),), (jnp.ones(3),)),
    ],
    ids=["another shape", "another dtype", "the same"],
)
def test_the_function_itself_runs_where_nothing_is_compiled(first, then):
    state, calls = counter(), []

    @lrax.jit
    def step(x):
        calls.append(x)
        state.value = state.value + 1
        return (x / 2).mean()

    step(*first)
    traced = len(calls)
    with jax.disable_jit():
        assert step(*then) == np.mean(np.asarray(then[0]) / 2)
    assert len(calls) > traced
    assert step(*first) == np.mean(np.asarray(first[0]) / 2)
    assert state.value == 3
