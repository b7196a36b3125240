"""Compiled functions that are called from several threads, and within one another."""

import _thread
import threading

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import lrax
from steps import counter

THREADS, CALLS = 4, 100


def at_once(*functions):
    """Run them in threads that start together; all that they raise."""
    barrier, errors = threading.Barrier(len(functions)), []

    def run(function):
        barrier.wait()
        try:
            function()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[f], daemon=True) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a deadlock"
    return errors


def repeated(function, *args):
    return lambda: [function(*args) for _ in range(CALLS)]


def test_one_function_from_several_threads():
    states = [brainstate.State(jnp.zeros(4)) for _ in range(3)]

    @lrax.jit
    def add(x):
        for state in states:
            state.value = state.value + x

    assert not at_once(*[repeated(add, 1.0)] * THREADS)
    for state in states:
        np.testing.assert_array_equal(state.value, np.full(4, THREADS * CALLS))


def test_functions_that_share_states_from_several_threads():
    """Each is traced in its thread, while others run: then its States hold tracers."""
    state, sums = brainstate.State(jnp.zeros(4)), []

    def add(x):
        state.value = state.value + x

    def look():
        return state.value.sum()

    writers = [lrax.jit(lambda x: add(x)) for _ in range(3)]
    reader = lrax.jit(look)
    assert not at_once(
        *(repeated(writer, 1.0) for writer in writers),
        lambda: sums.extend(float(reader()) for _ in range(CALLS)),
    )
    np.testing.assert_array_equal(state.value, np.full(4, 3 * CALLS))
    assert sums == sorted(sums)


@pytest.fixture
def nested():
    """A compiled function that has `act[0]` called while it runs, and the State it writes."""
    state, act = counter(), [lambda: None]

    def call(x):
        act[0]()
        return np.asarray(x)

    @lrax.jit
    def outer():
        state.value = state.value + 1
        return io_callback(call, jax.ShapeDtypeStruct((), np.float32), state.value, ordered=True)

    return outer, state, act


def test_a_call_within_a_call(nested):
    outer, state, act = nested
    other = counter()

    @lrax.jit
    def inner():
        other.value = other.value + 1

    act[0] = inner
    assert not at_once(lambda: [float(outer()) for _ in range(3)])
    assert (state.value, other.value) == (3, 3)


def test_a_call_in_a_thread_that_another_call_waits_for(nested):
    """A callback is often run by a thread of XLA, and the call returns only after it."""
    outer, state, act = nested
    other, waits = counter(), []

    @lrax.jit
    def inner():
        other.value = other.value + 1

    def elsewhere():
        done = threading.Event()
        _thread.start_new_thread(lambda: (inner(), done.set()), ())
        waits.append(done.wait(timeout=15))

    act[0] = elsewhere
    assert not at_once(lambda: [float(outer()) for _ in range(3)])
    assert waits == [True, True, True]
    assert (state.value, other.value) == (3, 3)


def test_a_call_in_a_hook():
    state, total = counter(), counter()

    @lrax.jit
    def note(value):
        total.value = total.value + value

    def hook(ctx):
        if not isinstance(ctx.value, jax.core.Tracer):
            note(ctx.value)

    state.register_hook("write_after", hook)

    @lrax.jit
    def add():
        state.value = state.value + 1

    assert not at_once(lambda: [add() for _ in range(3)])
    assert (state.value, total.value) == (3, 1 + 2 + 3)
