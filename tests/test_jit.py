"""lrax.jit is used like brainstate.transform.jit, and compiles one program."""

import functools
import math
import re

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_trees_equal, compiled_programs
from steps import JITS, Training, counter, jits

transform = brainstate.transform


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


def kernels(run):
    """How many kernels of the program are ready at once, as they wait for no other, and how many functions it calls."""
    lines = run.step.lower(*run.batch).compile().as_text().partition("ENTRY")[2].splitlines()
    found = [re.match(r"\s+(?:ROOT )?(%[\w.-]+) = .*? ([a-z-]+)\((.*?)\)", line) for line in lines]
    operations = [match.groups() for match in found if match]
    given = {name for name, kind, _ in operations if kind in ("parameter", "constant")}
    ready = [
        name
        for name, kind, read in operations
        if name not in given and given.issuperset(re.findall(r"%[\w.-]+", read))
    ]
    return len(ready), sum(kind == "call" for _, kind, _ in operations)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there it would be two kernels")
def test_counters_are_one_kernel():
    inside, outside = kernels(Training(lrax.jit)), kernels(Training(lrax.jit, False))
    assert outside[1] == 0
    assert inside == (outside[0], 1)


def test_what_depends_on_more_than_counters_is_computed_once():
    """A clock that jumps by the batch, a scheduler that learns from the loss, and what has effects."""
    clock, learner = lrax.StepLR(1.0, 2), lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0)
    plain, calls = lrax.ExponentialLR(1.0, 0.5), []

    @lrax.jit
    def step(x):
        clock.step(x)
        learner.step(x.astype(float))
        plain.step()
        jax.debug.callback(calls.append, plain.last_epoch.value)
        return plain.current_lrs.value[0]

    for epoch in (1, 2, 5):
        rate = step(jnp.int32(epoch))
        assert clock.last_epoch.value == epoch
    jax.effects_barrier()
    assert [int(call) for call in calls] == [1, 2, 3]
    assert rate == 0.125
    assert plain.last_epoch.value == 3
    assert clock.get_last_lr() == [np.float32(0.01)]
    assert learner.get_last_lr() == [0.25]


def test_what_counters_and_weights_need_is_computed_once():
    """As functions on the host, which need not be pure; and the results are those that the States hold."""
    asked = []

    def slower(epoch):
        asked.append(float(epoch))
        return math.exp(-float(epoch)) * (1 + 0.01 * len(asked))

    scheduler, weight = lrax.LambdaLR(0.1, slower), brainstate.ParamState(jnp.zeros(100))
    table, other = jnp.linspace(0.0, 1.0, 1000), lrax.StepLR(0.1, 2)

    @lrax.jit
    def step():
        scheduler.step()
        other.step(jnp.sum(table).astype(int) + scheduler.last_epoch.value)
        weight.value = jnp.full(100, scheduler.current_lrs.value[0])
        return scheduler.current_lrs.value[0]

    step()
    for epoch in (2, 3):
        asked.clear()
        rate = step()
        assert asked == [epoch]
        assert rate == weight.value[0] == scheduler.get_last_lr()[0]
        assert other.last_epoch.value == 500 + epoch


@pytest.mark.parametrize("looks, x", [(jax.debug_nans, -1.0), (jax.debug_infs, 0.0)])
@pytest.mark.parametrize("calls", [0, 2])
def test_jax_finds_where_a_nan_comes_from(looks, x, calls):
    """And nothing is lost, though what ran before it was looked for gives its memory away."""
    scheduler, weight = lrax.StepLR(0.1, 2), brainstate.ParamState(jnp.ones(3))

    @lrax.jit
    def step(x):
        scheduler.step()
        weight.value = jnp.log(weight.value * x)

    for _ in range(calls):
        step(jnp.e * jnp.ones(3))
    with looks(True), pytest.raises(FloatingPointError, match=r"(nan|inf).*log"):
        step(x * jnp.ones(3))
    assert_close(weight.value, np.ones(3), rtol=1e-6)
    assert scheduler.last_epoch == calls
    step(jnp.e * jnp.ones(3))
    assert scheduler.last_epoch == calls + 1


def test_memory_is_given_up_again_after_a_first_call_that_looks_for_nans():
    weight = brainstate.State(jnp.zeros(1000))

    @lrax.jit
    def step(x):
        weight.value = weight.value + x

    with jax.debug_nans(True):
        step(1.0)
    for _ in range(3):
        step(1.0)
        before = weight.value.unsafe_buffer_pointer()
        step(1.0)
        assert weight.value.unsafe_buffer_pointer() == before


def test_what_jax_takes_for_one_kind_of_argument_is_one_program():
    traced = []

    def times(x, n):
        traced.append(x)
        return (x * n).sum()

    compiled = lrax.jit(times, static_argnums=1)
    ones = np.ones(3)
    for x in (ones, ones.astype(np.float32), jnp.ones(3)):
        assert compiled(x, 2) == 6
    for x in (np.int64(3), np.int32(3), jnp.int32(3)):
        assert compiled(x, 2) == 6
    assert compiled(3, 2) == 6
    assert len(traced) == 3  # a number of Python's has no dtype that it insists on


def test_lower_takes_shapes():
    total = counter()
    add = lrax.jit(lambda x: setattr(total, "value", total.value + x.sum()))
    lowered = add.lower(jax.ShapeDtypeStruct((4,), np.float32))
    assert lowered.compile().memory_analysis().argument_size_in_bytes == 20
    assert total.value == 0


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


@pytest.mark.parametrize(
    "options",
    [{"static_argnums": 1}, {"static_argnums": (1,)}, {"static_argnames": "n"}, {"static_argnames": ["n"]}],
    ids=str,
)  # fmt: skip
def test_static_arguments(options):
    total, seen = counter(), []

    @lrax.jit(**options)
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
    with pytest.raises(ValueError, match="State"):  # after a call that was right, too
        f(state)
    with pytest.raises(TypeError, match="not an array"):
        f("a string")
    assert f(3.0) == 3.0


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
    with pytest.raises(TypeError, match=r"lrax\.jit\(obj\.method\)"):
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


# --- Errors, and States and shapes that change ------------------------------------------------------


class Stop(Exception):
    pass


@jits
@pytest.mark.parametrize("after", [0, 2], ids=["at first", "later"])
def test_an_exception_leaves_the_states_as_they_were(jit, after):
    run = Training(lambda f: f)
    broken = [False]

    def train_step(x, y):
        loss = run.step(x, y)
        if broken[0]:
            raise Stop
        return loss

    compiled = jit(train_step)
    for _ in range(after):
        compiled(*run.batch)
    before = [run.task.values(), run.optimizer.state_dict()]
    before = jax.tree.map(np.array, before)
    broken[0] = True
    x, y = run.batch
    with pytest.raises(Stop):
        compiled(x[:8], y[:8])  # another shape: traced again
    now = [run.task.values(), run.optimizer.state_dict()]
    assert_trees_equal(jax.tree.map(np.array, now), before)
    broken[0] = False
    compiled(x[:8], y[:8])
    compiled(x, y)
    assert int(run.optimizer.step_count.value) == after + 2
    assert int(run.scheduler.last_epoch.value) == after + 2


@jits
@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_what_a_state_refuses_to_keep_is_computed_once(jit, error):
    refuses = [False]

    class Picky(brainstate.State):
        def _write_value(self, v):
            if refuses[0] and not isinstance(v, jax.core.Tracer):
                raise error("not this one")
            self._value = v

    count, picky = counter(), Picky(jnp.float32(0))

    @jit
    def add():
        count.value = count.value + 1
        picky.value = picky.value + 1

    add()
    add()
    refuses[0] = True
    with pytest.raises(error, match="not this one"):
        add()
    assert count.value == 3


@jits
def test_other_shapes(jit):
    state, seen = counter(), []

    @jit
    def add(x, scale=None):
        seen.append(state.value.shape)
        state.value = state.value + x.sum() * (1 if scale is None else scale)
        return x + 1, state.value

    ones, more = np.ones(3, np.float32), np.ones((2, 2), np.float32)
    calls = [lambda: add(ones), lambda: add(more), lambda: add(ones, 2.0), lambda: add(x=ones)]
    assert [call()[0].shape for call in calls] == [(3,), (2, 2), (3,), (3,)]
    assert state.value == 3 + 4 + 6 + 3

    state.value = jnp.zeros(2)  # a State of another shape
    assert add(ones)[1].shape == (2,)
    state.value = jnp.zeros(2, jnp.int32)  # and of another type
    assert add(ones)[1].dtype == jnp.float32
    state.value = jnp.float32(0)
    traced = len(seen)
    with compiled_programs() as compiled:
        for _ in range(2):
            for call in calls:
                call()
    assert not compiled
    assert len(seen) - traced <= (2 * len(calls) if jit is transform.jit else 0)
    assert state.value == 32


def test_calls_that_use_different_states_take_turns():
    a, b = counter(), counter()

    @lrax.jit
    def add(x, other):
        a.value = a.value + x
        if other is not None:
            b.value = b.value + other["x"] + a.value
        return a.value

    calls = [lambda: add(1.0, None), lambda: add(1.0, {"x": 1.0}), lambda: add(np.ones(()), None)]
    for call in calls:
        call()
    with compiled_programs() as compiled:
        for _ in range(3):
            for call in calls:
                call()
    assert not compiled
    assert a.value == 12
    assert b.value == 4 + 2 + 5 + 8 + 11


@jits
def test_states_created_later(jit):
    states = {}

    @jit
    def add(x):
        for state in states.values():
            state.value = state.value + x
        return len(states)

    assert add(1.0) == 0
    states["a"] = counter()
    assert add(np.ones((), np.float32)) == 1  # another signature: traced again
    assert states["a"].value == 1
    states["b"] = counter()
    assert add(np.ones((), np.float32)) == 1  # the same: the new State is not known
    assert [float(state.value) for state in states.values()] == [2, 0]


@jits
def test_a_state_created_inside(jit):
    made = []

    @jit
    def make(x):
        made.append(brainstate.State(x))
        made[-1].value = made[-1].value + 1
        return made[-1].value

    assert make(1.0) == 2
    assert make(2.0) == 3
    with pytest.raises(brainstate.TraceContextError):
        made[0].value  # noqa: B018


def test_a_group_added_later():
    runs = {name: Training(jit) for name, jit in JITS.items()}
    for run in runs.values():
        run.step(*run.batch)
        extra = brainstate.ParamState(jnp.ones(3))
        run.optimizer.add_param_group({"extra": extra}, lr=0.5)
        grads = {**run.task.grads(), "extra": jnp.ones(3)}
        run.optimizer.step(grads)
        run.results = (run.task.values(), extra.value, run.optimizer.state_dict())
    assert_trees_equal(runs["lrax"].results, runs["brainstate"].results)


def test_static_values_of_another_type_are_other_values():
    kind = lrax.jit(lambda x, n: x * (2 if isinstance(n, bool) else 5), static_argnames="n")
    assert [float(kind(1.0, n=n)) for n in (True, 1, 1.0)] == [2, 5, 5]


@pytest.mark.parametrize(
    "options", [{"static_argnames": "trainning"}, {"static_argnums": 2}, {"static_argnums": [0, 9]}]
)
def test_static_arguments_that_are_none(options):
    with pytest.raises(ValueError, match=r"static_arg\w+ must .*(training|2)"):
        lrax.jit(lambda x, training: x, **options)


@pytest.mark.parametrize("options", [{"static_argnums": 1}, {"static_argnames": "n"}])
@jits
def test_static_arguments_inside_of_another_program(options, jit):
    times = lrax.jit(lambda x, n=2: x * n, **options)
    calls = (lambda x: times(x), lambda x: times(x, 3), lambda x: times(x, n=4))
    assert [float(call(1.0)) for call in calls] == [2, 3, 4]
    assert [float(jit(call)(1.0)) for call in calls] == [2, 3, 4]
    np.testing.assert_array_equal(transform.for_loop(calls[2], jnp.arange(3.0)), [0, 4, 8])
    with pytest.raises(ValueError, match=r"hashable.*\[1\]"):
        jit(lambda x: times(x, n=[1]))(1.0)


@pytest.mark.parametrize("packed", [lambda scheduler: scheduler, lambda scheduler: (scheduler,)])
@pytest.mark.parametrize("make", [lambda: lrax.StepLR(0.1, 2), lambda: lrax.ReduceLROnPlateau(0.1)])
def test_equal_schedulers_as_static_arguments_have_their_own_clocks(make, packed):
    schedulers = [make() for _ in range(2)]
    metric = {"metric": 1.0} if isinstance(schedulers[0], lrax.ReduceLROnPlateau) else {}

    def step(given):
        scheduler = given[0] if isinstance(given, tuple) else given
        scheduler.step(**metric)

    step = lrax.jit(step, static_argnums=0)
    for which in (0, 1, 0, 0):
        step(packed(schedulers[which]))
    assert [int(s.last_epoch.value) for s in schedulers] == [3, 1]


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError])
def test_an_error_of_the_function_is_not_taken_for_another(kind):
    @lrax.jit
    def step():
        raise kind("column x has been deleted")

    with pytest.raises(kind, match="column x has been deleted") as caught:
        step()
    assert type(caught.value) is kind
    assert "Copy such an array" not in str(caught.value)


class Quantized(brainstate.State):
    """Reads another dtype than it keeps."""

    def _read_value(self):
        return super()._read_value().astype(jnp.float32) / 2


def test_a_state_that_reads_other_values_than_it_keeps():
    quantized, total = Quantized(jnp.array([2, 4], jnp.int8)), brainstate.State(jnp.zeros(2))
    step = lrax.jit(lambda: setattr(total, "value", total.value + quantized.value))
    with pytest.raises(TypeError, match=r"_read_value of its own.*convert it in the function"):
        step()
