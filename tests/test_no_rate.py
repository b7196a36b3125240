"""NaN and negative numbers are no learning rates: an error where they are known, to be seen where they are not."""

import dataclasses
import math

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from exact import LARGEST
from helpers import METRICS, slow_but, takes_metric
from ready import optimizer, weight
from registry import KINDS
from registry.rows import INF, NAN

BAD = 3
"""The epoch at which all of these fail."""


class ByGetLR(lrax.LRScheduler):
    def __init__(self, value, base_lr=0.1, last_epoch=0):
        self.bad = float(value)  # a string, as no description holds NaN
        super().__init__(base_lr, last_epoch)

    def get_lr(self):
        return [self.bad if int(self.last_epoch.value) == BAD else lr for lr in self.base_lrs]


@dataclasses.dataclass(frozen=True)
class OfFormula(lrax.Formula):
    kind: str  # no description holds NaN

    def raw(self, t, base, x):
        return x.where(t == BAD, float(self.kind), base)


def at_bad(value):
    return lambda t: value if int(t) == BAD else 1.0


def traceable(value):
    return lambda t: jnp.where(t == BAD, value, 1.0)


MAKERS = {  # a scheduler with `value` as its learning rate at epoch BAD, for a base of 1.0
    "LambdaLR": lambda value: lrax.LambdaLR(1.0, at_bad(value)),
    "LambdaLR, compiled": lambda value: lrax.LambdaLR(1.0, traceable(value)),
    "LambdaLR, groups": lambda value: lrax.LambdaLR([1.0, 1.0], at_bad(value)),
    "LambdaLR, functions": lambda value: lrax.LambdaLR([1.0, 1.0], [lambda t: 1.0, at_bad(value)]),
    "get_lr": lambda value: ByGetLR(str(value), 1.0),
    "formula": lambda value: lrax.LRScheduler(1.0, formula=OfFormula(str(value))),
    "CyclicLR": lambda value: lrax.CyclicLR(0.0, 1.0, BAD, scale_fn=at_bad(value), scale_mode="iterations"),
    "SequentialLR": lambda value: lrax.SequentialLR([lrax.ConstantLR(1.0), lrax.LambdaLR(1.0, lambda t: at_bad(value)(t + 2))], [2]),
    "ChainedScheduler": lambda value: lrax.ChainedScheduler([lrax.LambdaLR(1.0, at_bad(value)), lrax.ConstantLR(1.0, 1.0)]),
}  # fmt: skip
EAGER = {
    "an int": lambda s: s.lr_at(BAD),
    "a float": lambda s: s.lr_at(float(BAD)),
    "an array": lambda s: s.lr_at(np.arange(5)),
    "a jax scalar": lambda s: s.lr_at(jnp.int32(BAD)),
    "a jax array": lambda s: s.lr_at(jnp.arange(5)),
    "step(epoch)": lambda s: s.step(BAD),
    "step()": lambda s: s.step(),
    "load_state_dict": lambda s: s.load_state_dict({**s.state_dict(), "last_epoch": BAD}),
    "an int in a program": lambda s: jax.jit(lambda: s.lr_at(BAD))(),
}


@pytest.mark.parametrize("value", slow_but([NAN, -0.5, -INF], NAN, -0.5))
@pytest.mark.parametrize("maker", MAKERS)
def test_it_is_an_error_where_it_is_known(maker, value):
    scheduler = MAKERS[maker](value)
    scheduler.step(BAD - 1)
    scheduler.apply(lambda lr: 0.25)  # by hand, and no reason to lose it
    for how, call in EAGER.items():
        with pytest.raises(ValueError, match=r"max\(0.0, value\)") as caught:
            call(scheduler)
        text = str(caught.value)
        kind = type(scheduler).__name__
        assert text.startswith(f"{kind} must have a learning rate >= 0, got {value}"), (how, text)
        assert f"at epoch {BAD}." in text, how
        assert int(scheduler.last_epoch.value) == BAD - 1, how
        assert set(scheduler.get_last_lr()) == {np.float32(0.25)}, how
    assert np.array_equal(scheduler.lr_at(BAD + 1)[-1:], [1.0]) or maker == "CyclicLR"


def test_it_is_an_error_at_construction_and_attaching():
    for make in (
        lambda: lrax.LambdaLR(0.1, lambda t: NAN),
        lambda: ByGetLR("-1.0", last_epoch=BAD),
        lambda: lrax.CyclicLR(0.0, 1.0, 1, scale_fn=lambda c: -c, last_epoch=1),
    ):
        with pytest.raises(ValueError, match="must have a learning rate >= 0, got"):
            make()
    scheduler, follower = ByGetLR("-1.0", last_epoch=BAD - 1), optimizer()
    scheduler.last_epoch.value = BAD
    with pytest.raises(ValueError, match="ByGetLR must have a learning rate >= 0, got -1"):
        scheduler.attach_optimizer(follower)
    follower = optimizer(lrax.LambdaLR(0.1, at_bad(NAN)))
    with pytest.raises(ValueError, match="LambdaLR must have a learning rate >= 0, got nan"):
        follower.lr_at(np.arange(9))


def test_a_plateau_has_learned_nothing_from_a_step_that_failed():
    members = [lrax.ReduceLROnPlateau(0.1, patience=0, cooldown=2), lrax.LambdaLR(1.0, at_bad(NAN))]
    scheduler = lrax.ChainedScheduler(members)
    for metric in METRICS[: BAD - 1].tolist():
        scheduler.step(metric=metric)
    before = scheduler.state_dict()
    for metric in (9.0, np.float32(9.0), jnp.float32(9.0)):  # on the host, and the other way
        with pytest.raises(ValueError, match="ChainedScheduler must have"):
            scheduler.step(metric=metric)
        assert scheduler.state_dict() == before


@dataclasses.dataclass(frozen=True)
class Below(lrax.Formula):
    """Negative for a base of 1, which only the second follower has."""

    def raw(self, t, base, x):
        return x.where(t == BAD, 0.5 - base, base)


def test_no_follower_is_written_to_if_another_one_cannot_be():
    scheduler = lrax.LRScheduler(0.25, formula=Below())
    followers = [optimizer(scheduler), optimizer(scheduler)]
    followers[1].add_param_group({"v": weight(2)}, lr=1.0)
    scheduler.step(BAD - 1)
    for step in (lambda: scheduler.step(), lambda: scheduler.step(BAD)):
        with pytest.raises(ValueError, match="LRScheduler must have a learning rate >= 0, got -0"):
            step()
        assert [f.get_last_lr() for f in followers] == [[0.25], [0.25, 1.0]]


@pytest.mark.parametrize(
    "value, wanted", [(-1e-13, 0), (-1e-300, 0), (-0.0, 0), (INF, LARGEST), (1e300, LARGEST)]
)
@pytest.mark.parametrize("maker", MAKERS)
def test_what_rounding_leaves_of_nothing_is_zero_and_infinity_is_the_largest(maker, value, wanted):
    if maker == "CyclicLR" and value < 0:
        return  # its base is 0, of which there is no share
    scheduler = MAKERS[maker](value)
    epochs = np.arange(5)
    found = scheduler.lr_at(epochs)
    assert found[BAD, -1] == np.float32(wanted)
    np.testing.assert_array_equal([scheduler.lr_at(t) for t in range(5)], found)
    for mode in (jax.jit(scheduler.lr_at), jax.vmap(scheduler.lr_at)):
        np.testing.assert_array_equal(mode(jnp.arange(5)), found)


@pytest.mark.parametrize("maker", MAKERS)
def test_traced_nan_stays_and_a_negative_is_zero(maker):
    for value, wanted in ((NAN, NAN), (-0.5, 0.0), (-INF, 0.0)):
        scheduler = MAKERS[maker](value)
        epochs = jnp.arange(5)
        step = brainstate.transform.jit(lambda s=scheduler: (s.step(), s.current_lrs.value)[1])
        rates = [
            jax.jit(scheduler.lr_at)(epochs)[BAD],
            jax.jit(scheduler.lr_at)(epochs[BAD]),
            jax.vmap(scheduler.lr_at)(epochs)[BAD],
            jax.lax.scan(lambda _, t, s=scheduler: (0, s.lr_at(t)), 0, epochs)[1][BAD],
            [step() for _ in range(BAD)][-1],
            scheduler.current_lrs.value,  # what it has published
        ]
        for found in rates:
            np.testing.assert_array_equal(found[-1], np.float32(wanted))


def test_jax_debug_nans_finds_it():
    scheduler = lrax.LambdaLR(0.1, traceable(NAN))
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        jax.jit(scheduler)(BAD)


# --- Traced arguments that no constructor would take ----------------------------------------------

SWEPT = {  # what is swept over: schedulers of a traced x, and what they give at epochs 0 to 7
    "a base below 0": (lambda x: lrax.StepLR(-x, 3), [0] * 8),
    "NaN": (lambda x: lrax.ExponentialLR(x * NAN, 0.5), [NAN] * 8),
    "a warmup beyond the end": (
        lambda x: lrax.WarmupCosineSchedule(x, (4 * x).astype(int), 2, eta_min=0.5),
        [0, 0.25, 0.5, 0.75, 0.5, 0.5, 0.5, 0.5],
    ),
    "a cycle upside down": (lambda x: lrax.CyclicLR(x, 0 * x, 2), [1, 0.5, 0, 0.5, 1, 0.5, 0, 0.5]),
    "three phases cut off": (
        lambda x: lrax.OneCycleLR(x, 8, pct_start=0.75 * x, div_factor=2.0, anneal_strategy="linear", three_phase=True),
        [0.5, 0.6, 0.7, 0.8, 0.9, 1, 0.9, 0.8],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SWEPT)
def test_traced_arguments_do_what_the_docstrings_say(what):
    make, wanted = SWEPT[what]
    found = jax.jit(lambda x, t: make(x)(t))(jnp.float32(1.0), jnp.arange(8))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


# --- Ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_ours_never_fail(kind):
    for base in (1e-300, 1e-38, 0.05, LARGEST, 1e300):
        scheduler = KINDS[kind](base)
        for t in range(60):
            if takes_metric(scheduler):
                scheduler.step(metric=float(METRICS[t]))
            else:
                scheduler.step()
            assert all(0 <= lr < math.inf for lr in scheduler.get_last_lr())
