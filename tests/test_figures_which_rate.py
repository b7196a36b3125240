"""The pictures of which_rate.md, beside the rates that an optimizer really used: how far weights moved by a gradient of 1."""

import math

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from drawn import figures_of
from helpers import assert_close

figures = figures_of("which_rate")
plt = figures.plt
K = np.arange(24)


def formula(t, peak=0.1, warmup=8, total=24):
    """The plan of all pictures, written out."""
    if t < warmup:
        return peak * t / warmup
    return peak * (1 + math.cos(math.pi * min((t - warmup) / (total - warmup), 1))) / 2


def plan():
    return lrax.WarmupCosineSchedule(0.1, 8, 24)


def short():
    return lrax.WarmupCosineSchedule(0.1, 2, 6)


class Weights:
    """Weights of SGD, each of which says the rate of an update by how far it moves."""

    def __init__(self, scheduler, names=("w",), **options):
        self.states = {name: brainstate.ParamState(jnp.zeros(())) for name in names}
        self.scheduler = scheduler
        self.optimizer = lrax.SGD(lr=scheduler, **options)
        self.optimizer.register_trainable_weights(self.states)

    def update(self, gradient=1.0):
        """One call, from weights of 0 on; the rate of each weight."""
        for state in self.states.values():
            state.value = jnp.zeros(())
        self.optimizer.step({name: jnp.asarray(gradient) for name in self.states})
        return jnp.stack([-state.value for state in self.states.values()])

    def both(self, _=None):
        rates = self.update()
        self.scheduler.step()
        return rates


def after():
    weights = Weights(plan())
    return [weights.both() for _ in K]


def before():
    weights, rates = Weights(plan()), []
    for _ in K:
        weights.scheduler.step()
        rates.append(weights.update())
    return rates


def by_epoch():
    weights, rates = Weights(short()), []
    for _ in range(6):
        rates.append(brainstate.transform.for_loop(lambda _: weights.update(), np.arange(4)))
        weights.scheduler.step()
    return np.concatenate(rates)


def inside():
    step = lrax.jit(Weights(plan()).both)
    return [step() for _ in K]


def outside():
    weights, rates = Weights(plan()), []
    update = lrax.jit(weights.update)
    for _ in K:
        rates.append(update())
        weights.scheduler.step()
    return rates


def for_loop():
    return brainstate.transform.for_loop(Weights(plan()).both, K)


def scan():
    weights = Weights(plan())
    return brainstate.transform.scan(lambda carry, _: (carry, weights.both()), 0, K)[1]


def calls(bad=(), **options):
    """The rates of all calls, 0 where there was no update."""
    weights, rates = Weights(**options), []
    for k in K:
        rates.append(weights.update(np.nan if k in bad else 1.0))
        if not weights.optimizer.auto_step:
            weights.scheduler.step()
    return np.array(rates)


def accumulated(scheduler, **options):
    return calls(scheduler=scheduler, accumulate_steps=4, **options)[3::4]


def with_bad_ones(**options):
    rates = calls(bad=(10, 11), scheduler=plan(), skip_nonfinite=True, **options)
    assert (rates[10:12] == 0).all()
    return np.delete(rates, [10, 11])


def grouped():
    own = lrax.CosineAnnealingLR(0.06, 24)
    groups = {"b": {"lr_scale": 0.5}, "c": {"lr": 0.03}, "d": {"lr": own}}
    weights = Weights(plan(), "abcd", groups=groups)
    return np.array([weights.both() for _ in K])


def resumed():
    first, saved, rates = Weights(plan()), None, []
    for k in range(13):
        if k == 10:
            saved = first.optimizer.state_dict()
        rates.append(first.both())
    second = Weights(plan())
    second.optimizer.load_state_dict(saved)
    return rates, [second.both() for _ in range(14)]


def changed(change):
    """The rates from update 12 on, before which something changes."""
    weights = Weights(plan())
    for _ in range(12):
        weights.both()
    change(weights)
    rates = []
    for _ in range(12):
        rates.append(weights.update())
        weights.optimizer.lr.step()
    return rates


def attach(make):
    return lambda weights: make(weights.scheduler).attach_optimizer(weights.optimizer)


PICTURES = {
    "order": lambda: [(K, after()), (K, before())],
    "epochs": lambda: [(K, after()), (K, by_epoch())],
    "places": lambda: [(K, run()) for run in (after, inside, outside, for_loop, scan)],
    "accumulation": lambda: [
        (K[3::4], accumulated(plan())),
        (K[3::4], accumulated(short(), auto_step=True)),
    ],
    "skipped": lambda: [
        (np.delete(K, [10, 11]), with_bad_ones(auto_step=auto)) for auto in (False, True)
    ],
    "groups": lambda: [(K, rates) for rates in grouped().T],
    "resume": lambda: list(zip((K[:13], K[10:]), resumed(), strict=True)),
    "jumps": lambda: [
        (K[:12], after()[:12]),
        (K[12:], changed(lambda w: w.scheduler.step(4))),
        (K[12:], changed(lambda w: setattr(w.optimizer, "current_lr", 0.02))),
    ],
    "several": lambda: [
        (K[:12], after()[:12]),
        (K[12:], changed(attach(lambda _: lrax.CosineAnnealingLR(0.06, 24)))),
        (K[12:], changed(attach(lambda run: run.with_cooldown(12, 8)))),
    ],
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name):
    plt.close("all")
    getattr(figures, name)()
    curve, *drawn = [line.get_xydata().T for line in plt.gca().lines]
    plt.close("all")
    assert_close(curve[1], [formula(t) for t in curve[0]])
    for (x, y), (k, rates) in zip(drawn, PICTURES[name](), strict=True):
        np.testing.assert_array_equal(x, k)
        assert_close(y, np.ravel(rates))


def test_every_picture_is_tested():
    own = {n for n, f in vars(figures).items() if callable(f) and f.__module__ == "which_rate"}
    assert own - {"draw"} == set(PICTURES)


def test_rates_are_those_of_the_formula():
    assert_close(np.ravel(after()), [formula(t) for t in K])
    assert_close(np.ravel(by_epoch()), [formula(k // 4, warmup=2, total=6) for k in K])
