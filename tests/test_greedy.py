"""GreedyLR against a state machine in plain Python, on many random metrics: eager, compiled, traced, saved, inside others."""

import math

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_same_bits
from metrics import random_metrics
from saved import contents

INF = math.inf


class Machine:
    """The documented rules, one metric at a time, in float64."""

    def __init__(self, lr, mode, factor, patience, threshold, threshold_mode, cooldown, warmup, min_lr, max_lr, eps, smooth, window_size, reset_start):  # fmt: skip
        self.__dict__.update(locals())
        self.first = lr
        self.rises = self.resets = 0
        self.begin()

    def begin(self):
        self.lr, self.best, self.window = self.first, INF if self.mode == "min" else -INF, []
        self.good = self.bad = self.cooling = self.warming = self.waited = 0

    def better(self, m):
        margin = self.threshold
        if self.threshold_mode == "rel":
            margin = 0.0 if math.isinf(self.best) else self.threshold * abs(self.best)
        return m < self.best - margin if self.mode == "min" else m > self.best + margin

    def step(self, m):
        if self.smooth:
            self.window = [*self.window, m][-self.window_size :]
            m = sum(self.window) / len(self.window)
        if self.cooling > 0:
            self.cooling, self.good, self.bad = self.cooling - 1, 0, 0
        elif self.warming > 0:
            self.warming, self.good, self.bad = self.warming - 1, 0, 0
        elif self.better(m):
            self.best, self.good, self.bad = m, self.good + 1, 0
        else:
            self.good, self.bad = 0, self.bad + 1
        if self.good > self.patience:
            new = min(self.lr / self.factor, self.max_lr)
            self.lr = new if new - self.lr > self.eps else self.lr
            self.good, self.warming, self.waited = 0, self.warmup, 0
            self.rises += 1
        elif self.bad > self.patience:
            new = max(self.lr * self.factor, self.min_lr)
            self.lr = new if self.lr - new > self.eps else self.lr
            self.bad, self.cooling = 0, self.cooldown
            if self.lr <= self.min_lr:
                self.waited += 1
                if self.waited >= self.reset_start:
                    self.begin()
                    self.cooling = self.cooldown
                    self.resets += 1
        return self.lr

    def memory(self):
        return self.best, self.bad, self.good, self.cooling, self.warming


def random_arguments(rng):
    return {
        "mode": str(rng.choice(["min", "max"])),
        "factor": float(rng.choice([0.3, 0.5, 0.9, 0.95])),
        "patience": int(rng.integers(0, 3)),
        "threshold": float(rng.choice([1e-6, 1e-4, 0.05])),
        "threshold_mode": str(rng.choice(["abs", "rel"])),
        "cooldown": int(rng.integers(0, 3)),
        "warmup": int(rng.integers(0, 3)),
        "min_lr": float(rng.choice([1e-3, 0.02, 0.09])),
        "max_lr": float(rng.choice([1.0, 0.3, 0.12])),
        "eps": float(rng.choice([1e-8, 0.01])),
        "smooth": bool(rng.integers(0, 2)),
        "window_size": int(rng.integers(1, 6)),
        "reset_start": int(rng.integers(0, 4)),
    }


def memory_of(scheduler):
    names = ("best", "num_bad_epochs", "num_good_epochs", "cooldown_counter", "warmup_counter")
    return [float(getattr(scheduler, name).value) for name in names]


@pytest.mark.parametrize("compiled", [False, True])
def test_random_sequences(compiled):
    """All kinds of metrics and arguments; the compiled one leaves the same memory behind, to the last bit."""
    rng = np.random.default_rng(4)
    rises = resets = 0
    for i, sequence in enumerate(random_metrics(rng, 14 if compiled else 84)):
        arguments = random_arguments(rng)
        scheduler, machine = lrax.GreedyLR(0.1, **arguments), Machine(0.1, **arguments)
        if compiled:
            twin = lrax.GreedyLR(0.1, **arguments)
            rates = brainstate.transform.for_loop(
                lambda m, s=twin: (s.step(m), s.get_last_lr()[0])[1], sequence
            )
        for n, metric in enumerate(sequence):
            scheduler.step(float(metric) if i % 2 else metric)
            wanted = machine.step(float(metric))
            found = np.float32(scheduler.get_last_lr()[0])
            assert abs(found - wanted) <= np.spacing(np.float32(wanted)), (i, n, arguments)
            np.testing.assert_allclose(
                memory_of(scheduler), machine.memory(), rtol=1e-12, err_msg=str((i, n, arguments))
            )
            if compiled:
                assert_same_bits(np.asarray(rates[n]), found)
        if compiled and not any(np.abs(sequence) < 1e-20):
            np.testing.assert_equal(
                list(contents(twin).values()), list(contents(scheduler).values())
            )
        rises, resets = rises + machine.rises, resets + machine.resets
    assert rises > 10
    assert resets > 2


def test_traced_numbers():
    """A sweep over arguments and base learning rates at once."""
    rng = np.random.default_rng(6)
    fixed = {"mode": "min", "threshold_mode": "abs", "smooth": True, "window_size": 3}
    drawn = [random_arguments(rng) | fixed for _ in range(14)]
    names = [k for k in drawn[0] if k not in fixed]
    numbers = {k: np.array([a[k] for a in drawn]) for k in names}
    numbers = {
        k: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in numbers.items()
    }
    bases = np.linspace(0.05, 0.3, 14, dtype=np.float32)
    metrics = np.nan_to_num(random_metrics(rng, 14), posinf=9, neginf=-9)

    def run(base, numbers, sequence):
        scheduler = lrax.GreedyLR(base, **fixed, **numbers)
        body = lambda m: (scheduler.step(m), scheduler.get_last_lr()[0])[1]  # noqa: E731
        return brainstate.transform.for_loop(body, sequence)

    found = jax.jit(jax.vmap(run))(bases, numbers, metrics)
    for i, sequence in enumerate(metrics):
        own = {k: v[i].item() for k, v in numbers.items()}
        machine = Machine(float(bases[i]), **fixed, **own)
        wanted = np.float64([machine.step(float(m)) for m in sequence])
        assert (np.abs(found[i] - wanted) <= np.spacing(np.float32(wanted))).all(), (i, own)


def test_a_window_forgets_what_is_no_number():
    """Unlike Hugging Face's running sum, which is NaN from then on."""
    scheduler = lrax.GreedyLR(0.1, patience=0, factor=0.5, smooth=True, window_size=2)
    rates = []
    for metric in (3.0, math.nan, 2.0, 1.0, 1.0):
        scheduler.step(metric)
        rates.append(float(scheduler.get_last_lr()[0]))
    np.testing.assert_allclose(rates, [0.2, 0.1, 0.05, 0.1, 0.2], rtol=1e-6)


def test_groups_follow_the_first():
    """The limits are those of the schedule, which the others scale."""
    arguments = {"factor": 0.5, "patience": 0, "min_lr": 0.05, "max_lr": 0.4}
    scheduler, alone = lrax.GreedyLR([0.1, 0.2, 0.01], **arguments), lrax.GreedyLR(0.1, **arguments)
    step = brainstate.transform.jit(scheduler.step)
    for metric in np.float32([3, 2, 1, 1, 1, 1, 1, 0]):
        step(metric)
        alone.step(metric)
        wanted = np.float64(alone.get_last_lr()[0]) * np.array([1, 2, 0.1])
        np.testing.assert_allclose(np.float64(scheduler.get_last_lr()), wanted, rtol=1.2e-7)
    with pytest.raises(ValueError, match=r"base_lr is 0 here"):
        lrax.SGD(lr=lrax.GreedyLR(0.0), groups={"a": {"lr": 0.1}}).register_trainable_weights(
            {"a": brainstate.ParamState(jnp.ones(2))}
        )


@pytest.mark.parametrize("compiled", [False, True])
def test_inside_others(compiled):
    """It learns from the epoch on at which it takes over, and scales what it is multiplied with."""
    greedy = lrax.GreedyLR(0.1, patience=0, factor=0.5)
    scheduler = lrax.SequentialLR(
        [lrax.WarmupScheduler(0.1, 2), lrax.ChainedScheduler([lrax.ExponentialLR(0.1, 0.9), greedy])], [2]
    )  # fmt: skip
    step = lambda m: scheduler.step(metric=m)  # noqa: E731
    step = brainstate.transform.jit(step) if compiled else step
    found = []
    for metric in np.float32([0.0, 0.0, 3.0, 2.0, 2.0, 1.0]):
        step(metric)
        found.append(float(scheduler.get_last_lr()[0]))
    own = [2.0, 4.0, 2.0, 4.0]
    wanted = [0.05, 0.1, *(0.1 * 0.9**n * f for n, f in enumerate(own, start=1))]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"base_lr\[0\] must be > 0 where base_lr\[1\] is"):
        lrax.GreedyLR([0.0, 0.1])
    with pytest.raises(
        ValueError, match=r"min_lr must be at most max_lr, got 0.2 > 0.1. Swap them."
    ):
        lrax.GreedyLR(min_lr=0.2, max_lr=0.1)
    with pytest.raises(TypeError, match="window_size must be a known number"):
        jax.jit(lambda n: lrax.GreedyLR(0.1, smooth=True, window_size=n).get_last_lr()[0])(3)
    with pytest.raises(ValueError, match="needs a metric"):
        lrax.GreedyLR().step()
    with pytest.raises(
        TypeError, match="no learning rate at a given epoch: it depends on the metrics"
    ):
        lrax.GreedyLR()(3)
    saved = lrax.GreedyLR(0.1, smooth=True, window_size=2).state_dict()
    for wrong in ({"0": 1.0}, [1.0, 2.0, 3.0], {"0": 1.0, "1": "a"}):
        saved["memory"]["0"]["window"] = wrong
        with pytest.raises(ValueError, match=r"memory\.0\.window"):
            lrax.GreedyLR(0.1, smooth=True, window_size=2).load_state_dict(saved)
