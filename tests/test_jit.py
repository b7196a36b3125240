"""lrax.jit: used like brainstate.transform.jit, one program, and the States it writes are given away."""

import functools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_trees_equal, compiled_programs
from training import Task

transform = brainstate.transform
JITS = {"lrax": lrax.jit, "brainstate": transform.jit}
jits = pytest.mark.parametrize("jit", JITS.values(), ids=JITS)


def value(state):
    """What a State holds, without its bookkeeping."""
    return jax.tree.leaves(state.value)


def counter(start=0.0):
    return brainstate.State(jnp.asarray(start, jnp.float32))


class Training:
    """A task with optimizer and scheduler, and its train step, compiled by `jit`."""

    def __init__(self, jit, inside=True, optimizer=lrax.AdamW):
        self.task = Task()
        self.scheduler = lrax.CosineAnnealingLR(0.1, T_max=20)
        self.optimizer = optimizer(lr=self.scheduler)
        self.optimizer.register_trainable_weights(self.task.params)
        self.batch = [data[0] for data in self.task.batches]

        def train_step(x, y):
            grads, loss = self.task.gradient(x, y)
            self.optimizer.step(grads)
            if inside:
                self.scheduler.step()
            return loss

        self.step = jit(train_step)

    def written(self):
        """The arrays that a step replaces."""
        states = [*self.task.params.values(), self.optimizer.opt_state]
        return [leaf for state in states for leaf in value(state) if isinstance(leaf, jax.Array)]


# --- The same program -------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False], ids=["step inside", "step outside"])
def test_trains_to_the_same_bits_as_brainstate(inside):
    results = {}
    for name, jit in JITS.items():
        run = Training(jit, inside)
        losses = []
        for _ in range(8):
            losses.append(run.step(*run.batch))
            if not inside:
                run.scheduler.step()
        assert losses[-1] < losses[0]
        results[name] = (losses, run.task.values(), run.optimizer.state_dict())
    assert_trees_equal(results["lrax"], results["brainstate"])


def test_one_program_and_nothing_else():
    run = Training(lrax.jit)
    jax.block_until_ready(run.batch)
    with compiled_programs() as compiled:
        for _ in range(4):
            run.step(*run.batch)
    assert len(compiled) == 1


@jits
def test_arguments(jit):
    total = counter()

    def add(x, pair, *rest, scale=1.0, names):
        total.value = total.value + x * scale
        return {"sum": total.value, "pair": (pair[1], pair[0]), "rest": rest, "names": names}

    compiled = jit(add)
    calls = [
        lambda f: f(1.0, (2, 3.5), names=None),
        lambda f: f(np.float64(2.0), (np.int64(2), True), names={"a": jnp.ones(3), "b": []}),
        lambda f: f(jnp.float32(3), (np.ones((2, 3)), jnp.zeros(0)), 4, 5.0, scale=2, names=()),
        lambda f: f(names=[jnp.bfloat16(1)], pair=(1j, jnp.uint8(3)), x=np.float32(1)),
    ]
    for call in [*calls, *calls]:
        before = total.value + 0
        expected = jax.tree.map(jnp.asarray, call(add))
        after = np.asarray(total.value)
        total.value = before
        found = call(compiled)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert_trees_equal(found, expected)
        assert [leaf.dtype for leaf in jax.tree.leaves(found)] == [
            leaf.dtype for leaf in jax.tree.leaves(expected)
        ]
        assert np.asarray(total.value) == after


def test_another_number_is_no_other_program():
    total = counter()

    @lrax.jit
    def add(x, y):
        total.value = total.value + x * y["y"]
        return total.value

    add(1.0, {"y": np.float32(2.0)})
    with compiled_programs() as compiled:
        assert float(add(3.0, {"y": np.float32(4.0)})) == 14.0
        assert not compiled
        assert float(add(1, {"y": np.float32(1.0)})) == 15.0  # an int is one
    assert len(compiled) == 1


@jits
@pytest.mark.parametrize(
    "options",
    [{"static_argnums": 1}, {"static_argnums": (1,)}, {"static_argnames": "n"}, {"static_argnames": ["n"]}],
    ids=str,
)  # fmt: skip
def test_static_arguments(jit, options):
    total, seen = counter(), []

    @functools.partial(jit, **options)
    def power(x, n, *, scale=1.0):
        assert isinstance(n, int)
        seen.append(n)
        total.value = total.value + x**n * scale
        return total.value

    assert power(2.0, 3) == 8
    assert power(2.0, 2) == 12
    assert power(2.0, 3, scale=2.0) == 28
    traced = len(seen)
    with compiled_programs() as compiled:
        assert float(power(1.0, 3)) == 29
        assert float(power(1.0, 2)) == 30
        assert float(power(3.0, 3, scale=1.0)) == 57
    assert len(seen) == traced
    assert not compiled


def test_a_static_argument_by_position_or_by_name():
    power = lrax.jit(lambda x, n: x**n, static_argnums=1)
    assert power(2.0, 3) == power(2.0, n=3) == power(x=2.0, n=3) == 8


def test_what_cannot_be_an_argument():
    state = counter()
    f = lrax.jit(lambda x: x)
    with pytest.raises(ValueError, match="State"):
        f(state)
    with pytest.raises(ValueError, match="State"):
        lrax.jit(lambda: state)()
    with pytest.raises(TypeError):
        f("a string")
    with pytest.raises(TypeError):
        f(1.0, 2.0)
    with pytest.raises(ValueError, match="hashable"):
        lrax.jit(lambda x, n: x, static_argnums=1)(1.0, [1])
    with pytest.raises(ValueError, match="static_argnums"):
        lrax.jit(lambda x: x, static_argnums=-1)
    with pytest.raises(TypeError, match="must be a function"):
        lrax.jit(3)
    assert f(2.0) == 2.0


@jits
def test_a_decorator_with_options_keeps_the_name(jit):
    @jit(static_argnames="n")
    def repeated(x, n):
        """Doc."""
        return jnp.stack([x] * n)

    assert repeated.__name__ == "repeated"
    assert repeated.__doc__ == "Doc."
    assert repeated(1.0, n=3).shape == (3,)


class Model:
    def __init__(self):
        self.weight = counter(1.0)

    @lrax.jit
    def wrong(self, x):
        return self.weight.value * x

    @functools.partial(lrax.jit, static_argnums=0)
    def right(self, x):
        self.weight.value = self.weight.value * x
        return self.weight.value


def test_a_method():
    model = Model()
    with pytest.raises(TypeError, match=r"lrax\.jit\(obj\.method\)|static_argnums=0"):
        model.wrong(2.0)
    assert lrax.jit(lambda x: model.weight.value * x)(2.0) == 2.0
    assert Model.right(model, 3.0) == 3.0
    assert Model.right(model, 3.0) == 9.0


@jits
def test_without_states_arguments_or_results(jit):
    state = counter()

    def bump():
        state.value = state.value + 1

    assert jit(lambda: None)() is None
    assert jit(lambda x: x + 1)(1) == 2
    bump = jit(bump)
    assert bump() is None
    assert bump() is None
    assert state.value == 2


# --- Giving away ------------------------------------------------------------------------------------


def test_written_states_are_given_away_and_others_are_not():
    run = Training(lrax.jit, inside=False)
    run.step(*run.batch)
    old, rates = run.written(), run.optimizer.get_last_lr()
    assert len(old) == 2 + 5 + 1  # weights, moments with their count, step count
    run.step(*run.batch)
    assert all(leaf.is_deleted() for leaf in old)
    assert not any(leaf.is_deleted() for leaf in [*run.written(), *run.batch])
    np.testing.assert_array_equal(rates, run.optimizer.get_last_lr())


def test_the_scheduler_is_given_away_when_it_is_stepped_inside():
    run = Training(lrax.jit)
    for _ in range(3):
        run.step(*run.batch)
        last = [run.scheduler.last_epoch.value, run.scheduler.current_lrs.value]
    run.step(*run.batch)
    assert all(leaf.is_deleted() for leaf in last)
    assert int(run.scheduler.last_epoch.value) == 4
    run.scheduler.step()
    run.step(*run.batch)
    assert int(run.scheduler.last_epoch.value) == 6


@pytest.mark.parametrize("jit", [functools.partial(lrax.jit, donate=False), transform.jit])
def test_nothing_is_given_away(jit):
    run = Training(jit)
    run.step(*run.batch)
    old = run.written()
    copies = [np.asarray(leaf) for leaf in old]
    run.step(*run.batch)
    assert_trees_equal(old, copies)
    assert any((np.asarray(a) != b).any() for a, b in zip(run.written(), copies, strict=True))


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
    old = state.value
    double()
    with pytest.raises(RuntimeError, match="deleted"):
        old + 1
    state.value = old
    with pytest.raises((RuntimeError, ValueError)) as caught:
        double()
    assert "donate=False" in str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
    state.value = jnp.float32(3.0)
    double()
    assert state.value == 6.0


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


@pytest.mark.parametrize("first", [0, 1.5, True, np.float64(2.0), np.int32(3), np.arange(3), [1, 2.0]], ids=repr)
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
    assert peak[False] >= peak[True] + state


# --- In and around other transformations ------------------------------------------------------------


def grown(jit):
    """A State and a function that writes it, as inner function of the tests below."""
    state = brainstate.ParamState(jnp.asarray([1.0, 2.0]))

    def grow(x):
        state.value = state.value * 1.5 + x
        return jnp.sum(state.value**2)

    return state, jit(grow)


def inside_grad(state, f):
    other = brainstate.ParamState(jnp.float32(2.0))
    grads, loss = transform.grad(lambda: f(other.value), {"o": other}, return_value=True)()
    return grads["o"], loss


AROUND = {
    "jit": lambda state, f: transform.jit(lambda x: f(x) + f(2 * x))(1.0),
    "lrax.jit": lambda state, f: lrax.jit(lambda x: f(x) + f(2 * x))(1.0),
    "grad": inside_grad,
    "for_loop": lambda state, f: transform.for_loop(f, jnp.arange(4.0)),
    "scan": lambda state, f: transform.scan(lambda c, x: (c + f(x), c), 0.0, jnp.arange(3.0)),
    "cond": lambda state, f: [transform.cond(jnp.asarray(p), f, lambda x: x, 3.0) for p in (True, False)],
    "while": lambda state, f: transform.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] + f(1.0)), (0, 0.0)
    ),
    "checkpoint": lambda state, f: transform.checkpoint(f)(1.0),
    "lrax.jit of for_loop": lambda state, f: lrax.jit(lambda xs: transform.for_loop(f, xs))(jnp.arange(4.0)),
    "for_loop of jit": lambda state, f: transform.for_loop(transform.jit(f), jnp.arange(4.0)),
    "disable_jit": lambda state, f: without_jit(f, 1.0),
}  # fmt: skip


def without_jit(f, *args):
    with jax.disable_jit():
        return f(*args)


@pytest.mark.parametrize("around", AROUND)
def test_inside_other_transformations(around):
    results = []
    for jit in (lrax.jit, transform.jit, lambda f: f):
        state, f = grown(jit)
        out = AROUND[around](state, f)
        f(1.0)  # and by itself afterwards
        results.append(jax.tree.map(np.asarray, (out, state.value)))
    for found in results[:2]:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found, results[2])


WITHIN = {
    "grad": lambda state, x: transform.grad(lambda: jnp.sum(state.value**3) * x, {"s": state})(),
    "for_loop": lambda state, x: transform.for_loop(lambda i: bump(state, i * x), jnp.arange(5.0)),
    "cond": lambda state, x: transform.cond(x > 2, lambda: bump(state, x), lambda: bump(state, -x)),
    "vmap": lambda state, x: jax.vmap(lambda y: jnp.sum(state.value) * y)(jnp.arange(3.0) * x),
    "jit": lambda state, x: transform.jit(lambda y: bump(state, y))(x),
    "jax.jit": lambda state, x: jax.jit(lambda y: y + 1)(x),
    "new states": lambda state, x: transform.vmap(lambda y: new_state(state, y))(jnp.arange(4.0) * x),
    "random": lambda state, x: bump(state, brainstate.random.normal(size=()) * x),
}  # fmt: skip


def bump(state, x):
    state.value = state.value + x
    return jnp.sum(state.value)


def new_state(state, x):
    local = brainstate.State(x)
    local.value = local.value + jnp.sum(state.value)
    return local.value


@pytest.mark.parametrize("within", WITHIN)
def test_around_other_transformations(within):
    results = []
    for jit in (lrax.jit, transform.jit):
        brainstate.random.seed(3)
        state = brainstate.ParamState(jnp.asarray([1.0, 2.0]))
        f = jit(lambda x, state=state: WITHIN[within](state, x))
        out = [f(x) for x in (1.0, 3.0)]
        results.append(jax.tree.map(np.asarray, (out, state.value)))
    assert_trees_equal(*results)


def test_plain_jax_transformations_are_refused_when_a_state_is_written():
    state, f = grown(lrax.jit)
    for around in (jax.jit, jax.grad, jax.vmap):
        x = jnp.ones(2) if around is jax.vmap else 1.0
        with pytest.raises(brainstate.TraceContextError):
            around(f)(x)
    np.testing.assert_array_equal(state.value, [1.0, 2.0])
    assert f(1.0) == 2.5**2 + 4.0**2
