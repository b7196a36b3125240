"""MultiplicativeLR against a loop in float64: at every step, after jumps, compiled, saved, and inside others."""

import itertools
import math

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_same_bits


def swinging(epoch):
    return 1 + 0.25 * (-1) ** epoch / (1 + epoch)


def for_the_host(epoch):
    """No tracer gets through it."""
    return 0.97 + 0.02 * math.sin(epoch) if epoch % 3 else 0.9


def product(function, epoch):
    value = 1.0
    for n in range(1, epoch + 1):
        value *= function(n)
    return value


def rate(scheduler):
    return np.float32(scheduler.get_last_lr()[0])


def rates_of(scheduler, steps):
    found = [rate(scheduler)]
    for _ in range(steps):
        scheduler.step()
        found.append(rate(scheduler))
    return np.array(found)


def assert_within_an_ulp(rates, wanted):
    wanted = np.float64(wanted)
    assert (np.abs(rates - wanted) <= np.spacing(np.float32(wanted))).all()


def test_a_hundred_thousand_steps():
    """Compiled; factors that are not exact in float32, down to 1e-33 and up again."""
    steps = 100_000
    epochs = np.arange(1, steps + 1)
    factors = np.where(epochs < steps // 2, 0.9985, 1.0014) + 1e-5 * np.cos(epochs)
    table = jnp.float32(factors)
    scheduler = lrax.MultiplicativeLR(0.1, lambda epoch: table[jnp.int32(epoch) - 1])
    found = brainstate.transform.for_loop(
        lambda _: (scheduler.step(), scheduler.get_last_lr()[0])[1], jnp.arange(steps)
    )
    wanted = 0.1 * np.cumprod(np.float64(np.float32(factors)))
    assert wanted.min() < 1e-32 < 1e-6 < wanted[-1]
    assert_within_an_ulp(np.asarray(found), wanted)


@pytest.mark.parametrize("function", [swinging, for_the_host])
@pytest.mark.parametrize("way", ["eager", "jit", "lrax.jit", "vmap"])
def test_every_step(function, way):
    wanted = [0.1 * product(function, t) for t in range(30)]
    scheduler = lrax.MultiplicativeLR(0.1, function)
    if way == "vmap":

        def run(base):
            scheduler = lrax.MultiplicativeLR(base, function)
            body = lambda _: (scheduler.step(), scheduler.get_last_lr()[0])[1]  # noqa: E731
            return brainstate.transform.for_loop(body, jnp.arange(29))

        found = jax.vmap(jax.jit(run))(jnp.float32([0.1, 0.3]))
        assert_within_an_ulp(np.asarray(found[0]), np.float32(0.1) / 0.1 * np.array(wanted[1:]))
        return
    step = {"eager": scheduler.step, "jit": brainstate.transform.jit(lambda: scheduler.step()), "lrax.jit": lrax.jit(lambda: scheduler.step())}[way]  # fmt: skip
    found = [rate(scheduler)]
    for _ in range(29):
        step()
        found.append(rate(scheduler))
    assert_within_an_ulp(np.array(found), wanted)
    assert_same_bits(np.array(found), rates_of(lrax.MultiplicativeLR(0.1, function), 29))


def test_a_step_asks_for_one_factor():
    asked = []
    scheduler = lrax.MultiplicativeLR(0.1, lambda t: asked.append(t) or 0.9)
    rates_of(scheduler, 5)
    assert asked == [1, 2, 3, 4, 5]
    again = lrax.MultiplicativeLR(0.1, lambda t: asked.append(t) or 0.9)
    again.load_state_dict(scheduler.state_dict())
    again.step()
    assert asked == [1, 2, 3, 4, 5, 6]
    assert rate(again) == np.float32(0.1 * product(lambda t: 0.9, 6))


@pytest.mark.parametrize("compiled", [False, True])
def test_any_epoch_has_its_own_product(compiled):
    """Jumps, a clock that was set, a first epoch, and the epoch of another schedule's checkpoint."""
    scheduler = lrax.MultiplicativeLR(0.1, swinging)
    jump = (
        brainstate.transform.jit(lambda k: scheduler.step(epoch=k)) if compiled else scheduler.step
    )
    for epoch in (3, 4, 11, 2, 0, 7):
        jump(np.int32(epoch))
        assert rate(scheduler) == np.float32(0.1 * product(swinging, epoch))
    scheduler.last_epoch.value = 20
    step = brainstate.transform.jit(lambda: scheduler.step()) if compiled else scheduler.step
    step()
    assert rate(scheduler) == np.float32(0.1 * product(swinging, 21))
    assert rate(lrax.MultiplicativeLR(0.1, swinging, last_epoch=9)) == np.float32(
        0.1 * product(swinging, 9)
    )
    old = lrax.StepLR(0.1, last_epoch=6)
    with pytest.warns(UserWarning, match="goes on at epoch 6"):
        scheduler.load_state_dict(old.state_dict(), strict=False)
    assert rate(scheduler) == np.float32(0.1 * product(swinging, 6))


def test_one_function_for_each_group():
    functions = [swinging, for_the_host]
    scheduler, compiled = (lrax.MultiplicativeLR([0.1, 0.3], functions) for _ in range(2))
    step = brainstate.transform.jit(lambda: compiled.step())
    for epoch in range(1, 12):
        scheduler.step()
        step()
        wanted = [0.1 * product(swinging, epoch), 0.3 * product(for_the_host, epoch)]
        assert_within_an_ulp(np.float32(scheduler.get_last_lr()), wanted)
        assert_same_bits(np.float32(compiled.get_last_lr()), np.float32(scheduler.get_last_lr()))
    twin = lrax.MultiplicativeLR([0.1, 0.3], functions)
    twin.load_state_dict(compiled.state_dict())
    assert twin.state_dict() == scheduler.state_dict()
    assert twin.lr_lambda == (swinging, for_the_host)


# --- inside others ----------------------------------------------------------------------------------


def by_table(epoch):
    """Not defined outside of the epochs for which it is meant."""
    return {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8}[epoch]


P = [product(by_table, n) for n in range(5)]
INSIDE = {
    "in a sequence": (
        lambda a: lrax.SequentialLR([lrax.ConstantLR(1.0, 1.0), a, lrax.StepLR(1.0)], [2, 7]),
        [1.0, 1.0, *P, 1.0, 1.0],
    ),
    "chained": (lambda a: lrax.ChainedScheduler([lrax.ExponentialLR(1.0, 0.5), a]), [0.5**n * P[n] for n in range(5)]),
    "delayed": (lambda a: a.delay(2), [1.0, 1.0, *P]),
    "stretched": (lambda a: a.stretch(2), [1.0, *itertools.chain(*zip(P, P, strict=True))][1:]),
    "repeated": (lambda a: a.repeat(4), P[:4] * 3),
    "after a warmup": (lambda a: a.with_warmup(2), [0.0, 0.5, *P]),
    "before a cooldown": (lambda a: a.with_cooldown(3, 2), [*P[:4], P[3] / 2, 0.0, 0.0]),
    "of both with a plateau": (lambda a: a * lrax.ReduceLROnPlateau(1.0), P),
}  # fmt: skip


@pytest.mark.parametrize("label", INSIDE)
@pytest.mark.parametrize("compiled", [False, True])
def test_inside(label, compiled):
    """The product counts from where it begins, and asks for no factor that is not its own."""
    make, wanted = INSIDE[label]
    scheduler = make(lrax.MultiplicativeLR(1.0, by_table))
    option = {"metric": 1.0} if scheduler.learning.needs_metric else {}
    step = lambda: scheduler.step(**option)  # noqa: E731
    step = brainstate.transform.jit(step) if compiled else step
    found = [rate(scheduler)]
    for _ in wanted[1:]:
        step()
        found.append(rate(scheduler))
    assert_within_an_ulp(np.array(found), wanted)


def test_an_optimizer_may_step_it():
    """It needs no metric, and so there is nothing that it would have to be told; in hyper-parameters, too."""
    decay = lrax.MultiplicativeLR(0.1, swinging)
    optimizer = trained_automatically(lrax.MultiplicativeLR(0.2, swinging), decay)
    assert rate(optimizer.lr_scheduler) == np.float32(0.2 * product(swinging, 3))
    (group,) = optimizer.hyperparams
    assert np.float32(group["weight_decay"]) == np.float32(0.1 * product(swinging, 3))


def trained_automatically(lr, weight_decay):
    states = {"a": brainstate.ParamState(jnp.ones(3))}
    optimizer = lrax.AdamW(lr=lr, weight_decay=weight_decay, auto_step=True)
    optimizer.register_trainable_weights(states)
    for _ in range(3):
        optimizer.step({"a": jnp.ones(3)})
    return optimizer


# --- errors -----------------------------------------------------------------------------------------


def test_what_it_refuses():
    scheduler = lrax.MultiplicativeLR(0.1, swinging)
    with pytest.raises(
        TypeError, match=r"no learning rate at a given epoch: each step.. multiplies it"
    ):
        scheduler(3)
    with pytest.raises(TypeError, match="takes no metric"):
        scheduler.step(metric=1.0)
    with pytest.raises(
        ValueError, match=r"last_epoch must be at most 1000000 after 0.*Use LambdaLR"
    ):
        scheduler.step(epoch=2**31 - 1)
    bad = lrax.MultiplicativeLR(0.1, lambda t: -1.0 if t == 3 else 1.0)
    for _ in range(2):
        bad.step()
    before = bad.state_dict()
    for _ in range(2):
        with pytest.raises(ValueError, match="MultiplicativeLR must have a learning rate >= 0"):
            bad.step()
        assert bad.state_dict() == before
