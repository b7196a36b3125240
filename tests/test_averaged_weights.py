"""Averages of weights, beside the sums in float64 and torch's: eager, compiled, mapped, swapped in, saved and copied."""

import copy
import json

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from formats import ANY, assert_plain, name_of
from helpers import assert_close, assert_trees_equal, compiled_programs
from steps import JITS, jits, memory_of
from training import Task

transform = brainstate.transform
RNG = np.random.default_rng(5)
SEEN = RNG.normal(size=(12, 3, 2)).astype(np.float32)
"""The weights that an average sees, one after the other; the first is there from the start."""


def warming_up(updates):
    return min(0.99, (1 + updates) / (10 + updates))


DECAYS = {  # what is given, and the decay before n updates were made
    "number": (0.9, lambda n: 0.9),
    "zero": (0.0, lambda n: 0.0),
    "almost one": (1 - 1e-6, lambda n: 1 - 1e-6),
    "equal": (None, lambda n: 1 - 1 / (n + 1)),
    "function": (lambda n: jnp.minimum(0.99, (1 + n) / (10 + n)), warming_up),
    "function of the host": (warming_up, warming_up),
    "optax": (optax.linear_schedule(0.5, 0.9, 8), lambda n: 0.5 + 0.4 * min(n / 8, 1)),
    "scheduler": (
        lrax.CosineAnnealingLR(0.9, T_max=8, eta_min=1.0),
        lambda n: 1 - 0.1 * (1 + np.cos(np.pi * min(n / 8, 1))) / 2,
    ),
}
decays = pytest.mark.parametrize("name", DECAYS)


def expected(decay, seen=SEEN):
    """The average after each update, summed up in float64."""
    average, found = np.float64(seen[0]), []
    for n, weight in enumerate(np.float64(seen[1:])):
        average = decay(n) * average + (1 - decay(n)) * weight
        found.append(average)
    return np.array(found)


def averaged_over(averaged, weight, seen=SEEN):
    found = []
    for value in seen[1:]:
        weight.value = jnp.asarray(value)
        averaged.update()
        found.append(np.asarray(averaged.value["w"]))
    return np.array(found)


def begin(decay=0.9, value=SEEN[0], **options):
    weight = brainstate.ParamState(jnp.asarray(value))
    return lrax.AveragedWeights({"w": weight}, decay, **options), weight


# --- values -----------------------------------------------------------------------------------------


@decays
def test_every_average_beside_its_sum_in_float64(name):
    decay, formula = DECAYS[name]
    averaged, weight = begin(decay)
    np.testing.assert_array_equal(averaged.value["w"], SEEN[0])
    assert averaged.updates == 0
    found = averaged_over(averaged, weight)
    assert_close(found, expected(formula), rtol=1e-6, floor=3e-7)
    assert averaged.updates == len(SEEN) - 1
    np.testing.assert_array_equal(weight.value, SEEN[-1])


def test_a_share_close_to_0_is_exact():
    """In float32 1 - 0.99999 would be 1.4e-3 of itself off."""
    averaged, weight = begin(1 - 1e-5, np.zeros(1, np.float32))
    weight.value = jnp.ones(1)
    averaged.update()
    assert_close(averaged.value["w"], [1e-5], rtol=1e-7)
    averaged, weight = begin(lambda n: 1 - 1e-5 * (n + 1), np.zeros(1, np.float32))
    weight.value = jnp.ones(1)
    averaged.update()
    assert_close(averaged.value["w"], [1e-5], rtol=1e-6)


def test_an_equal_average_is_the_mean():
    averaged, weight = begin(None)
    found = averaged_over(averaged, weight)
    for n in range(1, len(SEEN)):
        assert_close(found[n - 1], np.float64(SEEN[1 : n + 1]).mean(axis=0), floor=3e-7)


@pytest.mark.parametrize("decay", [None, 0.0])
def test_a_weight_that_is_all_of_the_average_is_not_rounded(decay):
    """3e8 + (1.1 - 3e8) is not 1.1."""
    averaged, weight = begin(decay, np.float32([3e8, -1e30]))
    weight.value = jnp.float32([1.1, 0.3])
    averaged.update()
    np.testing.assert_array_equal(averaged.value["w"], np.float32([1.1, 0.3]))


@pytest.mark.parametrize("decay", [0.75, None], ids=["exponential", "equal"])
def test_torch_averages_the_same(decay):
    torch = pytest.importorskip("torch")
    swa = pytest.importorskip("torch.optim.swa_utils")
    model = torch.nn.Linear(2, 3, bias=False)
    options = {} if decay is None else {"multi_avg_fn": swa.get_ema_multi_avg_fn(decay)}
    theirs = swa.AveragedModel(model, **options)
    # It takes over the first weights that it sees, where ours has those at construction.
    seen = SEEN if decay is None else np.concatenate([SEEN[:1], SEEN])
    averaged, weight = begin(decay)
    for ours, its in zip(seen[1:] if decay is None else SEEN, seen[1:], strict=True):
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(np.array(its)))
        theirs.update_parameters(model)
        weight.value = jnp.asarray(ours)
        averaged.update()
        assert_close(averaged.value["w"], theirs.module.weight.detach().numpy(), floor=3e-7)
    assert int(theirs.n_averaged) == averaged.updates


# --- the clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [None, *JITS.values()], ids=["eager", *JITS])
def test_one_clock_for_learning_rate_and_decay(jit):
    """Three updates an epoch, in the middle of a training that a jump has moved."""
    clock = lrax.StepLR(0.1, 2)
    own = lrax.LinearLR(0.9, 0.5, 1.0, 4, last_epoch=3)
    averaged, weight = begin(own, scheduler=clock)

    def update(value):
        weight.value = value
        averaged.update()

    update = update if jit is None else jit(update)
    wanted, epoch = np.float64(SEEN[0]), 0
    for n, value in enumerate(SEEN[1:]):
        if n == 6:
            clock.step(9)
            epoch = 9
        update(jnp.asarray(value))
        decay = 0.9 * (0.5 + 0.5 * min(epoch / 4, 1))
        wanted = decay * wanted + (1 - decay) * value
        assert_close(averaged.value["w"], wanted, floor=3e-7)
        if n % 3 == 2:
            clock.step()
            epoch += 1
    assert own.last_epoch.value == 3
    assert clock.last_epoch.value == epoch


def test_the_clock_of_the_decay_is_not_looked_at():
    own = lrax.ExponentialLR(0.5, gamma=0.5)
    own.step(7)
    averaged, weight = begin(own)
    own.step(9)
    assert_close(averaged_over(averaged, weight), expected(lambda n: 0.5 * 0.5**n), floor=3e-7)
    assert own.last_epoch.value == 9
    assert repr(averaged) == (
        "AveragedWeights(1 weights, decay=ExponentialLR(base_lr=0.5, gamma=0.5))"
    )


@pytest.mark.parametrize("decay", [
    lambda n: jnp.where(n < 2, 0.5, jnp.where(n < 5, 1.5, -2.0)),
    lambda n: 0.5 if n < 2 else 1.5 if n < 5 else -2.0,
    lrax.PiecewiseConstantSchedule(boundaries=[2, 5], values=[0.5, 1.5, 0.0]),
])  # fmt: skip
def test_what_is_out_of_range_later_is_clamped(decay):
    averaged, weight = begin(decay)
    wanted = expected(lambda n: 0.5 if n < 2 else 1.0 if n < 5 else 0.0)
    found = averaged_over(averaged, weight)
    assert_close(found, wanted, floor=3e-7)
    np.testing.assert_array_equal(found[2:5], np.stack([found[1]] * 3))
    np.testing.assert_array_equal(found[5:], SEEN[6:])


@pytest.mark.parametrize("decay, message", [
    (1.0, r"decay must be a number in \[0, 1\), got 1.0\."),
    (lambda n: 1.0, r"decay must be a number in \[0, 1\), got 1.0 at epoch 0, from <function"),
    (lrax.StepLR(2.0), r"decay must be .*, got 2.0 at epoch 0, from StepLR\(base_lr=2.0"),
    (lrax.ReduceLROnPlateau(0.9), "with a memory is not.*Pass a number"),
    (lrax.SequentialLR([lrax.StepLR(0.9), lrax.ReduceLROnPlateau(0.9)], [3]), "with a memory"),
    (lrax.StepLR([0.9, 0.99]), "a list of 2"),
    (lambda n: "0.9", "must return one number, got '0.9'"),
])  # fmt: skip
def test_a_decay_that_is_none(decay, message):
    with pytest.raises((TypeError, ValueError), match=message):
        begin(decay)


def test_a_clock_that_nothing_depends_on():
    for decay in (0.9, None):
        with pytest.raises(ValueError, match="scheduler must be left out unless decay depends"):
            begin(decay, scheduler=lrax.StepLR())


# --- programs ---------------------------------------------------------------------------------------


def in_a_loop(averaged, weight, seen):
    def body(value):
        weight.value = value
        averaged.update()
        return averaged.value["w"]

    return np.asarray(transform.for_loop(body, jnp.asarray(seen[1:])))


def by_calls(jit):
    def run(averaged, weight, seen):
        @jit
        def update(value):
            weight.value = value
            averaged.update()

        found = []
        for value in seen[1:]:
            update(jnp.asarray(value))
            found.append(np.asarray(averaged.value["w"]))
        return np.array(found)

    return run


WAYS = {"for_loop": in_a_loop, **{name: by_calls(jit) for name, jit in JITS.items()}}


@decays
@pytest.mark.parametrize("way", WAYS)
def test_every_program_gives_the_same_bits(name, way):
    eager = averaged_over(*begin(DECAYS[name][0]))
    averaged, weight = begin(DECAYS[name][0])
    np.testing.assert_array_equal(WAYS[way](averaged, weight, SEEN), eager)
    assert averaged.updates == len(SEEN) - 1


@jits
@pytest.mark.parametrize("decay", [0.9, None], ids=["exponential", "equal"])
def test_in_one_program_with_the_training_step(decay, jit):
    """Step by step, and fused with what makes the weights: the same bits."""
    found = []
    for compiled in (False, True):
        task = Task()
        optimizer = lrax.AdamW(lr=0.1).register_trainable_weights(task.params)
        averaged = lrax.AveragedWeights(task.params, decay)

        def train_step(x, y, task=task, optimizer=optimizer, averaged=averaged):
            optimizer.step(task.gradient(x, y)[0])
            averaged.update()

        fused = jit(train_step)
        for batch in range(8):
            if compiled:
                fused(*[data[batch % 4] for data in task.batches])
            else:
                optimizer.step(task.grads(batch))
                averaged.update()
        found.append((task.values(), averaged.value))
    assert_trees_equal(*found)


@jits
def test_one_compilation_and_no_second_copy(jit):
    task = Task()
    scheduler = lrax.StepLR(0.1, 3)
    optimizer = lrax.AdamW(lr=scheduler).register_trainable_weights(task.params)
    averaged = lrax.AveragedWeights(task.params, lambda epoch: 0.9, scheduler=scheduler)
    batch = [data[0] for data in task.batches]

    @jit
    def train_step(x, y):
        optimizer.step(task.gradient(x, y)[0])
        averaged.update()

    train_step(*batch)
    states = [*task.params.values(), averaged.state, optimizer.opt_state]
    before = memory_of(states)
    averaged.load_state_dict(averaged.state_dict())
    with averaged.swapped():
        task.total_loss()
    optimizer.step(task.grads())
    averaged.update()  # compiles its own program
    scheduler.step(2)
    with compiled_programs() as compiled:
        train_step(*batch)
        averaged.update()
        train_step(*batch)
    assert compiled == []
    if jit is lrax.jit:
        settled = memory_of(states)
        train_step(*batch)
        assert memory_of(states) == settled
        assert len(before) == len(settled)


def test_plain_jax_is_refused():
    averaged, _ = begin()
    saved = averaged.state_dict()
    for call in (
        averaged.update,
        averaged.swapped().__enter__,
        lambda: averaged.load_state_dict(saved),
    ):
        with pytest.raises(Exception, match=r"AveragedWeights\..*plain jax transformation"):
            jax.jit(call)()
    assert averaged.updates == 0


def test_many_averages_at_once():
    """Each with a decay of its own, which nobody knows while tracing."""

    def run(decay, seen):
        weight = brainstate.ParamState(seen[0])
        averaged = lrax.AveragedWeights({"w": weight}, decay)
        scheduled = lrax.AveragedWeights({"w": weight}, lrax.LinearLR(decay, 0.5, 1.0, 4))

        def body(value):
            weight.value = value
            averaged.update()
            scheduled.update()
            with averaged.swapped():
                inside = weight.value
            return averaged.value["w"], scheduled.value["w"], inside, weight.value

        return transform.for_loop(body, seen[1:])

    decays, seen = np.float32([0.0, 0.5, 0.99]), np.stack([SEEN, SEEN[::-1], SEEN * 3])
    for mapped in (jax.vmap, transform.vmap):
        constant, scheduled, inside, after = mapped(run)(jnp.asarray(decays), jnp.asarray(seen))
        for i, decay in enumerate(np.float64(decays)):
            assert_close(constant[i], expected(lambda n, d=decay: d, seen[i]), floor=1e-6)
            rising = [decay * (0.5 + 0.5 * min(n / 4, 1)) for n in range(len(SEEN))]
            assert_close(scheduled[i], expected(rising.__getitem__, seen[i]), floor=1e-6)
        np.testing.assert_array_equal(inside, constant)
        np.testing.assert_array_equal(after, seen[:, 1:])


# --- weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_has_an_average_in_float32(dtype):
    """In its own dtype it would stand still: a thousandth of the way is less than half a bit."""
    averaged, weight = begin(0.999, jnp.ones(2, dtype))
    weight.value = jnp.full(2, 1.25, dtype)
    for _ in range(100):
        averaged.update()
    assert averaged.value["w"].dtype == jnp.float32
    assert_close(averaged.value["w"], [1.25 - 0.25 * 0.999**100] * 2, rtol=1e-5)
    with averaged.swapped():
        assert weight.value.dtype == dtype
        np.testing.assert_array_equal(weight.value, averaged.value["w"].astype(dtype))
    assert weight.value.dtype == dtype
    assert float(weight.value[0]) == 1.25


def tree(factor):
    numbers = np.float32([1.0, -2.0, 0.5]) * factor
    return {
        "nested": {"weight": jnp.asarray(numbers), "bias": (jnp.asarray(numbers[:1]), None)},
        "complex": jnp.asarray(numbers * np.complex64(1 + 2j)),
        "python": float(3 * factor),
    }


@pytest.mark.parametrize("jit", [None, *JITS.values()], ids=["eager", *JITS])
def test_any_tree_of_numbers(jit):
    states = {name: brainstate.ParamState(value) for name, value in tree(1.0).items()}
    averaged = lrax.AveragedWeights([states], 0.75)
    assert {*averaged.param_states} == {"0.nested", "0.complex", "0.python"}

    def update():
        averaged.update()
        with averaged.swapped():
            return {name: state.value for name, state in states.items()}

    update = update if jit is None else jit(update)
    for name, value in tree(5.0).items():
        states[name].value = value
    inside = update()
    wanted = tree(2.0)  # 0.75 + 0.25 * 5
    for name, value in wanted.items():
        found = averaged.value[f"0.{name}"]
        assert jax.tree.structure(found) == jax.tree.structure(value)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(value), strict=True):
            assert a.dtype == jnp.result_type(b)
            assert not a.weak_type
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert_trees_equal(inside, {name: averaged.value[f"0.{name}"] for name in wanted})
    assert_trees_equal({name: state.value for name, state in states.items()}, tree(5.0))


def test_quantities_are_averaged_as_their_numbers_are():
    u = pytest.importorskip("brainunit")
    weight = brainstate.ParamState(jnp.ones(3) * u.mV)
    averaged = lrax.AveragedWeights({"w": weight}, 0.5)
    weight.value = 3.0 * jnp.ones(3) * u.mV
    averaged.update()
    with averaged.swapped():
        assert u.get_unit(weight.value) == u.mV
        np.testing.assert_array_equal(weight.value / u.mV, [2.0, 2.0, 2.0])


def test_a_weight_of_another_shape_is_refused():
    averaged, weight = begin()
    before = averaged.state_dict()
    weight.value = jnp.ones(4)
    with pytest.raises(ValueError, match=r"weight 'w' must have .*\(3, 2\).*got .*\(4,\)"):
        averaged.update()
    with pytest.raises(ValueError, match="must have the structure"), averaged.swapped():
        pass
    np.testing.assert_array_equal(weight.value, np.ones(4))
    assert_trees_equal(averaged.state_dict(), before)


def test_the_weights_may_be_given_away():
    """The average holds copies: a call that donates the weights leaves it alone, and the other way round."""
    averaged, weight = begin()
    given = jnp.asarray(SEEN[0])
    other = lrax.AveragedWeights({"w": brainstate.ParamState(given)})
    given.delete()
    np.testing.assert_array_equal(other.value["w"], SEEN[0])
    double = lrax.jit(lambda: setattr(weight, "value", weight.value * 2))
    double()
    np.testing.assert_array_equal(averaged.value["w"], SEEN[0])
    with averaged.swapped():
        kept = averaged.value["w"]
        assert_close(lrax.jit(lambda: weight.value.sum())(), np.float64(SEEN[0]).sum())
    double()
    np.testing.assert_array_equal(kept, SEEN[0])
    np.testing.assert_array_equal(weight.value, 4 * SEEN[0])


# --- swapped ----------------------------------------------------------------------------------------


def test_a_model_is_evaluated_with_its_average_and_goes_on_with_its_weights():
    task = Task()
    optimizer = lrax.SGD(lr=0.1).register_trainable_weights(task.params)
    averaged = lrax.AveragedWeights(task.params, None)
    first = task.values()
    for batch in range(3):
        optimizer.step(task.grads(batch))
        averaged.update()
    before, last = task.total_loss(), {k: s.value for k, s in task.params.items()}
    evaluate = transform.jit(lambda: task.loss(*[data[0] for data in task.batches]))
    outside = evaluate()
    with averaged.swapped():
        inside = task.values()
        assert evaluate() != outside
        assert task.total_loss() != before
        task.grads()
    assert {k: s.value for k, s in task.params.items()} == last  # the very same arrays
    assert task.total_loss() == before
    assert_trees_equal([*inside.values()], [*averaged.value.values()])
    assert not np.array_equal(jax.tree.leaves(first)[0], jax.tree.leaves(inside)[0])


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_the_weights_come_back_whatever_happens(error):
    averaged, weight = begin()
    weight.value = before = jnp.asarray(SEEN[1])

    def fail():
        with averaged.swapped():
            np.testing.assert_array_equal(weight.value, SEEN[0])
            raise error

    with pytest.raises(error):
        fail()
    assert weight.value is before
    averaged.update()
    with averaged.swapped():
        pass


def test_what_needs_the_weights_is_refused_while_they_are_gone():
    averaged, weight = begin()
    weight.value = before = jnp.asarray(SEEN[1])
    with averaged.swapped():
        for call in (averaged.update, lrax.jit(averaged.update), averaged.swapped().__enter__):
            with pytest.raises(RuntimeError, match=r"inside of swapped\(\) they are their average"):
                call()
        np.testing.assert_array_equal(weight.value, SEEN[0])
        averaged.load_state_dict(averaged.state_dict())
    assert weight.value is before
    assert averaged.updates == 0


@pytest.mark.parametrize("jit", JITS.values(), ids=[*JITS])
def test_an_update_that_was_compiled_before_is_undone(jit):
    averaged, weight = begin()
    update = jit(averaged.update)
    weight.value = jnp.asarray(SEEN[1])
    update()
    before = jax.tree.map(np.array, averaged.state.value)
    weight.value = held = jnp.asarray(SEEN[0])
    with pytest.raises(RuntimeError, match=r"update\(\) needs the weights"), averaged.swapped():
        update()
    assert weight.value is held
    assert_trees_equal(averaged.state.value, before)
    update()
    assert averaged.updates == 2
    with averaged.swapped():
        averaged.load_state_dict(averaged.state_dict())
    assert averaged.updates == 2


@pytest.mark.parametrize("jit", [None, *JITS.values()], ids=["eager", *JITS])
def test_a_training_step_with_the_average_is_an_error(jit):
    averaged, weight = begin()
    optimizer = lrax.SGD(lr=0.1, momentum=0.9).register_trainable_weights({"w": weight})
    step = lambda: optimizer.step({"w": jnp.ones((3, 2))})  # noqa: E731
    step = step if jit is None else jit(step)
    step()
    before, kept = weight.value, np.array(weight.value)

    def evaluate(error=None):
        with averaged.swapped():
            step()
            if error:
                raise error

    with pytest.raises(RuntimeError, match=r"written there.*Train outside"):
        evaluate()
    assert weight.value is before
    np.testing.assert_array_equal(weight.value, kept)
    np.testing.assert_array_equal(averaged.value["w"], SEEN[0])
    with pytest.raises(KeyError):  # what went wrong first is told
        evaluate(KeyError)
    assert weight.value is before


@jits
def test_swapped_inside_of_a_program(jit):
    averaged, weight = begin(0.5)

    @jit
    def update_and_look(value):
        weight.value = value
        averaged.update()
        with averaged.swapped():
            inside = weight.value * 1
            total = transform.for_loop(lambda i: jnp.sum(weight.value) * i, jnp.arange(3.0))
        return inside, total, weight.value * 1

    for value, wanted in zip(SEEN[1:], expected(lambda n: 0.5), strict=True):
        inside, total, after = update_and_look(jnp.asarray(value))
        assert_close(inside, wanted, floor=3e-7)
        assert_close(total, wanted.sum() * np.arange(3), floor=1e-6)
        np.testing.assert_array_equal(after, value)
        np.testing.assert_array_equal(weight.value, value)

    @jit
    def train_inside():
        with averaged.swapped():
            weight.value = weight.value + 1

    with pytest.raises(RuntimeError, match="written there"):
        train_inside()
    np.testing.assert_array_equal(weight.value, SEEN[-1])
    averaged.update()


# --- checkpoints and copies -------------------------------------------------------------------------


def trained(decay, updates):
    averaged, weight = begin(decay)
    averaged_over(averaged, weight, SEEN[: updates + 1])
    return averaged, weight


@pytest.mark.parametrize("way", ANY, ids=name_of)
def test_resuming_is_exact(way, tmp_path):
    for name in ("number", "equal", "scheduler", "function"):
        decay = DECAYS[name][0]
        whole, weight = trained(decay, 11)
        part, _ = trained(decay, 5)
        saved = part.state_dict()
        assert_plain({k: v for k, v in saved.items() if k != "average"})
        assert_plain(saved["average"], arrays=True)
        fresh, weight = begin(decay, SEEN[7])
        (tmp_path / name).mkdir()
        found = way(saved, fresh.state_dict(), tmp_path / name)
        fresh.load_state_dict(found)
        np.testing.assert_array_equal(weight.value, SEEN[7])  # they are saved by who has them
        assert fresh.updates == 5
        averaged_over(fresh, weight, SEEN[5:])
        assert_trees_equal(fresh.state.value, whole.state.value)


def test_a_state_dict_is_a_copy():
    averaged, weight = begin()
    averaged.state_dict()["average"]["w"].delete()
    saved = averaged.state_dict()
    averaged.load_state_dict(saved)
    averaged.value["w"].delete()
    averaged.load_state_dict(saved)
    assert averaged.state.value["updates"].dtype == np.int32
    lrax.jit(averaged.update)()
    weight.value = jnp.asarray(SEEN[1])
    lrax.jit(averaged.update)()
    np.testing.assert_array_equal(saved["average"]["w"], SEEN[0])
    averaged.load_state_dict(saved)
    lrax.jit(averaged.update)()
    np.testing.assert_array_equal(saved["average"]["w"], SEEN[0])


OTHERS = {
    "number": (0.5, r"AveragedWeights.decay: saved 0.9, here 0.5"),
    "equal": (None, r"AveragedWeights.decay: saved 0.9, here None"),
    "scheduler": (lrax.StepLR(0.5), r"AveragedWeights.decay: saved 0.9, here StepLR"),
    "function": (lambda n: 0.9, r"AveragedWeights.decay: saved 0.9, here function"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_decay_is_noticed(name):
    decay, message = OTHERS[name]
    saved = trained(0.9, 4)[0].state_dict()
    averaged, _ = begin(decay, SEEN[3])
    before = jax.tree.map(np.array, averaged.state.value)
    with pytest.raises(ValueError, match=f"{message}.*strict=False"):
        averaged.load_state_dict(saved)
    with pytest.raises(UserWarning, match=message):  # it is an error here
        averaged.load_state_dict(saved, strict=False)
    assert_trees_equal(averaged.state.value, before)
    with pytest.warns(UserWarning, match=message) as caught:
        averaged.load_state_dict(saved, strict=False)
    assert caught[0].filename == __file__
    assert averaged.updates == 4
    assert_trees_equal(averaged.state_dict()["average"], saved["average"])
    assert averaged.decay is decay or name == "scheduler"


def changed(**entries):
    return lambda saved: {**saved, **entries}


WRONG = {
    "no version": (lambda s: {k: v for k, v in s.items() if k != "version"}, "with a version"),
    "another version": (changed(version=9), "version 9"),
    "no average": (lambda s: {k: v for k, v in s.items() if k != "average"}, "lacks"),
    "something else": (changed(more=3), "unknown keys"),
    "an optimizer's": (lambda s: lrax.SGD().state_dict(), "lacks"),
    "half an update": (changed(updates=2.5), "updates must be a whole number"),
    "less than no update": (changed(updates=-1), "updates must be a whole number"),
    "too many updates": (changed(updates=2**31), "updates must be a whole number"),
    "another weight": (changed(average={"v": SEEN[0]}), "average lacks"),
    "another shape": (changed(average={"w": SEEN[0][0]}), r"average.w must be .*\(3, 2\)"),
    "another kind": (changed(average={"w": SEEN[0].astype(int)}), "average.w must be float32"),
    "too large": (changed(average={"w": np.full((3, 2), 1e39)}), "average.w must fit into float32"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_dict_that_does_not_fit_changes_nothing(name):
    change, message = WRONG[name]
    averaged, _ = trained(0.9, 4)
    before = averaged.state.value
    for strict in (True, False):
        with pytest.raises(ValueError, match=message):
            averaged.load_state_dict(change(averaged.state_dict()), strict=strict)
    assert averaged.state.value is before


def test_a_state_dict_without_its_average_is_json():
    saved = trained(DECAYS["scheduler"][0], 3)[0].state_dict()
    average = saved.pop("average")
    assert json.loads(json.dumps(saved)) == {
        "version": 1,
        "updates": 3,
        "AveragedWeights": {
            "decay": {
                "CosineAnnealingLR": {"base_lr": 0.9, "T_max": 8, "eta_min": 1.0, "exponent": 1.0}
            }
        },
    }
    assert average.keys() == {"w"}


@pytest.mark.parametrize("copied", [
    copy.deepcopy,
    lambda pair: brainstate.graph.treefy_merge(*brainstate.graph.treefy_split(pair)),
], ids=["deepcopy", "split and merged"])  # fmt: skip
def test_a_copy_has_an_average_of_its_own(copied):
    class Both(brainstate.graph.Node):
        def __init__(self):
            self.weight = brainstate.ParamState(jnp.asarray(SEEN[0]))
            self.clock = lrax.StepLR(0.1, 3)
            self.averaged = lrax.AveragedWeights(
                {"w": self.weight}, warming_up, scheduler=self.clock
            )

    both = Both()
    averaged_over(both.averaged, both.weight, SEEN[:4])
    before = jax.tree.map(np.array, both.averaged.state.value)
    twin = copied(both)
    assert type(twin.averaged) is lrax.AveragedWeights
    assert twin.averaged.param_states["w"] is twin.weight
    assert twin.averaged.scheduler is twin.clock
    twin.clock.step(5)
    found = averaged_over(twin.averaged, twin.weight, SEEN[3:])
    assert twin.averaged.updates == 3 + 8
    assert_trees_equal(both.averaged.state.value, before)
    np.testing.assert_array_equal(both.weight.value, SEEN[3])
    both.clock.step(5)
    np.testing.assert_array_equal(averaged_over(both.averaged, both.weight, SEEN[3:]), found)


def test_states_of_an_average():
    clock = lrax.StepLR(0.1, 3)
    averaged, weight = begin(lrax.StepLR(0.9), scheduler=clock)
    found = {id(state) for state in brainstate.graph.states(averaged).values()}
    assert found >= {id(averaged.state), id(weight), id(clock.last_epoch)}


# --- attributes -------------------------------------------------------------------------------------


class Noted(lrax.AveragedWeights):
    def __init__(self, params, note="mine"):
        super().__init__(params, 0.5)
        self.note = note


@pytest.mark.parametrize(
    "name", ["decay", "params", "scheduler", "state", "value", "updates", "typo"]
)
def test_attributes_are_fixed(name):
    averaged, _ = begin()
    before = dict(vars(averaged))
    with pytest.raises(AttributeError, match=f"'{name}' of AveragedWeights cannot be set.*new"):
        setattr(averaged, name, 0.5)
    assert vars(averaged) == before
    with pytest.raises(AttributeError, match="counted or scheduled, and cannot be set"):
        averaged.updates.value = 3


def test_a_class_of_a_user_has_attributes_of_its_own():
    averaged = Noted({"w": brainstate.ParamState(jnp.ones(2))})
    averaged.note = averaged.more = "changed"
    with pytest.raises(AttributeError, match="'state' of Noted"):
        averaged.state = 3
    averaged.update()
    assert averaged.state_dict()["Noted"] == {"decay": 0.5}
    assert (copy.deepcopy(averaged).note, averaged.more) == ("changed", "changed")


# --- options of jax ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["number", "equal", "scheduler", "function of the host"])
def test_no_transfers_and_no_promotion(name):
    wanted = averaged_over(*begin(DECAYS[name][0]))
    values = [jnp.asarray(value) for value in SEEN]
    strict = jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise")
    with jax.transfer_guard("disallow"), strict[0], strict[1]:
        weight = brainstate.ParamState(values[0])
        number = brainstate.ParamState(1.0)
        averaged = lrax.AveragedWeights({"w": weight, "v": number}, DECAYS[name][0])
        step = lrax.jit(averaged.update)
        for n, value in enumerate(values[1:]):
            weight.value = value
            (step if n % 2 else averaged.update)()
            with averaged.swapped():
                pass
        averaged.load_state_dict(averaged.state_dict())
    np.testing.assert_array_equal(averaged.value["w"], wanted[-1])


def test_without_jit():
    wanted = averaged_over(*begin(0.9))
    with jax.disable_jit():
        assert_close(averaged_over(*begin(0.9)), wanted, floor=3e-7)


def test_float64_weights():
    with jax.enable_x64(True):
        averaged, weight = begin(0.75, np.float64(SEEN[0]))
        found = averaged_over(averaged, weight, np.float64(SEEN))
        assert averaged.value["w"].dtype == np.float64
        assert averaged.state.value["updates"].dtype == np.int32
    assert_close(found, expected(lambda n: 0.75), rtol=1e-12, floor=1e-13)


def test_statistics_are_averaged_too():
    """As torch does with use_buffers=True."""
    mean = brainstate.BatchState(jnp.zeros(1))
    average = lrax.AveragedWeights({"mean": mean}, decay=0.5)
    mean.value = jnp.ones(1)
    average.update()
    np.testing.assert_array_equal(average.value["mean"], [0.5])
