"""Scheduled hyper-parameters: one clock, what is shown, saved and refused, and plateaus among them."""

import copy
import gc
import json
import re

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import assert_close, assert_same_bits, assert_trees_equal, values_of
from network import START, gradient_of, new_states
from one_compile import WAYS
from saved import contents

BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def halving(high):
    return lrax.ExponentialLR(high, 0.5)


def registered(optimizer):
    states = new_states()
    optimizer.register_trainable_weights(states)
    return states


def train(optimizer, states, steps, **options):
    for _ in range(steps):
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr.step(**options)


# --- What is used ---------------------------------------------------------------------------------


def test_the_hyperparams_are_the_schedules_at_the_epoch():
    decay, momentum = lrax.CosineAnnealingLR(0.3, 20, eta_min=0.01), lrax.LinearLR(0.9, 0.5, 1.0, 9)
    norm = optax.exponential_decay(2.0, 10, 0.7)
    scheduler = lrax.CosineAnnealingLR(0.1, T_max=30)
    optimizer = lrax.SGD(scheduler, momentum, decay, grad_clip_value=3.0, grad_clip_norm=norm)
    schedules = {"lr": scheduler, "momentum": momentum, "weight_decay": decay}
    for epoch in range(25):
        if epoch == 5:
            registered(optimizer)
        (used,) = optimizer.hyperparams
        assert list(used) == [
            "lr",
            "momentum",
            "weight_decay",
            "grad_clip_value",
            "grad_clip_norm",
        ]
        for name, schedule in schedules.items():
            assert_same_bits(used[name], schedule(epoch))
        assert_close(used["grad_clip_norm"], 2 * 0.7 ** (epoch / 10), rtol=2e-7)
        assert type(used["grad_clip_value"]) is float
        scheduler.step()


def test_the_hyperparams_of_groups_are_in_their_order():
    groups = {"b": {"betas": (halving(0.8), 0.9)}, "a": {"weight_decay": halving(0.2), "lr": 0.3}}
    optimizer = lrax.AdamW(halving(0.1), weight_decay=halving(0.4), groups=groups)
    registered(optimizer)
    optimizer.lr.step()
    used = optimizer.hyperparams
    assert [group["name"] for group in optimizer.param_groups] == ["default", "b", "a"]
    assert_close([u["lr"] for u in used], [0.05, 0.05, 0.15])
    assert_close([u["lr"] for u in used], optimizer.get_last_lr())
    assert_close([u["weight_decay"] for u in used], [0.2, 0.2, 0.1])
    assert_close([u["beta1"] for u in used], [0.9, 0.4, 0.9])
    for u, group in zip(used, optimizer.param_groups, strict=True):
        assert list(u) == ["lr", "beta1", "beta2", "eps", "weight_decay", "betas"]
        assert u["betas"] == (u["beta1"], u["beta2"])
        assert_close(float(group["weight_decay"].value), float(u["weight_decay"]))
    assert type(used[0]["beta1"]) is float


def test_its_own_clock_is_neither_read_nor_moved():
    class Own(lrax.LRScheduler):
        def get_lr(self):
            return [base / (1 + self.last_epoch.value) for base in self.base_lrs]

    for schedule in (lrax.ExponentialLR(0.8, 0.5, last_epoch=3), Own(0.8)):
        schedule.step(11)
        optimizer = lrax.SGD(lrax.StepLR(0.1, 3), momentum=schedule)
        registered(optimizer)
        for epoch in (0, 1, 7, 2):
            optimizer.lr.step(epoch)
            assert_same_bits(optimizer.hyperparams[0]["momentum"], schedule(epoch))
        schedule.step(4)
        assert_same_bits(optimizer.hyperparams[0]["momentum"], schedule(2))
        assert schedule.last_epoch.value == 4


def test_learning_rates_set_by_hand_leave_the_rest():
    optimizer = lrax.AdamW(halving(0.1), weight_decay=halving(0.4))
    registered(optimizer)
    optimizer.lr.step()
    optimizer.current_lr = 0.7
    optimizer.lr_apply(lambda lr: lr / 2)
    assert_close(optimizer.lr.get_last_lr(), [0.35])
    optimizer.lr.current_lrs.value = [0.6]
    assert_close([optimizer.hyperparams[0][k] for k in ("lr", "weight_decay")], [0.6, 0.2])
    assert_close(optimizer.lr_at(np.arange(3)), [[0.1], [0.05], [0.025]])


def test_optimizers_with_one_scheduler_have_hyperparams_of_their_own():
    scheduler = halving(0.1)
    optimizers = [lrax.SGD(scheduler, momentum=halving(0.9)), lrax.AdamW(scheduler)]
    optimizers.append(lrax.AdamW(scheduler, weight_decay=scheduler))
    for optimizer in optimizers:
        registered(optimizer)
    scheduler.step()
    used = [optimizer.hyperparams[0] for optimizer in optimizers]
    assert_close(used[0]["momentum"], 0.45)
    assert_close([u["weight_decay"] for u in used], [0.0, 0.01, 0.05])
    assert_close([u["lr"] for u in used], [0.05] * 3)


def test_a_scheduled_momentum_of_zero_keeps_its_trace():
    rising = lrax.SGD(0.1, momentum=lrax.LambdaLR(0.5, lambda epoch: epoch > 0))
    plain = lrax.SGD(0.1, momentum=0.0)
    traces = []
    for optimizer in (rising, plain):
        states = registered(optimizer)
        train(optimizer, states, 1)
        traces.append(jax.tree.leaves(optimizer.optax_states()))
    assert_trees_equal(dict(zip("abc", traces[0], strict=True)), gradient_of(START))
    assert not traces[1]


# --- Ranges ---------------------------------------------------------------------------------------

REFUSED = {
    "momentum": lambda s: lrax.SGD(momentum=s),
    "betas[1]": lambda s: lrax.Adam(betas=(0.9, s)),
    "beta1": lambda s: lrax.Adam(beta1=s),
    "b2": lambda s: lrax.OptaxOptimizer(optax.lion, 0.1, b2=s),
    "grad_clip_norm": lambda s: lrax.AdamW(grad_clip_norm=s),
    "grad_clip_value": lambda s: lrax.AdamW(grad_clip_value=s),
}
ENDS = {
    "in [0, 1)": (lrax.LinearLR(1.0, 0.5, 1.0, 7000), 7000),
    "> 0": (lrax.LinearLR(1.0, 0.5, 0.0, 7000), 7000),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_schedule_with_an_end_out_of_range_is_refused(name):
    which = "> 0" if "clip" in name else "in [0, 1)"
    schedule, epoch = ENDS[which]
    shown = {"betas[1]": "beta2"}.get(name, name)
    begin = re.escape(f"{shown} must be a number {which}, got ")
    with pytest.raises(ValueError, match=f"^{begin}[01] at epoch {epoch} of LinearLR"):
        REFUSED[name](schedule)
    later = lrax.SequentialLR([lrax.ConstantLR(0.5, 1.0), schedule], milestones=[3000])
    with pytest.raises(ValueError, match=f"at epoch {epoch + 3000} of SequentialLR"):
        REFUSED[name](later)


def test_a_function_that_leaves_its_range_is_clamped():
    eager, compiled = (
        lrax.SGD(
            halving(0.1),
            momentum=lambda epoch: 0.5 + 0.3 * epoch,
            weight_decay=lambda epoch: 1e38 * 10.0**epoch,
            grad_clip_norm=lambda epoch: 1.0 - 0.5 * (epoch > 0) - 0.5 * (epoch > 1),
        )
        for _ in range(2)
    )
    ends = np.finfo(np.float32)
    right = {"momentum": BELOW_ONE, "weight_decay": ends.max, "grad_clip_norm": ends.tiny}
    step = lrax.jit(compiled.lr.step)
    for _ in range(4):
        eager.lr.step()
        step()
    for optimizer in (eager, compiled):
        for name, value in right.items():
            assert_same_bits(optimizer.hyperparams[0][name], value)


def test_a_complete_optimizer_shares_a_clock_where_something_is_scheduled():
    scheduler = halving(0.1)
    optimizer = lrax.OptaxOptimizer(optax.sgd(0.1), grad_clip_norm=lambda epoch: 1.0 + epoch)
    scheduler.attach_optimizer(optimizer)
    scheduler.step(3)
    assert optimizer.hyperparams[0]["grad_clip_norm"] == 4.0


def test_a_negative_norm_is_clamped_where_nobody_can_check():
    optimizer = lrax.SGD(halving(0.1), grad_clip_norm=lambda epoch: 1.0 - epoch)
    step = lrax.jit(optimizer.lr.step)
    for _ in range(3):
        step()
        norm = optimizer.hyperparams[0]["grad_clip_norm"]
        assert_same_bits(norm, np.finfo(np.float32).tiny)


@pytest.mark.parametrize("bad", [-0.25, float("nan")])
def test_what_is_no_number_from_some_epoch_on_is_an_error_that_changes_nothing(bad):
    weight_decay = lambda epoch: bad if epoch == 2 else 0.5  # noqa: E731
    optimizer = lrax.AdamW(halving(0.1), weight_decay=weight_decay)
    registered(optimizer)
    optimizer.lr.step()
    before = contents(optimizer)
    for go in (optimizer.lr.step, lambda: optimizer.lr.step(2)):
        with pytest.raises(ValueError, match=f"weight_decay must be >= 0, got {bad} at epoch 2"):
            go()
        after = contents(optimizer)
        assert after.keys() == before.keys()
        assert_trees_equal(after, before)
    optimizer.lr.step(3)
    assert optimizer.hyperparams[0]["weight_decay"] == 0.5


@pytest.mark.parametrize("bad, right", [(-0.25, 0.0), (float("nan"), np.nan)])
def test_what_nobody_can_check_is_published(bad, right):
    weight_decay = lambda epoch: jnp.where(epoch == 1, bad, 0.5)  # noqa: E731
    optimizer = lrax.AdamW(halving(0.1), weight_decay=weight_decay)
    registered(optimizer)
    lrax.jit(optimizer.lr.step)()
    np.testing.assert_array_equal(optimizer.hyperparams[0]["weight_decay"], np.float32(right))


@pytest.mark.parametrize("bad", ["a", lrax.StepLR([0.1, 0.2], 3), lrax.StepLR, True])
def test_what_is_no_schedule_is_refused(bad):
    with pytest.raises((TypeError, ValueError), match="weight_decay must be a"):
        lrax.SGD(weight_decay=bad)


# --- Plateaus -------------------------------------------------------------------------------------

METRICS = np.float32([1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9])


def plateau(high=0.4):
    return lrax.ReduceLROnPlateau(high, factor=0.5, patience=1)


def alone():
    """The values of a plateau by itself."""
    scheduler, found = plateau(), []
    for metric in METRICS:
        scheduler.step(metric)
        found.append(scheduler.get_last_lr()[0])
    assert len(set(found)) > 2
    return np.array(found)


def with_plateau(lr=None):
    optimizer = lrax.AdamW(lr or halving(0.1), weight_decay=plateau())
    return optimizer, registered(optimizer)


@pytest.mark.parametrize("way", ["eager", "lrax.jit", "for_loop"])
@pytest.mark.parametrize("lr", [lambda: lrax.CosineAnnealingLR(0.1, 9), plateau])
def test_a_plateau_gets_the_metric(way, lr):
    optimizer, _ = with_plateau(lr())

    def step(metric):
        optimizer.lr.step(metric=metric)
        return optimizer.hyperparams[0]["weight_decay"]

    if way == "for_loop":
        found = brainstate.transform.for_loop(step, jnp.asarray(METRICS))
    else:
        run = step if way == "eager" else lrax.jit(step)
        found = np.array([run(metric) for metric in METRICS])
    assert_same_bits(found, alone())


def test_a_step_without_metric_is_refused():
    optimizer, _ = with_plateau()
    before = contents(optimizer)
    for options in ({}, {"epoch": 3}):
        with pytest.raises(ValueError, match="A hyper-parameter of the optimizer needs a metric"):
            optimizer.lr.step(**options)
    assert_trees_equal(contents(optimizer), before)
    with pytest.raises(ValueError, match="auto_step=True must have no schedule that needs a metr"):
        lrax.AdamW(0.1, weight_decay=plateau(), auto_step=True)


def test_a_scheduler_whose_optimizer_is_gone_needs_no_metric():
    scheduler = halving(0.1)
    optimizer, _ = with_plateau(scheduler)
    del optimizer
    gc.collect()
    scheduler.step()
    assert_close(scheduler.get_last_lr(), [0.05])


def test_what_a_plateau_remembers_outlives_new_groups_and_schedulers():
    optimizer, _ = with_plateau()
    right, found = alone(), []
    for i, metric in enumerate(METRICS):
        if i == 3:
            more = {"d": brainstate.ParamState(jnp.ones(2))}
            optimizer.add_param_group(more, weight_decay=plateau(0.8))
        if i in (5, 8):
            lrax.StepLR(0.1, 2, last_epoch=i).attach_optimizer(optimizer)
        optimizer.lr.step(metric=metric)
        found.append(optimizer.hyperparams[0]["weight_decay"])
    assert_same_bits(np.array(found), right)
    later = plateau(0.8)
    for metric in METRICS[3:]:
        later.step(metric)
    assert_same_bits(optimizer.hyperparams[1]["weight_decay"], later.get_last_lr()[0])


@pytest.mark.parametrize("copied", [copy.deepcopy, brainstate.graph.clone])
def test_a_copy_remembers_for_itself(copied):
    optimizer, _ = with_plateau()
    for metric in METRICS[:5]:
        optimizer.lr.step(metric=metric)
    other = copied(optimizer)
    before, memory = optimizer.hyperparams, contents(optimizer)
    for metric, right in zip(METRICS[5:], alone()[5:], strict=True):
        other.lr.step(metric=metric)
        assert_same_bits(other.hyperparams[0]["weight_decay"], right)
    assert optimizer.hyperparams == before
    assert_trees_equal(contents(optimizer), memory)


# --- Checkpoints ----------------------------------------------------------------------------------


def rich():
    """Schedules of all sorts, a plateau among them, and two groups."""
    optimizer = lrax.AdamW(
        lrax.OneCycleLR(0.1, total_steps=9, cycle_momentum=True),
        betas=(0.9, lrax.LinearLR(0.99, 0.5, 1.0, 7)),
        eps=halving(0.1),
        weight_decay=plateau(),
        grad_clip_norm=lambda epoch: 0.3 + 0.1 * epoch,
        groups={"b": {"weight_decay": plateau(0.2)}},
    )
    return optimizer, registered(optimizer)


def go(optimizer, states, first, last):
    for metric in METRICS[first:last]:
        optimizer.step(gradient_of(values_of(states)))
        optimizer.lr.step(metric=metric)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "json"])
def test_a_run_goes_on_bit_for_bit(way):
    optimizer, states = rich()
    go(optimizer, states, 0, 5)
    saved, weights = WAYS[way](optimizer.state_dict()), values_of(states)
    go(optimizer, states, 5, len(METRICS))
    other, own = rich()
    go(other, own, 0, 2)
    other.load_state_dict(saved)
    for name, state in own.items():
        state.value = weights[name]
    go(other, own, 5, len(METRICS))
    assert_trees_equal(values_of(own), values_of(states))
    assert_trees_equal(contents(other), contents(optimizer))
    assert other.hyperparams == optimizer.hyperparams


def test_a_state_dict_describes_its_schedules():
    optimizer, _ = rich()
    described = optimizer.state_dict()["optimizer"]["AdamW"]
    assert json.loads(json.dumps(described)) == described
    assert described["eps"] == {"ExponentialLR": {"base_lr": 0.1, "gamma": 0.5}}
    assert described["betas"]["1"]["LinearLR"]["total_iters"] == 7


def test_a_state_dict_of_other_schedules_is_refused():
    saved = lrax.AdamW(halving(0.1), eps=halving(0.1), weight_decay=halving(0.2))
    other = lrax.AdamW(halving(0.1), eps=halving(0.2), weight_decay=0.2)
    for optimizer in (saved, other):
        train(optimizer, registered(optimizer), 2)
    found, before = saved.state_dict(), contents(other)
    with pytest.raises(ValueError, match=r"AdamW.eps.ExponentialLR.base_lr: saved 0.1, here 0.2"):
        other.load_state_dict(found)
    assert_trees_equal(contents(other), before)
    saved.lr.step(6)
    with pytest.warns(UserWarning, match="eps.ExponentialLR.base_lr: saved 0.1, here 0.2"):
        other.load_state_dict(saved.state_dict(), strict=False)
    assert_close(other.hyperparams[0]["eps"], 0.2 * 0.5**6)
    assert other.hyperparams[0]["weight_decay"] == 0.2


def test_other_plateaus_begin_anew():
    optimizer, _ = with_plateau()
    other = lrax.AdamW(halving(0.1), betas=(plateau(0.8), 0.9), weight_decay=plateau())
    registered(other)
    for metric in METRICS[:6]:
        optimizer.lr.step(metric=metric)
    with pytest.warns(UserWarning, match=r"betas.0: saved 0.9, here ReduceLROnPlateau"):
        other.load_state_dict(optimizer.state_dict(), strict=False)
    used = other.hyperparams[0]
    assert_close([used["beta1"], used["weight_decay"], used["lr"]], [0.8, 0.4, 0.1 * 0.5**6])


@pytest.mark.parametrize("first, own", [(1.0, None), (None, 1.0)])
def test_a_group_without_what_others_have_is_in_the_table(first, own):
    optimizer = lrax.SGD(0.1, grad_clip_value=first, groups={"a": {"grad_clip_value": own}})
    registered(optimizer)
    head, *rows = str(optimizer).splitlines()[1:]
    cells = [row[head.index("grad_clip_value") :].split()[0] for row in rows]
    assert cells == [{1.0: "1", None: "-"}[value] for value in (first, own)]
    assert ["grad_clip_value" in used for used in optimizer.hyperparams] == [first == 1, own == 1]
