"""``auto_step=True``: the scheduler is stepped once for each update, by the optimizer and by nobody else."""

import copy
import gc
import warnings

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from counted import RUNS, SHAPES, START, begin, gradients, spoiled, stacked, values
from helpers import assert_close, assert_same_bits, assert_trees_equal, compiled_programs
from steps import jits

transform = brainstate.transform
STEP = r"step\(\) must be left to the optimizer"
METRIC = "auto_step=True must have (a scheduler that needs no|no schedule that needs a) metric"


def halving(base=0.1):
    return lrax.ExponentialLR(base, gamma=0.5)


def make(scheduler=None, **options):
    scheduler = halving() if scheduler is None else scheduler
    build = lambda **own: lrax.AdamW(lr=scheduler, **own)  # noqa: E731
    return *begin(build, **{"auto_step": True, **options}), scheduler


def epoch(scheduler):
    return int(scheduler.last_epoch.value)


def dropped(function):
    """What it returns, when all else that it made is gone."""
    result = function()
    gc.collect()
    return result


@pytest.mark.parametrize("run", RUNS)
def test_the_clock_counts_updates(run):
    """Neither what is accumulated nor what is left out; the learning rates are those of optax by update."""
    k, grads = 3, gradients(11)
    tx = optax.MultiSteps(optax.adamw(lambda count: 0.1 * 0.5**count, weight_decay=0.01), k)
    weights = {name: jnp.array(value) for name, value in START.items()}
    state, update = tx.init(weights), jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, weights)
        weights = optax.apply_updates(weights, updates)

    grads[4:4] = [spoiled("a", np.nan), spoiled("b", np.inf)]
    decay = lrax.ConstantLR(0.01, factor=1.0)
    optimizer, found, scheduler = make(
        accumulate_steps=k, skip_nonfinite=True, weight_decay=decay, betas=(0.9, 0.999)
    )
    RUNS[run](optimizer.step, grads)
    assert epoch(scheduler) == int(optimizer.step_count) == 3
    assert int(optimizer.skipped) == 2
    assert_same_bits(optimizer.current_lr, np.float32(0.1 * 0.5**3))
    for name in SHAPES:
        assert_close(found[name].value, weights[name], rtol=2e-6)


def test_the_same_bits_in_every_mode():
    grads = [*gradients(4), spoiled("a", np.nan), *gradients(6)]
    results = {}
    for run, train in RUNS.items():
        optimizer, weights, scheduler = make(accumulate_steps=3, skip_nonfinite=True)
        train(optimizer.step, grads)
        results[run] = values(weights), np.asarray(scheduler.last_epoch.value)
    assert len(results) == 5
    for result in results.values():
        assert_trees_equal(result, results["eager"])


@jits
def test_one_program(jit):
    optimizer, _, scheduler = make(accumulate_steps=2, skip_nonfinite=True)
    step, grads = jit(optimizer.step), [*gradients(4), spoiled("a", np.nan), *gradients(2)]
    with compiled_programs() as compiled:
        for g in grads:
            step(g)
    assert len(compiled) == 1
    assert epoch(scheduler) == 3


def test_mapped_trainings_step_each_by_itself():
    grads, bad = stacked(gradients(6)), np.zeros((2, 6), bool)
    bad[0, :3] = True

    def train(lr, bad):
        optimizer, weights, scheduler = make(halving(lr), skip_nonfinite=True)
        spoil = lambda g, nan: jax.tree.map(lambda v: jnp.where(nan, jnp.nan, v), g)  # noqa: E731
        transform.for_loop(lambda g, nan: optimizer.step(spoil(g, nan)), grads, bad)
        return weights["b"].value, scheduler.last_epoch.value, optimizer.current_lr

    rates = np.float32([0.1, 0.3])
    found = transform.vmap(train)(rates, bad)
    assert found[1].tolist() == [3, 6]
    for i, lr in enumerate(rates):
        weight, _, rate = train(lr, bad[i])
        assert_close(found[0][i], weight, floor=1e-6)
        assert_same_bits(found[2][i], rate)


def test_a_learning_rate_set_by_hand_stays_until_the_next_update():
    optimizer, weights, _ = make(accumulate_steps=2)
    first, second = gradients(2)
    optimizer.current_lr = 0.0
    optimizer.step(first)
    assert float(optimizer.current_lr) == 0
    optimizer.step(second)
    np.testing.assert_array_equal(weights["b"].value, START["b"])
    assert_same_bits(optimizer.current_lr, np.float32(0.05))


# --- Nobody else steps it ----------------------------------------------------------------------------

BY_HAND = {
    "step()": lambda s: s.step(),
    "step(5)": lambda s: s.step(5),
    "step_epoch()": lambda s: s.step_epoch(),
    "lrax.jit": lambda s: lrax.jit(s.step)(),
    "brainstate.jit": lambda s: transform.jit(s.step)(),
    "for_loop": lambda s: transform.for_loop(s.step, jnp.arange(3)),
}


@pytest.mark.parametrize("by_hand", BY_HAND)
def test_no_step_by_hand(by_hand):
    optimizer, _, scheduler = make()
    with pytest.raises(RuntimeError, match=STEP):
        BY_HAND[by_hand](scheduler)
    assert epoch(scheduler) == 0
    optimizer.step(gradients(1)[0])
    assert epoch(scheduler) == 1


@pytest.mark.parametrize("by_hand", BY_HAND)
def test_a_scheduler_outlives_its_optimizer(by_hand):
    scheduler = dropped(lambda: make()[2])
    BY_HAND[by_hand](scheduler)
    assert epoch(scheduler) == {"step(5)": 5, "for_loop": 2}.get(by_hand, 1)
    assert_same_bits(scheduler.get_last_lr()[0], scheduler(scheduler.last_epoch.value))


def test_after_an_exchange():
    optimizer, _, old = make()
    new, g = lrax.StepLR(0.2, step_size=1, gamma=0.5), gradients(1)[0]
    optimizer.step(g)
    new.attach_optimizer(optimizer)
    old.step()
    old.step(7)
    with pytest.raises(RuntimeError, match=STEP):
        new.step()
    optimizer.step(g)
    assert (epoch(old), epoch(new)) == (7, 1)
    assert_same_bits(optimizer.current_lr, np.float32(0.1))
    optimizer.add_scheduler(old)
    new.step()
    optimizer.step(g)
    assert (epoch(old), epoch(new)) == (8, 2)


@jits
def test_a_compiled_step_follows_an_exchange(jit):
    """It is another program then, once for each scheduler: that of the first would step the first for ever."""
    optimizer, _, first = make(accumulate_steps=2, skip_nonfinite=True)
    second, g = lrax.StepLR(0.2, step_size=1, gamma=0.5), gradients(1)[0]
    step = jit(optimizer.step)
    programs = []
    for scheduler in (first, second, first, second):
        if optimizer.lr is not scheduler:
            optimizer.add_scheduler(scheduler)
        with compiled_programs() as compiled:
            for _ in range(4):
                step(g)
        programs.append(len(compiled))
        optimizer.load_state_dict(optimizer.state_dict())
    assert (epoch(first), epoch(second)) == (4, 4)
    assert_same_bits(optimizer.current_lr, np.float32(0.2 / 16))
    assert programs == [1, 1, 0, 0]


@pytest.mark.parametrize("copy_of", [copy.deepcopy, brainstate.graph.clone])
def test_a_copy_steps_its_own(copy_of):
    optimizer, _, scheduler = make()
    twin, g = copy_of(optimizer), gradients(1)[0]
    optimizer.step(g)
    twin.step(g)
    twin.step(g)
    assert (epoch(scheduler), epoch(twin.lr)) == (1, 2)
    for one in (optimizer, twin):
        with pytest.raises(RuntimeError, match=STEP):
            one.lr.step()
    left = twin.lr
    del twin, one
    gc.collect()
    left.step()
    assert epoch(left) == 3
    with pytest.raises(RuntimeError, match=STEP):
        scheduler.step()


# --- What it cannot step -----------------------------------------------------------------------------


def plateau(base=0.1):
    return lrax.ReduceLROnPlateau(base)


PLATEAUS = {
    "lr": lambda s: make(plateau()),
    "a part of lr": lambda s: make(lrax.SequentialLR([lrax.StepLR(0.1, 3), plateau()], [3])),
    "weight_decay": lambda s: make(s, weight_decay=plateau()),
    "betas": lambda s: make(s, betas=(plateau(0.9), 0.999)),
    "grad_clip_norm": lambda s: make(s, grad_clip_norm=plateau()),
    "lr of a group": lambda s: make(s, groups={"a": {"lr": plateau()}}),
    "decay of a group": lambda s: make(s, groups={"a": {"weight_decay": plateau()}}),
}


@pytest.mark.parametrize("where", PLATEAUS)
def test_no_plateau(where):
    scheduler = halving()

    def attempt():
        with pytest.raises(ValueError, match=METRIC):
            PLATEAUS[where](scheduler)

    dropped(attempt)
    scheduler.step()  # it is nobody's
    assert epoch(scheduler) == 1


EXCHANGES = {
    "a plateau": (plateau, METRIC),
    "one that another follows": (lambda: make(auto_step=False)[0], "no other optimizer follows"),
    "one that another steps": (lambda: make()[0], "another optimizer steps"),
}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_refused_exchange_changes_nothing(exchange):
    make_other, match = EXCHANGES[exchange]
    optimizer, _, scheduler = make()
    other = make_other()
    new = other if isinstance(other, lrax.LRScheduler) else other.lr
    with pytest.raises(ValueError, match=match):
        optimizer.add_scheduler(new)
    assert optimizer.lr is scheduler
    with pytest.raises(RuntimeError, match=STEP):
        scheduler.step()
    optimizer.step(gradients(1)[0])
    assert (epoch(scheduler), epoch(new)) == (1, 0)


@pytest.mark.parametrize("options", [{"lr": plateau}, {"weight_decay": plateau}])
def test_a_refused_group_changes_nothing(options):
    optimizer, _, scheduler = make()
    given = {name: value() for name, value in options.items()}
    with pytest.raises(ValueError, match=METRIC):
        optimizer.add_param_group({"c": brainstate.ParamState(jnp.ones(2))}, **given)
    optimizer.step(gradients(1)[0])
    assert epoch(scheduler) == 1
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("first", [True, False])
def test_no_scheduler_of_two_optimizers(first):
    optimizer, _, scheduler = make(auto_step=first)
    for second in (True, False) if first else (True,):
        with pytest.raises(ValueError, match="Give each a scheduler of its own"):
            make(scheduler, auto_step=second)
    del optimizer
    gc.collect()
    second, *_ = make(scheduler)  # the first is gone
    second.step(gradients(1)[0])
    assert epoch(scheduler) == 1


@pytest.mark.braintools
@pytest.mark.parametrize("first", ["adapter", "optimizer"])
def test_adapters_for_braintools_follow(first):
    pytest.importorskip("braintools")
    scheduler = halving()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of braintools' own imports
        adapter = lrax.interop.to_braintools(scheduler) if first == "adapter" else None
        optimizer, *_ = make(scheduler)
        adapter = adapter or lrax.interop.to_braintools(scheduler)
    for _ in range(3):
        optimizer.step(gradients(1)[0])
    assert_same_bits(adapter.get_last_lr(), np.float32([0.1 / 8]))
    with pytest.raises(RuntimeError, match=STEP):
        adapter.step()
    del optimizer
    gc.collect()
    adapter.step()
    assert epoch(scheduler) == 4


# --- Saved -------------------------------------------------------------------------------------------


def test_resumed_in_the_middle():
    grads = gradients(9)
    optimizer, weights, _ = make(accumulate_steps=2)
    for g in grads[:5]:
        optimizer.step(g)
    twin, resumed, scheduler = make(accumulate_steps=2, start=values(weights))
    twin.load_state_dict(optimizer.state_dict())
    assert epoch(scheduler) == 2
    for g in grads[5:]:
        optimizer.step(g)
        twin.step(g)
        assert_trees_equal(values(resumed), values(weights))
    assert epoch(scheduler) == epoch(optimizer.lr) == 4
    assert_same_bits(twin.current_lr, np.float32(0.1 / 16))
