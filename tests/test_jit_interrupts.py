"""A call that is interrupted leaves the States as they were, or as it makes them, or says that they are lost."""

import functools
import gc
import os
import signal
import sys
import time

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import slow_but
from steps import counter

ROOM = os.path.join("lrax", "jit", "")
OPEN = (os.path.join(ROOM, "program.py"), os.path.join(ROOM, "sharing.py"), "internals.py")


def interrupted(call, at):
    """Call it, and interrupt it before the instruction of lrax with that number; whether it came so far."""
    left = [at]

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.endswith(OPEN):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def of_arrays():
    return brainstate.State(jnp.zeros(3)), lambda value: value


def of_dicts():
    return brainstate.State({"a": jnp.zeros(3), "same": jnp.ones(3)}), lambda value: value["a"]


def hooked():
    state, read = of_arrays()
    state.register_hook("write_after", lambda ctx: None)
    return state, read


@pytest.fixture
def alone(monkeypatch):
    """Arrays that other tests left behind are not looked through: each would be instructions more."""
    live, old = jax.live_arrays, {id(array): array for array in jax.live_arrays()}
    monkeypatch.setattr(jax, "live_arrays", lambda: [a for a in live() if id(a) not in old])


@pytest.mark.parametrize("make", slow_but([of_arrays, of_dicts, hooked], of_arrays))
@pytest.mark.parametrize("donate", [True, False])
def test_an_interrupt_at_any_instruction_loses_nothing(make, donate, alone):
    (one, read), (two, _) = make(), make()

    def increase():
        for state in (one, two):
            state.value = jax.tree.map(lambda leaf: leaf + 1, state.value)

    increase = lrax.jit(increase, donate=donate)
    increase()
    assert not interrupted(increase, 0)  # in the first such call Python 3.12 counts nothing
    count, at = 2, 0
    while True:
        at += 1
        stopped = interrupted(increase, at)
        values = [np.array(read(state.value)) for state in (one, two)]
        np.testing.assert_array_equal(values[0], values[1])
        assert values[0][0] in ((count, count + 1) if stopped else (count + 1,))
        count = values[0][0]
        if not stopped:
            break
    assert at > 100


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
def test_a_signal_at_any_time_loses_nothing():
    """Most arrive while XLA runs."""
    states = [brainstate.State(jnp.zeros(4)) for _ in range(6)]

    @lrax.jit
    def increase():
        for state in states:
            state.value = state.value + 1

    class Interrupt(BaseException):
        pass

    def interrupt(*_):
        raise Interrupt

    increase()
    interrupts = 0
    rng, before = np.random.default_rng(0), signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # what is raised in jax's callback of the garbage collector goes nowhere
    try:
        for delay in rng.uniform(1e-3, 4e-3, size=60):
            until = time.monotonic() + 1
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                while time.monotonic() < until:
                    increase()
            except Interrupt:
                interrupts += 1
            values = np.array([state.value for state in states])
            assert (values == values[0, 0]).all()
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert interrupts > 50


@jax.tree_util.register_pytree_node_class
class Result:
    """Has `act` called while a call makes it, after XLA has run and before States are written."""

    act = staticmethod(lambda: None)

    def __init__(self, value):
        self.value = value

    def tree_flatten(self):
        return (self.value,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        cls.act()
        return cls(*children)


def returns_a_result(state, donate=True):
    @functools.partial(lrax.jit, donate=donate)
    def increase():
        state.value = state.value + 1
        return Result(2 * state.value)

    assert increase().value == 2
    return increase


@pytest.mark.parametrize("donate", [True, False])
def test_what_an_interrupt_does_lose_it_names(donate, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    state = counter()
    increase = returns_a_result(state, donate)
    with monkeypatch.context() as patch:
        patch.setattr(Result, "act", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            increase()
    notes = "".join(getattr(caught.value, "__notes__", []))
    if donate:
        assert "values are lost" in notes
        assert "checkpoint" in notes
        assert "donate=False" in notes
        with pytest.raises(RuntimeError, match="donate=False"):
            increase()
        state.value = jnp.float32(1)
    assert not notes or donate
    assert increase().value == 4


def test_what_a_running_call_writes_cannot_be_read(monkeypatch):
    state, errors = counter(), []
    increase, look = returns_a_result(state), lrax.jit(lambda: state.value.sum())
    look()

    def read():
        for way in (look, lambda: jnp.sum(state.value), lambda: state.value.shape):
            with pytest.raises(RuntimeError, match=r"while a call .* donate=False") as caught:
                way()
            errors.append(caught)

    monkeypatch.setattr(Result, "act", read)
    assert increase().value == 4
    assert len(errors) == 3
    assert look() == 2


READS = {
    "rates": lambda scheduler: scheduler.current_lrs.value[0],
    "last rates": lambda scheduler: scheduler.get_last_lr(),
    "number": lambda scheduler: int(scheduler.last_epoch.value),
    "sum": lambda scheduler: 1 + scheduler.last_epoch.value,
    "comparison": lambda scheduler: scheduler.last_epoch.value == 1,
    "text": lambda scheduler: f"{scheduler.last_epoch.value}",
}


@pytest.mark.parametrize("name", READS)
def test_off_the_cpu_clocks_and_rates_cannot_be_read_meanwhile(name, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    scheduler, errors = lrax.ExponentialLR(0.1, gamma=0.5), []

    @lrax.jit
    def step():
        scheduler.step()
        return Result(scheduler.last_epoch.value)

    def read():
        with pytest.raises(RuntimeError, match=r"a callback, .*handler .*donate=False") as caught:
            READS[name](scheduler)
        errors.append(caught)

    step()
    with monkeypatch.context() as patch:
        patch.setattr(Result, "act", read)
        assert step().value == 2
    assert errors
    assert READS[name](scheduler) is not None


def test_a_hook_that_fails_loses_nothing():
    first, second = counter(), counter()

    @lrax.jit
    def increase():
        first.value, second.value = first.value + 1, second.value + 1

    increase()

    def refuse(ctx):
        raise ArithmeticError("refused")

    first.register_hook("write_before", refuse)
    with pytest.raises(
        Warning, match="Hook"
    ):  # brainstate turns it into one, which is an error here
        increase()
    assert (first.value, second.value) == (2, 2)
