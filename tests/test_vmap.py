"""Many trainings at once: built inside a mapped function, or mapped over their States; each equals the one by itself."""

import itertools

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from any_tree import OPTIMIZERS, loss_of, optimizers, schedule, train
from helpers import (
    assert_close,
    assert_same_bits,
    assert_trees_close,
    compiled_programs,
    in_three,
    slow_but,
    values_of,
)
from saved import contents

transform = brainstate.transform
STEPS, BATCH = 40, 16
RNG = np.random.default_rng(2)
X = jnp.asarray(RNG.normal(size=(STEPS, BATCH, 6)), jnp.float32)
Y = jnp.asarray(np.tanh(X @ RNG.normal(size=(6, 3)) + RNG.normal(size=3)), jnp.float32)
LR = np.float32([1e-4, 3e-4, 1.1e-3, 3e-3, 0.01, 0.03])
WARMUP = np.int32([0, 1, 7, 10, 25, 40])
MAPS = {"brainstate.transform.vmap": transform.vmap, "jax.vmap": jax.vmap}

# How a learning rate and a length make a schedule.
SCHEDULES = {
    "warmup": lambda lr, n: lrax.WarmupScheduler(lr, warmup_epochs=n),
    "warmup cosine": lambda lr, n: lrax.WarmupCosineSchedule(
        lr, warmup_steps=n, total_steps=n + 30, eta_min=1e-5
    ),
    "one cycle": lambda lr, n: lrax.OneCycleLR(lr, total_steps=n + 20),
    "restarts": lambda lr, n: lrax.CosineAnnealingWarmRestarts(lr, T_0=n + 2, T_mult=2),
    "sequence": lambda lr, n: lrax.SequentialLR(
        [lrax.LinearLR(lr, 0.1, 1.0, n), lrax.ExponentialLR(lr, 0.9)], milestones=[n]
    ),
    "product": lambda lr, n: lrax.ChainedScheduler(
        [lrax.WarmupScheduler(lr, n), lrax.StepLR(lr, n + 1, 0.5)]
    ),
    "piecewise": lambda lr, n: lrax.PiecewiseConstantSchedule(
        boundaries=[n, n + 9], values=[lr, lr / 2, lr / 8]
    ),
}
OF_SWEEPS = {
    "AdamW": lambda lr: lrax.AdamW(lr=lr, eps=1e-3, weight_decay=0.01, grad_clip_norm=1.0),
    "SGD": lambda lr: lrax.SGD(lr=lr, momentum=0.9, weight_decay=1e-3),
}


FIRST = {
    "w": RNG.normal(size=(6, 8)) / 3,
    "v": RNG.normal(size=(8, 3)) / 3,
    "b": np.zeros(3),
}


def training(schedule, optimizer="AdamW"):
    """A function of learning rate and length: weights, scheduler and optimizer are built inside it."""

    def train(lr, length):
        params = {
            name: brainstate.ParamState(jnp.asarray(value, jnp.float32))
            for name, value in FIRST.items()
        }
        scheduler = SCHEDULES[schedule](lr, length)
        opt = OF_SWEEPS[optimizer](scheduler)
        opt.register_trainable_weights(params)

        def step(x, y):
            def loss_fn():
                hidden = jnp.tanh(x @ params["w"].value)
                return jnp.mean((hidden @ params["v"].value + params["b"].value - y) ** 2)

            grads, loss = transform.grad(loss_fn, params, return_value=True)()
            opt.step(grads)
            rate = opt.current_lr
            scheduler.step()
            return loss, rate

        losses, rates = transform.for_loop(step, X, Y)
        return losses, rates, {name: state.value for name, state in params.items()}

    return train


def assert_runs_equal(found, expected):
    assert_same_bits(found[1], expected[1])
    assert_close(found[0], expected[0], floor=1e-6)
    for name, values in expected[2].items():
        assert_close(found[2][name], values, floor=1e-6)


@pytest.mark.parametrize(
    "case",
    in_three(
        [*itertools.product(SCHEDULES, MAPS)],
        [("warmup cosine", "brainstate.transform.vmap")],
        [*zip(SCHEDULES, itertools.cycle(MAPS), strict=False), ("warmup cosine", "jax.vmap")],
    ),
    ids=" by ".join,
)
def test_a_sweep_equals_its_runs(case):
    schedule, mapped = case[0], MAPS[case[1]]
    train = training(schedule)
    swept = mapped(train)(jnp.asarray(LR), jnp.asarray(WARMUP))
    assert swept[0].shape == swept[1].shape == (len(LR), STEPS)
    single = jax.jit(train)
    for i, (lr, length) in enumerate(zip(LR, WARMUP, strict=True)):
        run = jax.tree.map(lambda value, i=i: value[i], swept)
        assert_runs_equal(run, single(lr, length))
        scheduler = SCHEDULES[schedule](float(lr), int(length))
        assert_same_bits(run[1], scheduler(np.arange(STEPS)))


@pytest.mark.parametrize(
    "jit", slow_but([jax.jit, transform.jit, lrax.jit], lrax.jit), ids=["jax", "brainstate", "lrax"]
)
def test_a_sweep_is_one_program(jit):
    swept = jit(transform.vmap(training("warmup cosine", "SGD")))
    arguments = jnp.asarray(LR), jnp.asarray(WARMUP)
    with compiled_programs() as compiled:
        first = swept(*arguments)
        again = swept(*arguments)
    assert len(compiled) == 1
    single = jax.jit(training("warmup cosine", "SGD"))
    for i in (0, 3, 5):
        expected = single(LR[i], WARMUP[i])
        for result in (first, again):
            assert_runs_equal(jax.tree.map(lambda value, i=i: value[i], result), expected)


@pytest.mark.slow
def test_a_grid_of_learning_rates_and_lengths():
    """Two maps, one inside the other: every learning rate with every length."""
    train = training("warmup")
    grid = transform.vmap(transform.vmap(train, in_axes=(None, 0)), in_axes=(0, None))
    losses, rates, _ = grid(jnp.asarray(LR), jnp.asarray(WARMUP))
    assert losses.shape == rates.shape == (len(LR), len(WARMUP), STEPS)
    for i, lr in enumerate(LR):
        for j, length in enumerate(WARMUP):
            scheduler = SCHEDULES["warmup"](float(lr), int(length))
            assert_same_bits(rates[i, j], scheduler(np.arange(STEPS)))
    assert_close(losses[2, 4], jax.jit(train)(LR[2], WARMUP[4])[0], floor=1e-6)


def test_every_number_of_an_optimizer_may_differ():
    def train(decay, beta, norm):
        weight = brainstate.ParamState(jnp.linspace(-1.0, 2.0, 6))
        scheduler = lrax.ExponentialLR(0.1, gamma=beta)
        opt = lrax.AdamW(
            lr=scheduler, betas=(beta, 0.99), weight_decay=decay, grad_clip_norm=norm, eps=1e-3
        )
        opt.register_trainable_weights({"w": weight})

        def step(x, y):
            loss_fn = lambda: jnp.mean((x @ weight.value - y[:, 0]) ** 2)  # noqa: E731
            opt.step(transform.grad(loss_fn, {"w": weight})())
            scheduler.step()
            return weight.value

        return transform.for_loop(step, X[:20], Y[:20])

    numbers = np.float32([[0.1, 0.8, 1.0], [0.2, 0.9, 0.1], [0.01, 0.5, 10.0]])
    swept = transform.vmap(train)(*jnp.asarray(numbers.T))
    assert np.unique(swept[:, -1, 0]).size == 3
    for found, row in zip(swept, numbers, strict=True):
        assert_close(found, train(*map(float, row)), floor=1e-6)


# --- States that are mapped, and everything made inside ----------------------------------------------

RATES = (0.02, 0.05, 0.1)


def one_training(name, lr, start, steps=6):
    """Everything is made inside, hyper-parameters included."""
    states = {"w": brainstate.ParamState(start)}
    scheduler = lrax.StepLR(lr, step_size=2, gamma=0.5)
    optimizer = OPTIMIZERS[name][0](scheduler)
    optimizer.register_trainable_weights(states)

    def update(_):
        grads = brainstate.transform.grad(lambda: loss_of(values_of(states)), states)()
        optimizer.step(grads)
        scheduler.step()
        return optimizer.current_lr

    rates = brainstate.transform.for_loop(update, jnp.arange(steps))
    return rates, states["w"].value


@pytest.mark.parametrize("vmap", slow_but([transform.vmap, jax.vmap], transform.vmap))
@optimizers
def test_a_sweep_over_learning_rates(name, vmap):
    starts = jnp.stack([jnp.linspace(-1.0, 1.0, 4) + i / 10 for i in range(3)])
    sweep = jax.jit(vmap(lambda lr, w: one_training(name, lr, w)))
    rates, weights = sweep(jnp.float32(RATES), starts)
    for i, lr in enumerate(RATES):
        alone, weight = one_training(name, float(np.float32(lr)), starts[i])
        assert_same_bits(rates[i], alone)
        assert_close(weights[i], weight, rtol=1e-5)


def batched(name):
    """A training whose States all hold three of it."""
    states = {"w": brainstate.ParamState(jnp.linspace(-1.0, 1.0, 4))}
    scheduler = schedule()
    optimizer = OPTIMIZERS[name][0](scheduler)
    optimizer.register_trainable_weights(states)
    mapped = brainstate.graph.states(optimizer)
    for state in mapped.values():
        state.value = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 3), state.value)
    states["w"].value = states["w"].value + jnp.arange(3.0)[:, None] / 10

    def update(shift):
        grads = brainstate.transform.grad(lambda: loss_of([states["w"].value - shift]), states)()
        optimizer.step(grads)
        scheduler.step()
        return optimizer.current_lr

    mapping = {"in_states": mapped, "out_states": mapped}
    return optimizer, brainstate.transform.vmap(update, **mapping)


@pytest.mark.parametrize("name", slow_but(OPTIMIZERS, "AdamW"))
def test_states_under_vmap_are_as_many_trainings(name):
    optimizer, update = batched(name)
    start = optimizer.param_states["w"].value
    shifts = jnp.float32([0.0, 0.1, 0.2])
    rates = np.stack([update(shifts) for _ in range(5)])
    assert np.array_equal(optimizer.lr_scheduler.last_epoch.value, [5, 5, 5])
    for i in range(3):
        states = {"w": brainstate.ParamState(start[i])}
        alone = OPTIMIZERS[name][0](schedule())
        alone.register_trainable_weights(states)
        train(alone, states, None, 5, lambda i=i, s=states: loss_of([s["w"].value - shifts[i]]))
        assert_same_bits(rates[:, i], schedule()(np.arange(1, 6)))
        assert_close(optimizer.param_states["w"].value[i], states["w"].value, rtol=1e-5)


@optimizers
def test_batched_states_have_no_state_dict_but_can_be_restored(name):
    optimizer, update = batched(name)
    update(jnp.zeros(3))
    for target in (optimizer, optimizer.lr_scheduler):
        with pytest.raises(ValueError, match=r"shape \(3,\).*brainstate.graph.states"):
            target.state_dict()
    with pytest.raises(ValueError, match=r"shape \(3,\).*brainstate.graph.states"):
        optimizer.lr_scheduler.load_state_dict(schedule().state_dict())
    new, again = batched(name)
    saved = contents(optimizer)
    for path, state in brainstate.graph.states(new).items():
        state.value = saved[str(path)]
    assert_same_bits(again(jnp.zeros(3)), update(jnp.zeros(3)))
    assert_trees_close(contents(new), contents(optimizer), rtol=0, floor=0)


def in_trainings(scheduler, number, function):
    """The scheduler after a function of the number of the training, in each of so many."""
    mapped = brainstate.graph.states(scheduler)
    for state in mapped.values():
        state.value = jax.tree.map(
            lambda leaf: jnp.stack([jnp.asarray(leaf)] * number), state.value
        )
    brainstate.transform.vmap(function, in_states=mapped, out_states=mapped)(jnp.arange(number))
    return scheduler


def test_a_scheduler_without_optimizer_in_many_trainings():
    scheduler = lrax.StepLR(0.5, step_size=1)
    in_trainings(scheduler, 3, lambda i: scheduler.step(i))
    assert np.array_equal(scheduler.last_epoch.value, [0, 1, 2])
    assert_same_bits(scheduler.current_lrs.value, np.float32([[0.5], [0.05], [0.005]]))
    scheduler = lrax.StepLR([0.5, 0.3], step_size=1)

    def assign(i):
        scheduler.current_lrs.value = [i * 0.5, 2.0]

    in_trainings(scheduler, 3, assign)
    assert_same_bits(scheduler.current_lrs.value, np.float32([[0, 2], [0.5, 2], [1, 2]]))


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    "scheduler",
    [
        lambda: lrax.StepLR(0.5, step_size=1),
        lambda: lrax.MultiplicativeLR(0.5, lambda epoch: 0.1),
    ],
)
def test_many_trainings_go_on_outside_of_vmap(scheduler, number):
    many = scheduler()
    in_trainings(many, number, lambda _: many.step())
    many.step()
    assert np.array_equal(many.last_epoch.value, [2] * number)
    assert_same_bits(many.current_lrs.value, np.full((number, 1), 0.005, np.float32))


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    "scheduler",
    [
        lambda: lrax.ReduceLROnPlateau(0.1),
        lambda: lrax.GreedyLR(0.1, smooth=True, window_size=3),
    ],
)
def test_many_trainings_learn_nothing_outside_of_vmap(scheduler, number):
    many = scheduler()
    in_trainings(many, number, lambda _: many.step(1.0))
    before = contents(many)
    with pytest.raises(TypeError, match=rf"{number} .* vmap .* Call step\(\) inside of it"):
        many.step(1.0)
    assert_trees_close(contents(many), before, rtol=0, floor=0)


def test_a_clock_that_is_not_declared_to_vmap_is_an_error():
    states = {"w": brainstate.ParamState(jnp.ones(2))}
    optimizer = lrax.SGD(lr=schedule())
    optimizer.register_trainable_weights(states)

    def update(x):
        optimizer.step({"w": x * states["w"].value})
        optimizer.lr_scheduler.step()

    before = contents(optimizer)
    with pytest.raises(Exception, match=r"[Bb]atch"):
        brainstate.transform.vmap(update)(jnp.arange(3.0))
    assert_trees_close(contents(optimizer), before, rtol=0, floor=0)


@pytest.mark.parametrize("accumulate_steps", [1, 3])
@pytest.mark.parametrize("skip_nonfinite", [False, True])
def test_trainings_that_step_their_scheduler_themselves(accumulate_steps, skip_nonfinite):
    """brainstate tries a mapped function out with zeros, where no update is due."""
    made = {}

    def make():
        made["w"] = brainstate.ParamState(jnp.ones(2))
        made["v"] = brainstate.ParamState(jnp.ones(2))
        made["optimizer"] = lrax.AdamW(
            lrax.ExponentialLR(0.1, gamma=0.5),
            auto_step=True,
            accumulate_steps=accumulate_steps,
            skip_nonfinite=skip_nonfinite,
            groups={"v": {"lr": 0.02}},
        ).register_trainable_weights({"w": made["w"], "v": made["v"]})

    transform.vmap_new_states(make, axis_size=3)()
    optimizer, states = made["optimizer"], brainstate.graph.states(tuple(made.values()))
    step = lambda g: optimizer.step({"w": g * made["w"].value, "v": g * made["v"].value})  # noqa: E731
    mapped = transform.vmap(step, in_states=states, out_states=states)
    for _ in range(2 * accumulate_steps):
        mapped(jnp.float32([1, -1, 2]))
    # Each group has a number for each of the trainings.
    expected = np.float32([0.1 / 4] * 3), np.float32([0.02 / 4] * 3)
    for found in (optimizer.get_last_lr(), [used["lr"] for used in optimizer.hyperparams]):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(optimizer.current_lr, expected[0])
    np.testing.assert_array_equal(optimizer.lr.get_last_lr(), expected)
    found = {name: made[name].value[1] for name in "wv"}
    make()
    for _ in range(2 * accumulate_steps):
        made["optimizer"].step({name: -made[name].value for name in "wv"})
    assert_trees_close(found, {name: made[name].value for name in "wv"}, rtol=1e-6)
