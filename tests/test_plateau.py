"""ReduceLROnPlateau against a state machine in plain Python, on many random metrics, alone and in composites."""

import itertools
import math

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_close, assert_same_bits, state_of
from metrics import random_metrics
from saved import contents

NAN, INF = math.nan, math.inf
MODES = list(itertools.product(("min", "max"), ("rel", "abs")))
STEPS = 48


class Machine:
    """The documented rules, one metric at a time, in float64."""

    def __init__(
        self, lrs, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
    ):
        self.lrs = list(lrs)
        self.factor, self.patience, self.cooldown = factor, patience, cooldown
        self.min_lr = min_lr if isinstance(min_lr, list) else [min_lr] * len(self.lrs)
        self.eps = eps if isinstance(eps, list) else [eps] * len(self.lrs)
        self.mode, self.threshold, self.relative = mode, threshold, threshold_mode == "rel"
        self.best = INF if mode == "min" else -INF
        self.bad = self.cooling = 0

    def better(self, metric):
        if math.isinf(self.best):
            margin = 0.0
        else:
            margin = self.threshold * abs(self.best) if self.relative else self.threshold
        if self.mode == "min":
            return metric < self.best - margin
        return metric > self.best + margin

    def step(self, metric):
        if self.better(metric):
            self.best, self.bad = metric, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > self.patience:
            self.lrs = [
                self.reduced(*group) for group in zip(self.lrs, self.min_lr, self.eps, strict=True)
            ]
            self.cooling, self.bad = self.cooldown, 0
        return self.lrs

    def reduced(self, lr, min_lr, eps):
        new = max(lr * self.factor, min_lr)
        return new if lr - new > eps else lr


def random_arguments(rng):
    return {
        "factor": float(rng.choice([0.1, 0.3, 0.5, 0.9])),
        "patience": int(rng.integers(0, 6)),
        "threshold": float(rng.choice([0.0, 1e-4, 0.05, 0.5])),
        "cooldown": int(rng.integers(0, 5)),
        "min_lr": float(rng.choice([0.0, 1e-4, 0.02])),
        "eps": float(rng.choice([0.0, 1e-8, 3e-3])),
    }


def wanted_of(metrics, base_lr, **arguments):
    machine = Machine([base_lr], **arguments)
    rates = [machine.step(float(metric))[0] for metric in metrics]
    return rates, (machine.best, machine.bad, machine.cooling)


def memory_of(scheduler):
    return scheduler.best.value, scheduler.num_bad_epochs.value, scheduler.cooldown_counter.value


def loop(scheduler, metrics):
    """Learning rates and final memory after a compiled loop; for vmap."""

    def body(metric):
        scheduler.step(metric)
        return scheduler.get_last_lr()[0]

    rates = brainstate.transform.for_loop(body, metrics)
    memory = state_of(scheduler, "0").value["0"]
    return rates, memory


def assert_rates(rates, wanted):
    """Within one unit in the last place: the machine multiplies step by step."""
    assert rates.dtype == np.float32
    wanted = np.float64(wanted)
    assert rates.shape == wanted.shape
    assert (np.abs(rates - wanted) <= np.spacing(np.float32(wanted))).all()


def assert_memory(memory, wanted):
    best, bad, cooling = wanted
    joined = np.asarray(memory["best"], np.float64).sum(axis=-1)
    np.testing.assert_array_equal(joined, np.float64(best))
    np.testing.assert_array_equal(memory["num_bad_epochs"], bad)
    np.testing.assert_array_equal(memory["cooldown_counter"], cooling)


@pytest.mark.parametrize(
    "mode, threshold_mode",
    [
        pytest.param(
            *row, marks=[] if row in (("min", "rel"), ("max", "abs")) else pytest.mark.slow
        )
        for row in MODES
    ],
)
def test_ten_thousand_sequences(mode, threshold_mode):
    """Many trainings under vmap, for several sets of arguments: 2 520 sequences in each mode."""
    rng = np.random.default_rng(MODES.index((mode, threshold_mode)))
    reduced = 0
    for _ in range(4):
        arguments = random_arguments(rng) | {"mode": mode, "threshold_mode": threshold_mode}
        metrics = random_metrics(rng, 630)

        def run(sequence, arguments=arguments):
            return loop(lrax.ReduceLROnPlateau(0.1, **arguments), sequence)

        rates, memory = jax.jit(jax.vmap(run))(metrics)
        wanted = [wanted_of(sequence, 0.1, **arguments) for sequence in metrics]
        assert_rates(np.asarray(rates), [rates for rates, _ in wanted])
        assert_memory(memory, tuple(zip(*(memory for _, memory in wanted), strict=True)))
        reduced += sum(rates[-1] < 0.1 for rates, _ in wanted)
    assert reduced > 1000


@pytest.mark.parametrize("mode, threshold_mode", MODES)
def test_arguments_may_be_traced(mode, threshold_mode):
    """A sweep over all the numbers at once."""
    rng = np.random.default_rng(17)
    arguments = [random_arguments(rng) for _ in range(200)]
    metrics = random_metrics(rng, 200)
    fixed = {"mode": mode, "threshold_mode": threshold_mode}

    def run(sequence, numbers):
        return loop(lrax.ReduceLROnPlateau(0.1, **fixed, **numbers), sequence)

    # As float32, which is what is traced; the machine gets the same numbers.
    arguments = [
        {k: v if isinstance(v, int) else float(np.float32(v)) for k, v in a.items()}
        for a in arguments
    ]
    traced = {
        key: np.array([a[key] for a in arguments], type(arguments[0][key])) for key in arguments[0]
    }
    traced = {
        k: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in traced.items()
    }
    rates, memory = jax.jit(jax.vmap(run))(metrics, traced)
    wanted = [
        wanted_of(sequence, 0.1, **fixed, **own)
        for sequence, own in zip(metrics, arguments, strict=True)
    ]
    assert_rates(np.asarray(rates), [rates for rates, _ in wanted])
    assert_memory(memory, tuple(zip(*(memory for _, memory in wanted), strict=True)))


@pytest.mark.parametrize("mode, threshold_mode", MODES)
def test_eager_steps_are_the_same(mode, threshold_mode):
    """Step by step on the host, with metrics of Python, NumPy and jax."""
    rng = np.random.default_rng(23)
    kinds = itertools.cycle([float, np.float32, np.float64])
    for sequence in random_metrics(rng, 70):
        arguments = random_arguments(rng) | {"mode": mode, "threshold_mode": threshold_mode}
        scheduler, machine = lrax.ReduceLROnPlateau(0.1, **arguments), Machine([0.1], **arguments)
        kind, rates, wanted = next(kinds), [], []
        for metric in sequence:
            scheduler.step(kind(metric))
            rates.append(scheduler.get_last_lr()[0])
            wanted.append(machine.step(float(metric))[0])
            assert tuple(map(float, memory_of(scheduler))) == (
                machine.best,
                machine.bad,
                machine.cooling,
            )
        assert_rates(np.array(rates), wanted)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=1, cooldown=1),
        lambda: lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=1, accumulation_size=2),
        lambda: lrax.GreedyLR(0.1, patience=1, min_lr=0, max_lr=1, window_size=3, smooth=True, reset_start=2),
    ],
)  # fmt: skip
def test_the_memory_is_the_same_whatever_was_stepped_how(make):
    """Metrics of all kinds, whole ones too, on the host, while somebody watches, in and after compiled steps."""
    plain, mixed = make(), make()
    inside = lrax.jit(mixed.step)
    whole = [3, 3, 2, 4, 1, 1, 5, 5, 5, 5, 0, 7, 7, 7, 7]
    heard = []
    for i, metric in enumerate(2 * whole):
        plain.step(float(metric))
        kinds = int, float, np.float32, np.int64, jnp.float32, jnp.int32
        if i % 7 == 3:
            inside(np.float32(metric))
        else:
            memory = mixed.learning.memory
            memory.register_hook(
                "write_after", heard.append
            ) if i % 7 == 5 else memory.clear_hooks()
            mixed.step(kinds[i % len(kinds)](metric))
        for a, b in zip(*map(jax.tree.leaves, (contents(plain), contents(mixed))), strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert_same_bits(np.float32(mixed.get_last_lr()), np.float32(plain.get_last_lr()))
    assert len(heard) == 4


def test_a_jax_metric_and_one_out_of_a_compiled_step():
    sequence = random_metrics(np.random.default_rng(2), 1)[0]
    eager, compiled = (lrax.ReduceLROnPlateau(0.1, patience=1) for _ in range(2))
    inside = brainstate.transform.jit(lambda metric: compiled.step(metric))
    for metric in sequence:
        eager.step(jnp.float32(metric))
        inside(metric)
        assert_same_bits(np.float32(compiled.get_last_lr()), np.float32(eager.get_last_lr()))
    np.testing.assert_equal(
        jax.tree.map(np.asarray, list(contents(compiled).values())),
        jax.tree.map(np.asarray, list(contents(eager).values())),
    )


# --- torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, threshold_mode", MODES)
def test_torch_agrees(mode, threshold_mode):
    """torch's own class, on its own sequences; a relative threshold on metrics above zero only."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    for sequence in random_metrics(rng, 84):
        arguments = random_arguments(rng) | {"mode": mode, "threshold_mode": threshold_mode}
        metrics = np.abs(sequence) if threshold_mode == "rel" else sequence
        lrs = [0.1, 0.03]
        groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in lrs]
        theirs = torch.optim.SGD(groups, lr=0.1)
        per_group = arguments | {"min_lr": [arguments["min_lr"], 0.01]}
        reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **per_group)
        ours, machine = lrax.ReduceLROnPlateau(lrs, **per_group), Machine(lrs, **per_group)
        rates, wanted = [], []
        for metric in metrics:
            reference.step(float(metric))
            ours.step(metric)
            machine_rates = machine.step(float(metric))
            found = [group["lr"] for group in theirs.param_groups]
            assert_close(machine_rates, found, rtol=1e-12)
            rates.append(ours.get_last_lr())
            wanted.append(found)
            assert (float(ours.best.value), int(ours.num_bad_epochs.value)) == (
                reference.best,
                reference.num_bad_epochs,
            )
        assert_rates(np.array(rates), wanted)


def test_torch_never_reduces_for_a_flat_negative_metric_and_ours_does():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, patience=2)
    ours = lrax.ReduceLROnPlateau(0.1, patience=2)
    for _ in range(12):
        reference.step(-1.0)
        ours.step(-1.0)
    assert theirs.param_groups[0]["lr"] == 0.1
    assert_close(ours.get_last_lr(), [0.1 * 0.1**3])


# --- means of several metrics -----------------------------------------------------------------------


def with_means(metrics, size):
    """Scheduler and state machine with so many metrics as one, and windows of them."""
    arguments = {"factor": 0.5, "patience": 1, "threshold": 0.01, "cooldown": 1}
    scheduler = lrax.ReduceLROnPlateau(0.1, **arguments, accumulation_size=size)
    machine = Machine([0.1], "min", threshold_mode="rel", min_lr=0.0, eps=1e-8, **arguments)
    return scheduler, machine


@pytest.mark.parametrize("way", ["eager", "jit", "for_loop", "saved"])
def test_the_mean_of_a_window_is_one_metric(way):
    """Until the window is full nothing changes; NaN in it makes it a bad one; the mean is that of float64."""
    for size, sequence in zip(
        (2, 3, 5, 7, 3, 4, 6), random_metrics(np.random.default_rng(11), 7), strict=True
    ):
        scheduler, machine = with_means(sequence, size)
        step = brainstate.transform.jit(scheduler.step) if way == "jit" else scheduler.step
        rates, wanted = [], []
        for i, metric in enumerate(sequence, start=1):
            if i % size == 0:
                window = [float(m) for m in sequence[i - size : i]]
                mean = sum(window) / size
                machine.step(
                    mean if abs(mean * size) < 3e38 or mean != mean else math.copysign(INF, mean)
                )
            wanted.append(machine.lrs[0])
            if way == "for_loop":
                continue
            if way == "saved":
                again, _ = with_means(sequence, size)
                again.load_state_dict(scheduler.state_dict())
                scheduler, step = again, again.step
            step(metric)
            rates.append(scheduler.get_last_lr()[0])
            np.testing.assert_allclose(float(scheduler.best.value), machine.best, rtol=1e-14)
        if way == "for_loop":
            rates = brainstate.transform.for_loop(
                lambda m, s=scheduler: (s.step(m), s.get_last_lr()[0])[1], sequence
            )
        assert_rates(np.asarray(rates), wanted)


def test_torch_on_the_means():
    torch = pytest.importorskip("torch")
    sequence = np.abs(random_metrics(np.random.default_rng(3), 2)[1]).tolist()
    theirs = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=1)
    ours = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=1, accumulation_size=4)
    rates, wanted = [], []
    for i, metric in enumerate(sequence, start=1):
        if i % 4 == 0:
            reference.step(sum(sequence[i - 4 : i]) / 4)
        ours.step(metric)
        rates.append(ours.get_last_lr()[0])
        wanted.append(theirs.param_groups[0]["lr"])
    assert_rates(np.array(rates), wanted)
    assert wanted[-1] < 0.05


@pytest.mark.parametrize("mode, bad", [("min", INF), ("max", -INF)])
def test_a_window_that_holds_what_is_no_number(mode, bad):
    scheduler = lrax.ReduceLROnPlateau(1.0, mode, factor=0.5, patience=0, accumulation_size=2)
    step = brainstate.transform.jit(scheduler.step)
    for _ in range(2):  # compiled and eager
        for metrics in ([NAN, 1.0], [1.0, NAN], [bad, 1.0], [INF, -INF]):
            before = float(scheduler.get_last_lr()[0])
            for metric in metrics:
                assert float(scheduler.get_last_lr()[0]) == before
                step(np.float32(metric))
            assert float(scheduler.get_last_lr()[0]) == before / 2
            assert scheduler.best.value == bad
        step = scheduler.step


def test_the_default_remembers_what_it_always_did():
    memory = lrax.ReduceLROnPlateau(0.1).state_dict()["memory"]["0"]
    assert memory.keys() == {"best", "num_bad_epochs", "cooldown_counter", "reductions"}
    more = lrax.ReduceLROnPlateau(0.1, accumulation_size=2).state_dict()["memory"]["0"]
    assert more.keys() - memory.keys() == {"window_sum", "window_count"}


# --- special metrics --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, good, bad", [("min", -INF, INF), ("max", INF, -INF)])
@pytest.mark.parametrize("jitted", [False, True])
def test_nan_and_infinity(mode, good, bad, jitted):
    scheduler = lrax.ReduceLROnPlateau(1.0, mode, factor=0.5, patience=1)
    step = brainstate.transform.jit(scheduler.step) if jitted else scheduler.step
    for metric, best, count, lr in (
        (NAN, bad, 1, 1.0),
        (bad, bad, 0, 0.5),  # the worst there is, is no better than nothing
        (0.0, 0.0, 0, 0.5),
        (NAN, 0.0, 1, 0.5),
        (NAN, 0.0, 0, 0.25),
        (good, good, 0, 0.25),
        (good, good, 1, 0.25),
        (0.0, good, 0, 0.125),
    ):
        step(np.float32(metric))
        assert scheduler.best.value == best
        assert int(scheduler.num_bad_epochs.value) == count
        assert float(scheduler.get_last_lr()[0]) == lr


@pytest.mark.parametrize("jitted", [False, True])
def test_min_lr_and_eps_of_each_group(jitted):
    """Each group stops at its own floor, and does not make reductions that are too small for it."""
    arguments = {
        "factor": 0.5,
        "patience": 0,
        "min_lr": [0.02, 0.0, 0.0],
        "eps": [1e-8, 0.03, 1e-8],
    }
    scheduler = lrax.ReduceLROnPlateau([0.1, 0.1, 0.4], **arguments)
    step = brainstate.transform.jit(scheduler.step) if jitted else scheduler.step
    rates = []
    for metric in np.float32([1.0] * 7):
        step(metric)
        rates.append(np.float32(scheduler.get_last_lr()))
    wanted = [
        [0.1, 0.05, 0.025, 0.02, 0.02, 0.02, 0.02],
        [0.1, 0.05] + [0.05] * 5,
        [0.4 * 0.5**n for n in range(7)],
    ]
    assert_close(np.transpose(rates), wanted)


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("mode, sign", [("min", 1), ("max", -1)])
def test_a_metric_that_no_float32_can_hold(mode, sign, jitted):
    """It may be taken for infinity, and must not keep the next ones from being better."""
    scheduler = lrax.ReduceLROnPlateau(1.0, mode, 0.5, patience=1)
    step = brainstate.transform.jit(scheduler.step) if jitted else scheduler.step
    with jax.enable_x64(True):
        for metric in (1e300, 5.0, 4.0, 3.0, 2.0):
            step(sign * metric)
    assert scheduler.get_last_lr() == [1.0]
    assert scheduler.best.value == sign * 2.0


EDGES = [0.0, 5e-324, 1e-300, 1e-30, 0.1, 1e30, 1e300, 1.7e308]


@pytest.mark.parametrize("factor", [5e-324, 1e-300, 0.5, 1 - 2**-53])
def test_numbers_at_the_ends_of_float64(factor):
    for base, min_lr, eps in itertools.product(EDGES, EDGES, EDGES):
        scheduler = lrax.ReduceLROnPlateau(
            base, factor=factor, patience=0, threshold=0, min_lr=min_lr, eps=eps
        )
        machine = Machine([base], "min", factor, 0, 0.0, "rel", 0, min_lr, eps)
        for metric in (1.0, 2.0, 3.0):
            scheduler.step(metric)
            wanted = min(machine.step(metric)[0], float(np.finfo(np.float32).max))
            wanted = wanted if wanted >= 2.0**-126 else 0.0
            np.testing.assert_allclose(
                scheduler.get_last_lr(), [wanted], rtol=1e-6, err_msg=str((base, min_lr, eps))
            )


@pytest.mark.parametrize("jitted", [False, True])
def test_cooldown(jitted):
    """Metrics of the cooldown do not count as bad, and a good one among them is still the best."""
    scheduler = lrax.ReduceLROnPlateau(1.0, factor=0.5, patience=1, cooldown=3)
    step = brainstate.transform.jit(scheduler.step) if jitted else scheduler.step
    metrics = [1, 1, 1, 0.5, 1, 1, 1, 1, 1]
    cooling = [0, 0, 3, 2, 1, 0, 0, 3, 2]
    rates = [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    for metric, left, rate in zip(metrics, cooling, rates, strict=True):
        step(np.float32(metric))
        assert int(scheduler.cooldown_counter.value) == left
        assert float(scheduler.get_last_lr()[0]) == rate
    assert scheduler.best.value == 0.5


# --- in composites ----------------------------------------------------------------------------------


@pytest.mark.parametrize("jitted", [False, True])
def test_in_a_chain(jitted):
    """The reductions multiply what the other schedules give."""
    rng = np.random.default_rng(9)
    arguments = {"factor": 0.5, "patience": 2, "cooldown": 1}
    decay = lrax.ExponentialLR(0.3, 0.97)
    chain = lrax.ChainedScheduler([decay, lrax.ReduceLROnPlateau(0.7, **arguments)])
    step = brainstate.transform.jit(lambda m: chain.step(metric=m)) if jitted else (lambda m: chain.step(metric=m))  # fmt: skip
    machine = Machine([0.7], "min", 0.5, 2, 1e-4, "rel", 1, 0.0, 1e-8)
    rates, wanted = [], []
    for epoch, metric in enumerate(random_metrics(rng, 2, 60)[1], start=1):
        step(metric)
        rates.append(chain.get_last_lr()[0])
        wanted.append(0.3 * 0.97**epoch * machine.step(float(metric))[0] / 0.7)
    assert_close(rates, wanted)
    assert machine.lrs[0] < 0.05


@pytest.mark.parametrize("jitted", [False, True])
def test_after_a_warmup(jitted):
    """Metrics count from the epoch on at which the plateau takes over."""
    warm, steps = 5, 40
    sequence = lrax.SequentialLR(
        [lrax.WarmupScheduler(0.1, warm), lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=2)],
        [warm],
    )
    step = brainstate.transform.jit(lambda m: sequence.step(metric=m)) if jitted else (lambda m: sequence.step(metric=m))  # fmt: skip
    machine = Machine([0.1], "min", 0.5, 2, 1e-4, "rel", 0, 0.0, 1e-8)
    metrics = np.float32([0.01] * warm + [1.0, 0.9] + [0.9] * (steps - warm - 2))
    for epoch, metric in enumerate(metrics, start=1):
        begun = epoch - 1 >= warm  # the metric is that of the epoch that was trained
        step(metric)
        wanted = machine.step(float(metric))[0] if begun else machine.lrs[0]
        wanted = 0.1 * epoch / warm if epoch < warm else wanted
        assert_close(sequence.get_last_lr(), [wanted])
    assert_close(machine.best, np.float32(0.9))  # not the one of the warmup
    assert machine.lrs[0] < 0.001


def test_plateaus_in_one_composite_learn_by_themselves():
    chain = lrax.ChainedScheduler(
        [
            lrax.ReduceLROnPlateau(1.0, "min", factor=0.5, patience=0),
            lrax.SequentialLR(
                [lrax.ConstantLR(1.0, 1.0, 0), lrax.ReduceLROnPlateau(1.0, "max", factor=0.1, patience=1)], [3]
            ),
        ]
    )  # fmt: skip
    falling = Machine([1.0], "min", 0.5, 0, 1e-4, "rel", 0, 0.0, 1e-8)
    rising = Machine([1.0], "max", 0.1, 1, 1e-4, "rel", 0, 0.0, 1e-8)
    for epoch, metric in enumerate([3.0, 2.0, 2.5, 1.0, 2.0, 1.5, 1.0, 0.5, 0.7, 0.1]):
        chain.step(metric=metric)
        falling.step(metric)
        if epoch >= 3:
            rising.step(metric)
        assert_close(chain.get_last_lr(), [falling.lrs[0] * rising.lrs[0]])
    assert falling.lrs[0] < 1
    assert rising.lrs[0] < 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: lrax.ReduceLROnPlateau(0.1),
        lambda: lrax.ChainedScheduler([lrax.StepLR(0.1), lrax.ReduceLROnPlateau(0.1)]),
    ],
)
def test_a_step_without_a_metric_is_refused(make):
    scheduler = make()
    before = contents(scheduler)
    with pytest.raises(ValueError, match=r"needs a metric: call step\(metric=...\)"):
        scheduler.step()
    for wrong in ("0.5", None, [0.5], 1j, np.ones(2)):
        with pytest.raises((TypeError, ValueError), match="metric"):
            scheduler.step(metric=wrong)
    assert str(contents(scheduler)) == str(before)
