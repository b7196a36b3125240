"""The algebra of schedulers: what operators make, what they refuse, clocks, memory, groups."""

import random

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close

A = lambda: lrax.StepLR(0.1, step_size=3, gamma=0.5)  # noqa: E731
B = lambda: lrax.WarmupScheduler(0.4, warmup_epochs=8, warmup_start_lr=0.1)  # noqa: E731
T = np.arange(40)


def a(t):
    return 0.1 * 0.5 ** (t // 3)


def b(t):
    return 0.1 + 0.3 * np.minimum(t, 8) / 8


EXPRESSIONS = {
    "sum": (lambda: A() + B(), a(T) + b(T), 0.5),
    "number on the right": (lambda: A() + 0.01, a(T) + 0.01, 0.11),
    "number on the left": (lambda: 0.01 + A(), a(T) + 0.01, 0.11),
    "sum of three": (lambda: A() + B() + A(), 2 * a(T) + b(T), 0.6),
    "built-in sum": (lambda: sum([A(), B()]), a(T) + b(T), 0.5),
    "product": (lambda: A() * B(), a(T) * b(T), 0.04),
    "twice": (lambda: 2 * A(), 2 * a(T), 0.2),
    "a third": (lambda: A() / 3, a(T) / 3, 0.1 / 3),
    "NumPy on the left": (lambda: np.float64(2) * A(), 2 * a(T), 0.2),
    "jax on the left": (lambda: jnp.float32(2) * A(), 2 * a(T), 0.2),
    "an int of NumPy": (lambda: np.int32(2) + A(), 2 + a(T), 2.1),
    "minimum": (lambda: lrax.minimum(A(), B(), 0.06), np.minimum(np.minimum(a(T), b(T)), 0.06), 0.06),
    "maximum": (lambda: lrax.maximum(0.02, A()), np.maximum(a(T), 0.02), 0.1),
    "clip": (lambda: B().clip(0.15, 0.3), np.clip(b(T), 0.15, 0.3), 0.3),
    "clip by a schedule": (lambda: B().clip(0, A()), np.minimum(b(T), a(T)), 0.1),
    "delay": (lambda: A().delay(5), a(np.maximum(T - 5, 0)), 0.1),
    "stretch": (lambda: B().stretch(2.5), b(T / 2.5), 0.4),
    "repeat": (lambda: B().repeat(6, 0.5, 3), np.where(T < 18, 0.5 ** (T // 6) * b(T % 6), 0.25 * b(6)), 0.4),
    "repeat for ever": (lambda: B().repeat(7), b(T % 7), 0.4),
    "with_warmup": (lambda: A().with_warmup(4, start_lr=0.02), np.where(T < 4, 0.02 + 0.08 * T / 4, a(np.maximum(T - 4, 0))), 0.1),
    "with_warmup, running": (lambda: A().with_warmup(8, running=True), a(T) * np.minimum(T / 8, 1), 0.1),
    "with_cooldown": (lambda: B().with_cooldown(6, 4, "square"), np.select([T < 6, T < 10], [b(T), b(6) * (1 - ((T - 6) / 4) ** 2)], 0), 0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_values_base_and_description(name):
    make, wanted, base = EXPRESSIONS[name]
    scheduler = make()
    assert isinstance(scheduler, lrax.LRScheduler)
    assert_close(scheduler(T), wanted)
    assert_close(jax.jit(scheduler)(jnp.asarray(T)), wanted)
    assert scheduler.base_lrs == pytest.approx([base], rel=1e-15)
    assert (
        eval(repr(scheduler), vars(lrax))
        == scheduler
        == make()
        == lrax.from_config(scheduler.config)
    )
    assert hash(scheduler) == hash(make())
    assert scheduler != 2 * scheduler
    # A group with a base learning rate of its own gets the whole, scaled.
    optimizer = lrax.SGD(lr=scheduler, groups={"b": {"lr": 3 * base}})
    weights = {k: brainstate.ParamState(jnp.zeros(2)) for k in "ab"}
    optimizer.register_trainable_weights(weights)
    for t in (0, 5, 9):
        scheduler.step(t)
        assert_close(scheduler.get_last_lr(), [wanted[t], 3 * wanted[t]], rtol=3e-7)


NO_SCHEDULES = {
    "a - b": lambda: A() - B(),
    "a - 1": lambda: A() - 1,
    "1 - a": lambda: 1 - A(),
    "-a": lambda: -A(),
    "a / b": lambda: A() / B(),
    "1 / a": lambda: 1 / A(),
}


@pytest.mark.parametrize("name", NO_SCHEDULES)
def test_rates_do_not_cancel(name):
    with pytest.raises(
        TypeError, match=r"StepLR.* is no schedule: rates don't cancel.*lrax\.minimum"
    ):
        NO_SCHEDULES[name]()


REFUSED = {
    "a negative number": (ValueError, lambda: A() + -0.1, "schedulers[1]", ">= 0", "-0.1"),
    "a negative factor": (ValueError, lambda: -2 * A(), "schedulers[0]", ">= 0", "-2"),
    "NaN": (ValueError, lambda: A() * float("nan"), "schedulers[1]", "nan"),
    "a flag": (TypeError, lambda: A() * True, "schedulers[1]", "bool"),
    "text": (TypeError, lambda: A() + "x", "schedulers[1]", "'x'"),
    "a function": (TypeError, lambda: A() + abs, "schedulers[1]", "LambdaLR"),
    "an array": (TypeError, lambda: np.ones(3) * A(), "schedulers[0]", "array"),
    "divided by 0": (ValueError, lambda: A() / 0, "divisor", "> 0", "0"),
    "divided by next to nothing": (ValueError, lambda: A() / 5e-324, "divisor"),
    "no schedulers": (TypeError, lambda: lrax.minimum(1, 2), "at least one scheduler", "(1, 2)"),
    "nothing": (TypeError, lambda: lrax.maximum(), "at least one scheduler"),
    "a list": (TypeError, lambda: lrax.minimum([A(), 1e-3]), "one by one", "minimum(*schedulers)"),
    "clip upside down": (ValueError, lambda: A().clip(0.2, 0.1), "low", "<= high", "0.2", "0.1"),
    "a schedule for a number": (TypeError, lambda: A().delay(B()), "epochs", "WarmupScheduler"),
    "a cycling momentum": (TypeError, lambda: 2 * lrax.OneCycleLR(0.1, 10, cycle_momentum=True), "cycle_momentum"),
    "harmonic from 0": (ValueError, lambda: A().with_warmup(3, "harmonic"), "start_lr", "harmonic"),
    "a group at 0": (ValueError, lambda: lrax.SGD(lr=lrax.ConstantLR(0.0) + 0, groups={"b": {"lr": 0.1}}).register_trainable_weights({"b": brainstate.ParamState(jnp.ones(2)), "a": brainstate.ParamState(jnp.ones(2))}), "base_lr"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_schedule_is_refused(name):
    kind, make, *parts = REFUSED[name]
    with pytest.raises(kind) as caught:
        make()
    assert all(part in str(caught.value) for part in parts), caught.value


# --- Clocks and memory ------------------------------------------------------------------------


def test_a_result_begins_at_the_epoch_of_the_first_and_goes_on_by_itself():
    first, second = A(), B()
    first.step(7)
    second.step(3)
    for result, epoch in (
        (first + second, 7),
        (second * first, 3),
        (0.5 * first, 7),
        (first.delay(2), 7),
    ):
        assert int(result.last_epoch.value) == epoch
        assert result.get_last_lr()[0] == result(epoch)
        result.step()
        assert result.get_last_lr()[0] == result(epoch + 1)
    assert (int(first.last_epoch.value), int(second.last_epoch.value)) == (7, 3)


def test_an_endless_run_is_ended_in_two_lines_without_another_compilation():
    weight = brainstate.ParamState(jnp.ones(3))
    scheduler = lrax.InverseSqrtLR(0.1, warmup_steps=5) if hasattr(lrax, "InverseSqrtLR") else B()
    optimizer = lrax.SGD(lr=scheduler)
    optimizer.register_trainable_weights({"w": weight})
    traces = []

    @brainstate.transform.jit
    def train_step():
        traces.append(None)
        optimizer.step({"w": jnp.ones(3)})

    for _ in range(20):
        train_step()
        scheduler.step()
    checkpoint, before = optimizer.state_dict(), scheduler
    scheduler = scheduler.with_cooldown(int(scheduler.last_epoch.value), 10, "1-sqrt")
    optimizer.add_scheduler(scheduler)
    rates = []
    for _ in range(12):
        rates.append(float(optimizer.current_lr))
        train_step()
        scheduler.step()
    top = float(before(20))
    p = np.minimum(np.arange(12) / 10, 1)
    assert_close(rates, top * (1 - np.sqrt(p)))
    assert len(traces) == len({id(t) for t in traces}) or len(traces) <= 3
    assert checkpoint["lr_scheduler"]["last_epoch"] == 20


def test_a_plateau_inside_learns_and_what_was_learned_is_taken_over():
    plateau = lambda: lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0)  # noqa: E731
    learned = plateau()
    for metric in (1.0, 2.0, 2.0):  # two reductions
        learned.step(metric)
    assert learned.get_last_lr()[0] == 0.25
    for result, rate in (
        (learned + 0.5, 0.75),
        (lrax.StepLR(2.0, 100) * learned, 0.5),
        (learned.clip(0.3, 1.0), 0.3),
        (learned.stretch(2.0), 0.25),
        (learned.repeat(2), 0.25),
        (learned.with_warmup(2), None),
        (learned.with_cooldown(3, 2), 0.25),
    ):
        if rate is not None:
            assert result.get_last_lr()[0] == np.float32(rate), result
        with pytest.raises(TypeError, match="metric"):
            result(3)
    both = learned + plateau()
    both.step(metric=3.0)  # worse than the first one's best, and the second one's first
    assert both.get_last_lr()[0] == 1.125
    resumed = learned + plateau()
    resumed.load_state_dict(both.state_dict())
    assert resumed.get_last_lr()[0] == 1.125


def test_what_many_have_learned_is_taken_over_in_their_order():
    factors = np.linspace(0.5, 0.83, 12)
    plateaus = [lrax.ReduceLROnPlateau(1.0, factor=f, patience=0, eps=0) for f in factors]
    for steps, plateau in enumerate(plateaus, start=1):
        for _ in range(steps):
            plateau.step(1.0)
    total = sum(plateaus[1:], plateaus[0])
    expected = np.sum(factors ** np.arange(12))
    assert_close(total.get_last_lr(), [expected])
    assert_close((2 * total).get_last_lr(), [2 * expected])


def test_what_learns_in_a_class_of_a_users_learns_once():
    class Mine(lrax.LRScheduler):
        def __init__(self, piece):
            super().__init__(1.0, formula=piece)

    plateau = lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0)
    twice = 2 * Mine(plateau.pieces()[0][0])
    assert list(twice.state_dict()["memory"]) == ["0"]
    for _ in range(3):
        twice.step(metric=1.0)
    assert twice.get_last_lr()[0] == 0.5


FAR = {  # where numbers beyond 32 bits end what a plateau learns in, or begin it
    "limit": (lambda plateau: plateau.repeat(10**6, limit=10**6), [1, 0.5, 0.25]),
    "cooldown": (lambda plateau: plateau.with_cooldown(2**32, 5), [1, 0.5, 0.25]),
    "milestone": (
        lambda plateau: lrax.SequentialLR([plateau, lrax.StepLR()], [2**32]),
        [1, 0.5, 0.25],
    ),
    "delay": (lambda plateau: plateau.delay(2**32), [1, 1, 1]),
}


@pytest.mark.parametrize("way", ["on the host", "by epochs", "compiled"])
@pytest.mark.parametrize("name", FAR)
def test_a_plateau_learns_until_what_is_far_beyond_int32(name, way):
    around, expected = FAR[name]
    scheduler = around(lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0))
    step = lrax.jit(scheduler.step) if way == "compiled" else scheduler.step
    rates = []
    for epoch in range(3):
        step(*[epoch + 1] * (way == "by epochs"), metric=1.0)
        rates.append(float(scheduler.get_last_lr()[0]))
    assert rates == expected


@pytest.mark.parametrize("compiled", [False, True])
def test_a_plateau_learns_from_when_it_begins_until_it_ends(compiled):
    def run(scheduler, metrics=12):
        step = scheduler.step
        if compiled:
            step = brainstate.transform.jit(lambda metric: scheduler.step(metric=metric))
        rates = []
        for _ in range(metrics):
            step(metric=1.0) if not compiled else step(1.0)
            rates.append(float(scheduler.get_last_lr()[0]))
        return rates

    plateau = lambda: lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0)  # noqa: E731
    # The first metric is the best, each further one a reduction.
    assert run(plateau().delay(3), 6) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.25]
    assert run(plateau().with_warmup(2), 5) == [0.5, 1.0, 1.0, 0.5, 0.25]
    assert run(plateau().with_cooldown(3, 2), 6) == [1.0, 0.5, 0.25, 0.125, 0.0, 0.0]


# --- Boundaries, phases, ends -----------------------------------------------------------------


PHASES = {
    "step": (lambda: A(), (3, 6, 9), None, {0: "decay", 10: "decay"}),
    "multi-step": (lambda: lrax.MultiStepLR(0.1, [4, 9]), (4, 9), 9, {8: "decay", 9: "end"}),
    "constant": (lambda: lrax.ConstantLR(0.1, 1.0, 5), (), 0, {0: "end"}),
    "cosine": (lambda: lrax.CosineAnnealingLR(0.1, 9), (9,), 9, {8: "decay", 9: "end"}),
    "cosine that stays": (lambda: lrax.CosineAnnealingLR(0.1, 9, 0.1), (), 0, {0: "end"}),
    "warmup": (lambda: B(), (8,), 8, {7: "warmup", 8: "end"}),
    "warmup and cosine": (lambda: lrax.WarmupCosineSchedule(0.1, 3, 9), (3, 9), 9, {0: "warmup", 3: "decay", 9: "end"}),
    "no warmup": (lambda: lrax.WarmupCosineSchedule(0.1, 0, 9), (9,), 9, {0: "decay"}),
    "restarts": (lambda: lrax.CosineAnnealingWarmRestarts(0.1, 2, 2), (2, 6, 14), None, {7: "decay"}),
    "one cycle": (lambda: lrax.OneCycleLR(0.1, 10), (2, 9), 10, {0: "warmup", 3: "decay", 10: "end"}),
    "cycles": (lambda: lrax.CyclicLR(0.1, 0.2, 2, 3), (2, 5, 7), None, {0: "rise", 2: "fall", 6: "rise"}),
    "exponential": (lambda: lrax.ExponentialLR(0.1, 0.9), (), None, {5: "decay"}),
    "exponential at 0": (lambda: lrax.ExponentialLR(0.0), (), 0, {0: "end"}),
    "stairs at 0": (lambda: lrax.StepLR(0.0), (), 0, {0: "end"}),
    "cycles without height": (lambda: lrax.CyclicLR(0.1, 0.1, 3), (), 0, {0: "end"}),
    "restarts at 0": (lambda: lrax.CosineAnnealingWarmRestarts(0.0, 2), (), 0, {0: "end"}),
    "restarts below their floor": (lambda: lrax.CosineAnnealingWarmRestarts(0.1, 2, 2, 0.2, cycle_decay=0.5), (), 0, {0: "end"}),
    "root at its floor": (lambda: lrax.InverseSqrtLR(0.1, 4, eta_min=0.1), (4,), 4, {3: "warmup", 4: "end"}),
    "sum with some at rest": (lambda: lrax.StepLR(0.0, 2) + lrax.CyclicLR(0.1, 0.1, 3) + lrax.PolynomialLR(0.1, 9), (9,), 9, {8: "decay", 9: "end"}),
    "exponential to an end": (lambda: lrax.ExponentialDecayLR(1.0, 2, 0.5, 3, end_value=0.25), (3, 7), 7, {2: "stable", 3: "decay", 7: "end"}),
    "stairs to an end": (lambda: lrax.ExponentialDecayLR(1.0, 2, 0.5, 1, True, 0.3), (1, 3, 5), 5, {4: "decay", 5: "end"}),
    "table": (lambda: lrax.PiecewiseConstantSchedule(boundaries=[4, 6], values=[1.0, 0.5, 0.5]), (4, 6), 4, {0: "stable", 4: "end"}),
    "function": (lambda: lrax.LambdaLR(0.1, lambda t: 1.0), (), None, {0: "function"}),
    "plateau": (lambda: lrax.ReduceLROnPlateau(0.1), (), None, {0: "plateau"}),
    "sequence": (lambda: lrax.SequentialLR([B(), lrax.ConstantLR(0.4, 1.0, 0), lrax.PolynomialLR(0.4, 5)], [8, 12]), (8, 12, 17), 17, {0: "warmup", 8: "stable", 12: "decay", 17: "end"}),
    "chain": (lambda: lrax.ChainedScheduler([B(), lrax.PolynomialLR(1.0, 12)]), (8, 12), 12, {0: "warmup", 9: "decay", 12: "end"}),
    "sum": (lambda: B() + lrax.CosineAnnealingLR(0.1, 12), (8, 12), 12, {0: "warmup", 8: "decay", 12: "end"}),
    "delay": (lambda: B().delay(5), (5, 13), 13, {0: "stable", 5: "warmup", 13: "end"}),
    "stretch": (lambda: lrax.MultiStepLR(0.1, [4, 9]).stretch(1.1), (5, 10), 10, {9: "decay", 10: "end"}),
    "repeat": (lambda: B().repeat(10, 1.0, 2), (8, 10, 18), 18, {9: "stable", 10: "warmup", 18: "end"}),
    "with_warmup": (lambda: lrax.CosineAnnealingLR(0.1, 9).with_warmup(4), (4, 13), 13, {3: "warmup", 4: "decay", 13: "end"}),
    "running warmup": (lambda: lrax.CosineAnnealingLR(0.1, 9).with_warmup(4, running=True), (4, 9), 9, {3: "warmup", 4: "decay", 9: "end"}),
    "with_cooldown": (lambda: B().with_cooldown(20, 5), (8, 20, 25), 25, {10: "stable", 20: "cooldown", 25: "end"}),
}  # fmt: skip


@pytest.mark.parametrize("name", PHASES)
def test_boundaries_phases_and_end(name):
    make, boundaries, total_steps, phases = PHASES[name]
    scheduler = make()
    found = scheduler.boundaries
    assert found[: len(boundaries)] == boundaries
    assert len(found) == len(boundaries) or total_steps is None
    assert scheduler.total_steps == total_steps
    assert {t: scheduler.phase_at(t) for t in phases} == phases
    assert list(found) == sorted(set(found))
    if total_steps and name != "one cycle":  # its total_steps is an argument, one more than its end
        rates = scheduler(np.arange(total_steps + 50))
        assert (rates[total_steps:] == rates[total_steps]).all()
        assert rates[total_steps - 1] != rates[total_steps]


def test_of_many_boundaries_the_first_thousand_and_of_groups_all():
    assert len(lrax.StepLR(0.1, 1).boundaries) == 1000
    sequence = lrax.SequentialLR([lrax.StepLR(0.1, 1), lrax.PolynomialLR(0.1, 5)], [5000])
    assert (len(sequence.boundaries), sequence.total_steps) == (1000, 5005)
    groups = lrax.ExponentialDecayLR([1.0, 2.0], 1, 0.5, end_value=0.25)
    assert (groups.boundaries, groups.total_steps) == ((2, 3), 3)


def test_a_class_keeps_an_argument_of_that_name():
    class Own(lrax.LRScheduler):
        def __init__(self, base_lr, total_steps, boundaries=(), last_epoch=0):
            super().__init__(base_lr, last_epoch)
            self.total_steps = total_steps

        def get_lr(self):
            return [lr * self.total_steps for lr in self.base_lrs]

    own = Own(0.1, total_steps=3, boundaries=[1, 2])
    assert (own.total_steps, own.boundaries) == (3, (1, 2))
    assert own.get_last_lr()[0] == np.float32(0.1 * 3)
    assert (own.delay(2).total_steps, own.delay(2).boundaries) == (None, (2,))


def test_phases_of_traced_arguments_are_not_known():
    def find(base):
        return lrax.StepLR(base).total_steps

    with pytest.raises(TypeError, match="known arguments"):
        jax.jit(find)(0.1)
    with pytest.raises(ValueError, match="epoch must be"):
        A().phase_at(-1)


# --- Exactness --------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [49, 49.0, 41, 47.0, 3, 1.1, 0.1, 7.7])
def test_stretched_boundaries_are_where_the_quotient_arrives(factor):
    milestones = [1, 2, 3, 7, 50, 999, 10_000]
    scheduler = lrax.MultiStepLR(1.0, milestones, 0.5).stretch(factor)
    marks = np.unique([int(m * factor) + d for m in milestones for d in (-1, 0, 1)])
    t = marks[marks >= 0]
    wanted = 0.5 ** np.searchsorted(milestones, t / factor, side="right").astype(float)
    np.testing.assert_array_equal(scheduler(t), wanted.astype(np.float32))
    np.testing.assert_array_equal(jax.jit(scheduler)(jnp.asarray(t)), scheduler(t))
    assert [float(scheduler(e)) for e in t.tolist()] == wanted.tolist()
    for boundary in scheduler.boundaries:
        assert scheduler(boundary) < scheduler(boundary - 1)


@pytest.mark.parametrize("factor", [49, 98, 103, 107])
def test_a_traced_stretch_is_exact_as_well(factor):
    stretched = lambda k: lrax.WSDSchedule(1.0, 1, 3, 1).stretch(k)  # noqa: E731
    t = np.arange(3 * factor + 2)
    wanted = stretched(float(factor))(t)
    assert wanted[3 * factor] == 0
    k = jnp.float32(factor)
    epochs = jnp.asarray(t)
    np.testing.assert_array_equal(jax.jit(lambda t, k: stretched(k)(t))(epochs, k), wanted)
    np.testing.assert_array_equal(jax.jit(lambda k: stretched(k)(t))(k), wanted)
    many = jax.jit(jax.vmap(lambda k: stretched(k)(epochs)))(jnp.full(3, k))
    np.testing.assert_array_equal(many, np.tile(wanted, (3, 1)))
    twice = jax.jit(lambda k: lrax.StepLR(1.0, 1, 0.5).stretch(k).stretch(7)(epochs))(k)
    np.testing.assert_array_equal(twice, lrax.StepLR(1.0, 1, 0.5).stretch(factor).stretch(7)(t))


def test_a_user_function_sees_the_stretched_epoch_the_same_in_every_mode():
    scheduler = lrax.LambdaLR(1.0, lambda t: 1 / (1 + t)).stretch(2)
    wanted = 1 / (1 + T / 2)
    assert_close(scheduler(T), wanted)
    assert_close([scheduler(t) for t in T.tolist()], wanted)
    assert_close(jax.jit(scheduler)(jnp.asarray(T)), wanted)


def test_traced_numbers_sweep():
    def rate(factor, low, t):
        return lrax.maximum(factor * A() + low, low).with_warmup(2, start_lr=low)(t)

    factors, lows = jnp.asarray([0.5, 1.0, 2.0]), jnp.asarray([0.01, 0.0, 0.03])
    got = jax.jit(jax.vmap(rate, (0, 0, None)))(factors, lows, jnp.arange(12))
    for row, f, low in zip(got, factors.tolist(), lows.tolist(), strict=True):
        top = f * 0.1 + low
        decayed = f * a(np.maximum(T[:12] - 2, 0)) + low
        assert_close(row, np.where(T[:12] < 2, low + (top - low) * T[:12] / 2, decayed), rtol=3e-7)
    slope = jax.grad(lambda f: (f * A())(4))(2.0)
    assert slope == np.float32(0.05)


# --- What was found by trying to break it -----------------------------------------------------


def same_everywhere(scheduler, t):
    values = scheduler(t)
    np.testing.assert_array_equal(jax.jit(scheduler)(jnp.asarray(t)), values)
    np.testing.assert_array_equal([scheduler(e) for e in t.tolist()], values)
    return values


@pytest.mark.parametrize("factors", [(1.1, 100), (0.1, 7), (0.1, 41.0), (0.2, 3), (1.1, 49)])
def test_a_stretch_of_a_stretch_divides_twice(factors):
    """XLA would make t / (k * j) of (t / j) / k."""
    t, (k, j) = np.arange(1500), factors
    scheduler = lrax.StepLR(0.1, 1, 0.9).stretch(k).stretch(j)
    assert_close(same_everywhere(scheduler, t), 0.1 * 0.9 ** np.floor(t / j / k))


@pytest.mark.parametrize("factor", [3, 11, 7.5])
def test_boundaries_and_plateaus_under_two_stretches(factor):
    scheduler = lrax.MultiStepLR(1.0, [5], 0.5).stretch(0.7).stretch(factor)
    t = np.arange(100)
    (drop,) = np.flatnonzero(np.diff(scheduler(t))) + 1
    assert scheduler.boundaries == (drop,)
    assert (scheduler.total_steps, scheduler.phase_at(drop)) == (drop, "end")
    plateau = lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0)
    plateau = plateau.delay(5).stretch(0.7).stretch(factor)
    rates = []
    for _ in t:
        rates.append(float(plateau.get_last_lr()[0]))
        plateau.step(metric=1.0)
    # The metric of epoch `drop` is the first that it is given, and the best; the next is a bad one.
    assert rates.index(0.5) == drop + 2


@pytest.mark.parametrize("epoch", [2, np.arange(4), jnp.int32(2), jnp.arange(4)], ids=repr)
def test_a_negative_member_is_an_error_wherever_it_is_known(epoch):
    scheduler = 2 * lrax.LambdaLR(0.1, lambda t: jnp.where(t == 2, -1.0, 1.0))
    with pytest.raises(ValueError, match=r"got -0\.1 at epoch 2, in a sum or product"):
        scheduler(epoch)


ENDS = {
    "a bump above a bound": (lambda: lrax.maximum(lrax.WarmupScheduler(1.0, 100) * lrax.PolynomialLR(1.0, 100, power=3), 0.07), 47),
    "two that nearly cancel": (lambda: lrax.ConstantLR(1.0, 1.0, 0) + lrax.WarmupScheduler(1e-2, 1000) + lrax.CosineAnnealingLR(1e-2, 1000), 1000),
    "a bound that holds early": (lambda: lrax.maximum(lrax.LinearLR(1.0, 1.0, 0.0, 10), 0.5), 5),
    "a rise that jumps": (lambda: A().with_cooldown(40, 9, "constant", eta_min=0.2), 41),
    "zero times anything": (lambda: 0 * A(), 0),
    "times what falls to zero": (lambda: A() * lrax.PolynomialLR(1.0, 5), 5),
    "long": (lambda: lrax.StepLR(0.1, 10**6).with_cooldown(3 * 10**7, 1000), 3 * 10**7 + 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_the_end_is_the_first_epoch_from_which_it_is_constant(name):
    make, end = ENDS[name]
    scheduler = make()
    assert scheduler.total_steps == end
    t = np.arange(max(end - 50, 0), end + 50)
    values = scheduler(t)
    assert (values[t >= end] == values[-1]).all()
    assert end == 0 or scheduler(end - 1) != values[-1]


def test_running_warmups_of_depth_50():
    for start_lr in (0.0, 1e-3):
        scheduler = A()
        for _ in range(50):
            scheduler = scheduler.with_warmup(3, running=True, start_lr=start_lr)
        same_everywhere(scheduler, np.arange(8))
    assert scheduler(3) == np.float32(0.05)


def test_a_running_warmup_in_front_of_what_begins_at_0():
    inner, t = lrax.WarmupScheduler(0.1, 5), np.arange(12)
    wanted = 0.1 * np.minimum(t / 5, 1) * np.minimum(t / 10, 1)
    assert_close(same_everywhere(inner.with_warmup(10, running=True), t), wanted)
    with pytest.raises(ValueError, match=r"start_lr must be 0 with running=True.*got 0\.05"):
        inner.with_warmup(10, running=True, start_lr=0.05)


@pytest.mark.parametrize("combine", [lrax.minimum, lrax.maximum])
def test_nan_is_never_left_out(combine):
    nan = lrax.LambdaLR(1.0, lambda t: float("nan") if t == 5 else 1.0)
    for scheduler in (combine(nan, 0.5), combine(0.5, nan)):
        for epochs in (5, np.arange(7)):
            with pytest.raises(ValueError, match="nan at epoch 5"):
                scheduler(epochs)
        assert np.isnan(jax.jit(scheduler)(5))


def test_negative_rates_do_not_make_a_positive_one():
    falls = lrax.LambdaLR(1.0, lambda t: 1 - t / 4)
    for scheduler in (falls * falls, 1 + falls):
        for epochs in (6, np.arange(9)):
            with pytest.raises(ValueError, match=r"LambdaLR.*must have a learning rate >= 0"):
                scheduler(epochs)
    assert jax.jit(falls * falls)(6) == 0
    assert lrax.maximum(falls, 0.25)(9) == 0.25


@pytest.mark.parametrize("compiled", [False, True])
def test_a_plateau_learns_in_every_cycle(compiled):
    plateau = lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=0)
    scheduler = plateau.with_cooldown(3, 2).repeat(5)
    step = lambda metric: scheduler.step(metric=metric)  # noqa: E731
    step = brainstate.transform.jit(step) if compiled else step
    rates = []
    for _ in range(10):
        rates.append(float(scheduler.get_last_lr()[0]))
        step(1.0)
    # The first metric is the best; a reduction in epochs 1, 2, then in 0, 1, 2 of the next cycle.
    assert rates == [1, 1, 0.5, 0.25, 0.125, 0.25, 0.125, 0.0625, 0.03125, 0.015625]


def test_sequences_in_sequences():
    """They are the same as written out, with groups, learners and a base that is scaled."""
    t = np.arange(40)

    def members():
        return [
            lrax.LinearLR(0.3, 0.5, 1.0, 4),
            lrax.CosineAnnealingLR(0.2, 9, 0.05),
            lrax.ExponentialLR(0.1, 0.9),
        ]

    a, b, c = members()
    flat = lrax.SequentialLR([a, b, c], [6, 13])
    last, first = lrax.SequentialLR([b, c], [7]), lrax.SequentialLR([a, b], [6])
    for nested in (lrax.SequentialLR([a, last], [6]), lrax.SequentialLR([first, c], [13])):
        np.testing.assert_array_equal(same_everywhere(nested, t), flat(t))
        np.testing.assert_array_equal(same_everywhere(2 * nested, t), (2 * flat)(t))
        assert nested.boundaries == flat.boundaries
        assert [nested.phase_at(e) for e in t] == [flat.phase_at(e) for e in t]
        assert nested != flat
    # The inner one would go on where the outer one has ended it.
    cut = lrax.SequentialLR([flat, lrax.ConstantLR(0.7, 1.0, 0)], [8])
    np.testing.assert_array_equal(
        same_everywhere(cut, t), np.where(t < 8, flat(t), np.float32(0.7))
    )
    groups = lrax.SequentialLR([lrax.LinearLR([0.3, 0.6], 0.5, 1.0, 4), last], [6])
    np.testing.assert_array_equal(groups.lr_at(t)[:, 0], flat(t))
    traced = jax.jit(lambda m: lrax.SequentialLR([a, lrax.SequentialLR([b, c], [m])], [6])(t))(7)
    np.testing.assert_array_equal(traced, flat(t))


MANY = {
    "lines": lambda r: lrax.LinearLR(r.uniform(0.01, 1), r.random(), r.random(), r.randint(1, 9)),
    "constants": lambda r: lrax.ConstantLR(r.uniform(0.01, 1), r.choice([0.5, 1]), r.randint(0, 9)),
    "cosines": lambda r: lrax.CosineAnnealingLR(r.uniform(0.01, 1), r.randint(1, 9), r.choice([0, 0.02])),
    "cosines with exponents": lambda r: lrax.CosineAnnealingLR(0.1, r.randint(3, 9), exponent=r.choice([1.0, 2.0])),
    "polynomials": lambda r: lrax.PolynomialLR(r.uniform(0.01, 1), r.randint(1, 9), r.choice([1, 2.5]), eta_min=r.choice([0, 0.5])),
    "exponentials": lambda r: lrax.ExponentialLR(r.uniform(0.01, 1), r.choice([0.5, 0.9, 1.1])),
    "stairs": lambda r: lrax.StepLR(r.uniform(0.01, 1), r.randint(1, 4), 0.5),
    "slow stairs": lambda r: lrax.ExponentialDecayLR(0.5, r.randint(1, 4), 0.7, r.randint(0, 2), r.random() < 0.5, r.choice([None, 0.3])),
    "warmups": lambda r: lrax.WarmupScheduler(r.uniform(0.01, 1), r.randint(0, 9)),
    "roots": lambda r: lrax.InverseSqrtLR(r.uniform(0.01, 1), r.randint(1, 4)),
    "functions": lambda r: lrax.LambdaLR(r.uniform(0.01, 1), lambda t: 1 / (1 + t)),
    "tables": lambda r: lrax.MultiStepLR(1.0, r.choice([[1, 3], [2, 3]]), 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", [*MANY, "all of these"])
def test_a_sequence_of_many(name):
    """Each phase is what its member is alone, though there may be one formula for all of them."""
    r = random.Random(name)
    members, milestones = [], [0]
    while len(members) < (120 if name == "all of these" else 40):
        members.append(MANY[name if name in MANY else r.choice([*MANY])](r))
        milestones.append(milestones[-1] + r.randint(1, 9))
    scheduler, t = lrax.SequentialLR(members, milestones[1:-1]), np.arange(milestones[-1] + 20)
    wanted = np.concatenate([
        member(np.arange(end - start)) if i + 1 < len(members) else member(t[start:] - start)
        for i, (member, start, end) in enumerate(zip(members, milestones, milestones[1:], strict=False))
    ])  # fmt: skip
    np.testing.assert_array_equal(same_everywhere(scheduler, t), wanted)
    at = jax.jit(scheduler)
    np.testing.assert_array_equal([at(e) for e in t[::7].tolist()], wanted[::7])
    np.testing.assert_array_equal(jax.jit(jax.vmap(scheduler))(t), wanted)
    np.testing.assert_array_equal(jax.jit(2 * scheduler.delay(3))(t + 3), (2 * scheduler)(t))
    slope = jax.grad(lambda factor: (factor * scheduler)(17))(2.0)
    assert_close(slope, wanted[17])


def test_a_deep_nesting_is_compiled_and_has_boundaries():
    scheduler = wanted = A()
    for _ in range(150):
        scheduler = lrax.SequentialLR([lrax.ConstantLR(0.5, 1.0, 0), scheduler], [1])
    np.testing.assert_array_equal(
        same_everywhere(scheduler, np.arange(300))[150:], wanted(np.arange(150))
    )
    assert scheduler.boundaries[0] == 1


def test_a_traced_divisor_is_divided_by_once():
    values = np.random.default_rng(0).uniform(1, 2, 2000).astype(np.float32)
    got = jax.jit(jax.vmap(lambda v: (lrax.ConstantLR(1.9, 1.0, 0) / v)(0)))(values)
    np.testing.assert_array_equal(got, (1.9 / values.astype(np.float64)).astype(np.float32))
