"""lrax.jit gives away the buffers of the States it writes, and nothing else."""

import functools
import subprocess
import sys

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_trees_equal, compiled_programs, state_of
from steps import Training, counter, jits, memory_of

transform = brainstate.transform
OLD = jax.__version_info__ < (0, 9)


def test_written_states_are_given_away_and_others_are_not():
    run = Training(lrax.jit, inside=False)
    run.step(*run.batch)
    before, rates = memory_of(run.written), run.optimizer.get_last_lr()
    assert len(before) == 2 + 4 + 1  # weights, moments, counts
    run.step(*run.batch)
    assert memory_of(run.written) == before
    assert not any(leaf.is_deleted() for leaf in run.batch)
    np.testing.assert_array_equal(rates, run.optimizer.get_last_lr())


def test_what_a_scheduler_holds_is_kept_for_whoever_logs_it():
    run = Training(lrax.jit)
    epochs, rates = [], []
    for _ in range(4):
        run.step(*run.batch)
        epochs.append(run.scheduler.last_epoch.value)
        rates.append(run.scheduler.current_lrs.value)
    assert [int(epoch) for epoch in epochs] == [1, 2, 3, 4]
    np.testing.assert_array_equal(np.ravel(rates), run.scheduler(np.arange(1, 5)))
    run.scheduler.step()
    before = memory_of(run.written)
    run.step(*run.batch)
    assert memory_of(run.written) == before
    assert int(run.scheduler.last_epoch.value) == 6


def test_what_a_plateau_remembers_is_kept():
    scheduler = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=0)
    step = lrax.jit(scheduler.step)
    best = []
    for metric in (3.0, 2.0, 5.0):
        step(metric)
        best.append(jax.tree.leaves(state_of(scheduler, "0").value))
    assert not any(leaf.is_deleted() for leaves in best for leaf in leaves)
    assert scheduler.best.value == 2.0
    assert float(scheduler.current_lrs.value[0]) == np.float32(0.05)


def test_a_leaf_that_is_written_back_as_it_was_is_neither_given_away_nor_replaced():
    pair = brainstate.State({"mean": jnp.zeros(3), "count": jnp.zeros(3), "scale": jnp.ones(3)})

    @lrax.jit
    def step(x):
        pair.value = {**pair.value, "mean": pair.value["mean"] + x * pair.value["scale"]}

    step(1.0)
    before, count, scale = memory_of([pair]), pair.value["count"], pair.value["scale"]
    step(1.0)
    assert memory_of([pair]) == before
    assert pair.value["count"] is count
    assert pair.value["scale"] is scale
    np.testing.assert_array_equal(pair.value["mean"], [2, 2, 2])


def test_an_array_that_is_put_into_the_dict_of_a_state():
    """In place, without a write to the State."""
    pair, other = brainstate.State({"a": jnp.zeros(3), "b": jnp.ones(3)}), counter()
    other.value = jnp.full(3, 5.0)

    @lrax.jit
    def step():
        pair.value = jax.tree.map(lambda leaf: leaf + 1, pair.value)
        other.value = 2 * other.value

    step()
    pair.value["a"] = other.value
    step()
    pair.value["b"] = pair.value["a"]
    step()
    assert_trees_equal(
        pair.value, {"a": np.full(3, 12.0, np.float32), "b": np.full(3, 12.0, np.float32)}
    )
    np.testing.assert_array_equal(other.value, np.full(3, 40.0))


def test_a_random_key_and_the_numbers_it_is_made_of():
    """They share memory, though neither shape nor dtype."""
    key, seed = brainstate.State(jax.random.key(0)), brainstate.State(jnp.zeros(2, jnp.uint32))

    @lrax.jit
    def split(x):
        key.value = jax.random.split(key.value)[0]
        return seed.value + x

    @lrax.jit
    def count(key):
        seed.value = seed.value + 1
        return jax.random.bits(key)

    zero = jnp.zeros(2, jnp.uint32)
    split(zero)
    seed.value = jax.random.key_data(key.value)
    numbers = np.array(seed.value)
    np.testing.assert_array_equal(split(zero), numbers)
    np.testing.assert_array_equal(
        split(jax.random.key_data(key.value)),
        numbers
        + np.array(jax.random.key_data(jax.random.split(jax.random.wrap_key_data(numbers))[0])),
    )
    count(jax.random.key(1))
    same = jax.random.wrap_key_data(seed.value)
    bits = np.array(jax.random.bits(same))
    assert count(same) == bits


def test_a_leaf_that_becomes_its_neighbour():
    pair = brainstate.State({"a": jnp.zeros(3), "b": jnp.arange(3.0)})

    @lrax.jit
    def follow():
        pair.value = {**pair.value, "a": pair.value["b"]}
        return pair.value["a"]

    @lrax.jit
    def add():
        pair.value = {**pair.value, "a": pair.value["a"] + 1}

    for _ in range(3):
        seen = follow()
        add()
        add()
    np.testing.assert_array_equal(seen, [0, 1, 2])
    assert_trees_equal(pair.value, {"a": np.float32([2, 3, 4]), "b": np.float32([0, 1, 2])})


def test_keys_of_a_state_are_part_of_its_structure():
    state = brainstate.State({"a": jnp.zeros(2)})

    @lrax.jit
    def double():
        state.value = {key: 2 * value + 1 for key, value in state.value.items()}

    double()
    state.value = {"b": jnp.ones(2)}
    double()
    assert_trees_equal(state.value, {"b": np.float32([3, 3])})


@pytest.mark.parametrize("jit", [functools.partial(lrax.jit, donate=False), transform.jit])
def test_nothing_is_given_away(jit):
    run = Training(jit)
    run.step(*run.batch)
    before = memory_of(run.written)
    run.step(*run.batch)
    assert not {*before} & {*memory_of(run.written)}


def test_a_result_stays_valid():
    state = counter(1.0)

    @lrax.jit
    def double():
        before = state.value
        state.value = 2 * before
        return before, state.value, state.value

    results = [double() for _ in range(4)]
    assert [tuple(map(float, result)) for result in results] == [
        (1, 2, 2),
        (2, 4, 4),
        (4, 8, 8),
        (8, 16, 16),
    ]


def test_a_state_that_is_only_read_stays_valid():
    weight, average = counter(1.0), counter(5.0)
    kept = average.value

    @lrax.jit
    def step():
        weight.value = weight.value + average.value

    step()
    step()
    assert weight.value == 11
    assert average.value is kept
    assert not kept.is_deleted()


def test_a_state_dict_stays_valid():
    run = Training(lrax.jit)
    run.step(*run.batch)
    saved = run.optimizer.state_dict()
    copies = jax.tree.map(np.array, saved)
    for _ in range(3):
        run.step(*run.batch)
    assert_trees_equal(jax.tree.map(np.asarray, saved), copies)
    run.optimizer.load_state_dict(saved)
    run.step(*run.batch)
    run.optimizer.load_state_dict(saved)  # again: loading copies, too
    run.step(*run.batch)
    assert_trees_equal(jax.tree.map(np.asarray, saved), copies)


def test_an_array_that_is_gone_is_an_error_with_a_remedy():
    state = counter(1.0)

    @lrax.jit
    def double():
        state.value = 2 * state.value

    double()
    state.value.delete()
    with pytest.raises((RuntimeError, ValueError), match="donate=False"):
        double()
    state.value = jnp.float32(3.0)
    double()
    assert state.value == 6.0


def test_an_array_in_the_function_may_be_gone_too():
    state, first = counter(1.0), jnp.float32(1.0)

    @lrax.jit
    def back(x):
        state.value = state.value + 0.1 * (first - state.value) + x.sum()

    back(np.ones(2))
    first.delete()
    with pytest.raises(RuntimeError, match=r"in the function is gone.*donate=False"):
        back(np.ones(3))  # another trace


def test_a_call_that_fails_says_why_and_what_is_lost():
    def rate(epoch):
        if epoch >= 2:
            raise ValueError(f"no learning rate for epoch {int(epoch)}")
        return 1.0

    scheduler = lrax.LambdaLR(0.1, rate)
    state = counter(1.0)

    @lrax.jit
    def step():
        state.value = 2 * state.value
        scheduler.step()

    step()
    with pytest.raises(RuntimeError, match="no learning rate for epoch 2") as caught:
        step()
    assert "their values are lost" in "".join(caught.value.__notes__)


def alias(array):
    """Another array with the same buffer."""
    twin = jax.device_put(array, jax.devices()[0])
    assert twin.unsafe_buffer_pointer() == array.unsafe_buffer_pointer()
    return twin


@pytest.mark.parametrize("twin", [lambda array: array, alias], ids=["same array", "same buffer"])
@pytest.mark.parametrize("later", [False, True], ids=["from the start", "later"])
def test_two_states_with_one_buffer(twin, later):
    a, b, read = counter(), counter(), counter()

    def share():
        a.value = jnp.arange(3.0)
        b.value = twin(a.value)
        read.value = twin(a.value)

    @lrax.jit
    def step(x):
        a.value, b.value = a.value + x, b.value * 2 + read.value
        return a.value.sum()

    if later:
        a.value, b.value, read.value = jnp.zeros(3), jnp.zeros(3), jnp.zeros(3)
        step(1.0)
    share()
    for _ in range(2):
        step(1.0)
    np.testing.assert_array_equal(a.value, [2, 3, 4])
    np.testing.assert_array_equal(b.value, [0, 7, 14])
    np.testing.assert_array_equal(read.value, [0, 1, 2])


@pytest.mark.parametrize("twin", [lambda array: array, alias], ids=["same array", "same buffer"])
def test_an_argument_that_is_the_array_of_a_state(twin):
    state = counter()
    state.value = jnp.arange(3.0)

    @lrax.jit
    def add(x):
        state.value = state.value + x
        return state.value

    for _ in range(3):
        mine = twin(state.value)
        copy = np.asarray(mine).copy()
        add(mine)
        np.testing.assert_array_equal(mine, copy)  # an argument is never given away
    np.testing.assert_array_equal(state.value, [0, 8, 16])


@pytest.mark.parametrize(
    "first", [0, 1.5, True, np.float64(2.0), np.int32(3), np.arange(3), [1, 2.0]], ids=repr
)
@jits
def test_python_and_numpy_numbers_in_states(jit, first):
    state = brainstate.State(first)

    @jit
    def negate():
        state.value = jax.tree.map(lambda v: -jnp.asarray(v, jnp.float32), state.value)

    negate()
    negate()
    with compiled_programs() as compiled:
        negate()
    assert not compiled
    expected = jax.tree.map(lambda v: -np.asarray(v, np.float32), first)
    assert_trees_equal(state.value, expected)


# Between two calls: a shares an array with b, c or the argument, which are written, read and read.
SHARED = {
    "both are written": lambda a, b, c: setattr(b, "value", a.value),
    "both are written, the other way": lambda a, b, c: setattr(a, "value", b.value),
    "one is only read": lambda a, b, c: setattr(c, "value", a.value),
    "one was only read": lambda a, b, c: setattr(a, "value", c.value),
    "an argument": lambda a, b, c: a.value,
    "an argument that is only read": lambda a, b, c: c.value,
}
WRITES = {
    "sums": lambda a, b, c, x: (a + x, b + c),
    "what was read": lambda a, b, c, x: (c, x * jnp.ones(3)),
    "one value twice": lambda a, b, c, x: (a + c, a + c),
    "each other's": lambda a, b, c, x: (b, a),
}


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("writes", WRITES)
def test_sharing_between_two_calls(shared, writes):
    results = {}
    for donate in (True, False):
        a, b, c = (brainstate.State(start + jnp.arange(3.0)) for start in (1.0, 10.0, 100.0))

        @functools.partial(lrax.jit, donate=donate)
        def step(x, a=a, b=b, c=c):
            a.value, b.value = WRITES[writes](a.value, b.value, c.value, x)
            return a.value

        results[donate] = []
        for call in range(6):
            # A number, as an array of the States' shape would have their memory looked at anyway.
            x = SHARED[shared](a, b, c) if call in (1, 2, 4) else None
            outs = [step(0.5 if x is None else x)]
            outs += [state.value for state in (a, b, c)]
            results[donate].append(jax.tree.map(np.array, outs))
    assert_trees_equal(results[True], results[False])


def test_a_state_that_changes_its_shape_or_type_is_no_donor():
    longer, number, turned = counter(), counter(), counter()
    longer.value, number.value, turned.value = jnp.ones(2), jnp.arange(3), jnp.ones((2, 3))
    steady = counter(1.0)

    @lrax.jit
    def step():
        longer.value = jnp.concatenate([longer.value, 2 * longer.value])
        number.value = number.value / 2
        turned.value = turned.value.T + steady.value
        steady.value = steady.value + 1

    for _ in range(3):
        before = memory_of([steady])
        step()  # a donor whose memory is of no use would be a warning
        assert memory_of([steady]) == before or OLD  # which copies what it has just traced
    np.testing.assert_array_equal(longer.value, [1, 1, 2, 2, 2, 2, 4, 4, 2, 2, 4, 4, 4, 4, 8, 8])
    np.testing.assert_array_equal(number.value, [0, 1 / 8, 1 / 4])
    np.testing.assert_array_equal(turned.value, np.full((3, 2), 7.0))


@pytest.mark.slow
def test_random_numbers_under_vmap_in_a_new_process():
    """The first of them turn brainstate's key into two integers."""
    program = """
import brainstate, jax.numpy as jnp, lrax
f = lrax.jit(brainstate.transform.vmap(lambda x: x + brainstate.random.rand(1)[0]))
for _ in range(2):
    y = f(jnp.ones(2))
    assert y.shape == (2,)
    assert (y >= 1).all() and (y < 2).all(), y
"""
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr


def test_peak_memory_of_a_step():
    """Weights and moments are held once: their bytes are aliased, and only gradients come on top."""
    weights = {str(i): brainstate.ParamState(jnp.ones((256, 256))) for i in range(4)}
    scheduler = lrax.StepLR(0.1, step_size=3)
    optimizer = lrax.Adam(lr=scheduler)
    optimizer.register_trainable_weights(weights)

    def train_step(x):
        def loss():
            y = x
            for weight in weights.values():
                y = jnp.tanh(y @ weight.value)
            return y.sum()

        optimizer.step(transform.grad(loss, weights)())
        scheduler.step()

    parameters = sum(weight.value.nbytes for weight in weights.values())
    state = 3 * parameters
    memory = {
        donate: lrax.jit(train_step, donate=donate).lower(jnp.ones((8, 256))).compile().memory_analysis()
        for donate in (True, False)
    }  # fmt: skip
    for sizes in memory.values():
        assert sizes.argument_size_in_bytes >= state
        assert sizes.output_size_in_bytes >= state
    assert memory[False].alias_size_in_bytes == 0
    assert memory[True].alias_size_in_bytes >= state
    peak = {
        donate: m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes - m.alias_size_in_bytes
        for donate, m in memory.items()
    }  # fmt: skip
    assert peak[True] <= state + parameters + 256 * 1024  # gradients, and activations of 8 rows
    assert peak[False] >= 2 * state


def test_off_the_cpu_clocks_and_rates_are_given_away_as_well(monkeypatch):
    """A GPU replays what it has recorded as long as all arrays stay where they are."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    weight = brainstate.ParamState(jnp.ones((3, 2)))
    scheduler = lrax.ExponentialLR(0.1, gamma=0.5)
    optimizer = lrax.SGD(lr=scheduler).register_trainable_weights({"weight": weight})

    @lrax.jit
    def step(count):
        optimizer.step({"weight": weight.value})
        scheduler.step()
        return count + scheduler.last_epoch.value

    def places():
        arrays = weight.value, scheduler.last_epoch.value
        return [array.unsafe_buffer_pointer() for array in arrays]

    assert [step(jnp.int32(0)), step(jnp.int32(0))] == [1, 2]
    first = places()
    assert [step(jnp.int32(0)), step(jnp.int32(0))] == [3, 4]
    assert places() == first
    held = scheduler.last_epoch.value
    assert step(held) == 9
    assert (held, scheduler.last_epoch.value) == (4, 5)
    scheduler.step()
    assert step(scheduler.last_epoch.value) == 13
    lrs = np.float64([0.1 * 0.5**t for t in (0, 1, 2, 3, 4, 6)])
    np.testing.assert_allclose(weight.value, np.full((3, 2), np.prod(1 - lrs)), rtol=1e-6)


def test_off_the_cpu_an_argument_on_the_memory_of_the_clock_says_what_to_do(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    scheduler = lrax.ExponentialLR(0.1, gamma=0.5)

    @lrax.jit
    def step(count):
        scheduler.step()
        return count + scheduler.last_epoch.value

    step(jnp.int32(0))
    step(jnp.int32(0))
    with pytest.raises(
        RuntimeError, match=r"among the arguments .* Copy such an array with jnp.copy"
    ):
        step(jax.device_put(scheduler.last_epoch.value, jax.devices()[0]))
    assert step(jnp.int32(0)) == 3, "nothing is lost"


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("plateau", [False, True])
def test_what_a_failed_call_has_lost_can_be_loaded_again(plateau, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    calls, failing = [], [3]

    def count(x):
        calls.append(x)
        if len(calls) in failing:
            raise ValueError("the third call")
        return np.float32(x)

    states = {f"w{i}": brainstate.ParamState(jnp.full(3, 1.0 + i)) for i in range(5)}
    scheduler = lrax.ReduceLROnPlateau(0.1) if plateau else lrax.ExponentialLR(0.1, gamma=0.5)
    optimizer = lrax.Adam(lr=scheduler).register_trainable_weights(states)

    @lrax.jit
    def step():
        optimizer.step({name: state.value for name, state in states.items()})
        scheduler.step(*[1.0] * plateau)
        shape = jax.ShapeDtypeStruct((), np.float32)
        return jax.pure_callback(count, shape, states["w0"].value[0])

    step(), step()
    weights = {name: np.array(state.value) for name, state in states.items()}
    saved = optimizer.state_dict()
    with pytest.raises(Exception, match="the third call"):
        jax.block_until_ready(step())
    for name, value in weights.items():
        states[name].value = jnp.asarray(value)
    with pytest.raises(ValueError, match="version"):
        optimizer.load_state_dict({**saved, "version": -1})
    with pytest.raises(RuntimeError, match="is gone"):
        step()
    optimizer.load_state_dict(saved)
    assert_trees_equal(optimizer.state_dict(), saved)
    step()
    after = {name: np.array(state.value) for name, state in states.items()}
    for name, value in weights.items():
        states[name].value = jnp.asarray(value)
    failing.clear()
    optimizer.load_state_dict(saved)
    step()
    assert_trees_equal({name: np.array(state.value) for name, state in states.items()}, after)
