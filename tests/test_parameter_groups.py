"""Parameter groups: each has its own base learning rate, decay, moments and count, under one schedule."""

import contextlib

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import (
    assert_close,
    assert_same_bits,
    assert_trees_close,
    last_lr,
    slow_but,
    step,
    values_of,
)
from network import OPTIMIZERS, START, gradient_of, loss_of, new_states, schedule
from registry import BASE, KINDS


def optax_groups(transforms, begins, steps):
    """A separate chain for each weight, from the epoch in `begins` on; the schedules know the epoch."""
    values, states = dict(START), {}
    for epoch in range(steps):
        grads = gradient_of(values)
        for key, tx in transforms.items():
            if epoch < begins[key]:
                continue
            if epoch == begins[key]:
                states[key] = tx.init(values[key])
            updates, states[key] = tx.update(grads[key], states[key], values[key])
            values[key] = optax.apply_updates(values[key], updates)
    return values


def train(optimizer, states, steps, jitted):
    def update():
        grad = brainstate.transform.grad(lambda: loss_of(values_of(states)), states)
        optimizer.step(grad())
        optimizer.lr_scheduler.step()

    if jitted:
        update = brainstate.transform.jit(update)
    for _ in range(steps):
        update()


@pytest.mark.parametrize("jitted", slow_but([False, True], True))
@pytest.mark.parametrize("name", slow_but(OPTIMIZERS, "SGD", "AdamW"))
def test_each_group_has_its_own_rate_and_decay_also_when_added_later(name, jitted):
    ours, theirs = OPTIMIZERS[name]
    states = new_states()
    optimizer = ours(schedule(0.05))
    optimizer.register_trainable_weights({"a": states["a"]})
    optimizer.add_param_group({"b": states["b"]}, lr=0.02, weight_decay=0.1)
    train(optimizer, states, 10, jitted)
    assert np.array_equal(states["c"].value, START["c"])
    optimizer.add_param_group({"c": states["c"]}, lr=0.08, weight_decay=0.0)
    train(optimizer, states, 15, jitted)

    wanted = optax_groups(
        {
            "a": theirs(schedule(0.05), 0.01),
            "b": theirs(schedule(0.02), 0.1),
            "c": theirs(lambda count: schedule(0.08)(count + 10), 0.0),
        },
        {"a": 0, "b": 0, "c": 10},
        25,
    )
    assert_trees_close(values_of(states), wanted, floor=1e-6)
    bases = [0.05, 0.02, 0.08]
    assert_close(optimizer.get_last_lr(), [schedule(base)(25) for base in bases])
    assert_close([g["lr"].value for g in optimizer.param_groups], optimizer.get_last_lr())
    assert_close([g["weight_decay"] for g in optimizer.param_groups], [0.01, 0.1, 0.0])
    assert int(optimizer.step_count.value) == 25


def test_a_group_without_options_is_like_the_first():
    states = new_states()
    optimizer = lrax.AdamW(lr=schedule(0.05), weight_decay=0.03)
    optimizer.register_trainable_weights({"a": states["a"]})
    optimizer.add_param_group({"b": states["b"], "c": states["c"]})
    train(optimizer, states, 12, jitted=True)
    tx = optax.adamw(schedule(0.05), weight_decay=0.03)
    wanted = optax_groups(dict.fromkeys(START, tx), dict.fromkeys(START, 0), 12)
    assert_trees_close(values_of(states), wanted, floor=1e-6)


NO_MULTIPLES = ("OneCycleLR", "CyclicLR", "PiecewiseConstantSchedule", "GreedyLR")
SCALABLE = [k for k in KINDS if k not in NO_MULTIPLES]
COMPOSITES = ("ChainedScheduler", "SequentialLR")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", SCALABLE)
def test_a_group_follows_the_schedule_of_its_own_base(kind, later):
    states = new_states()
    scheduler, alone = KINDS[kind](), KINDS[kind](2 * BASE)
    optimizer = lrax.SGD(lr=scheduler)
    optimizer.register_trainable_weights({"a": states["a"]})
    begin = 17 if later else 0
    for epoch in range(begin):
        step(scheduler, epoch)
        step(alone, epoch)
    optimizer.add_param_group({"b": states["b"]}, lr=2 * BASE)
    for epoch in range(begin, 50):
        rates = np.float32(optimizer.get_last_lr())
        assert rates.shape == (2,)
        assert rates[1] == last_lr(alone)
        step(scheduler, epoch)
        step(alone, epoch)


@pytest.mark.parametrize("kind", [k for k in SCALABLE if k not in COMPOSITES])
def test_a_list_of_base_rates_serves_the_groups_in_order(kind):
    states = new_states()
    scheduler = KINDS[kind]([BASE, 0.01])
    optimizer = lrax.SGD(lr=scheduler)
    optimizer.register_trainable_weights({"a": states["a"]})
    optimizer.add_param_group({"b": states["b"]})
    first, second = KINDS[kind](BASE), KINDS[kind](0.01)
    for epoch in range(40):
        assert_same_bits(np.float32(optimizer.get_last_lr()), [last_lr(first), last_lr(second)])
        for each in (scheduler, first, second):
            step(each, epoch)


@pytest.mark.parametrize("later", [False, True])
def test_members_of_a_composite_take_the_list(later):
    bases = [0.1, 0.01]
    members = [lrax.WarmupScheduler(bases, 5), lrax.ExponentialLR(bases, 0.9)]
    scheduler = lrax.SequentialLR(members, [5]) if later else lrax.ChainedScheduler(members)
    t = np.arange(12)
    warmup, decay = np.minimum(t / 5, 1), 0.9 ** (np.maximum(t - 5, 0) if later else t)
    assert_close(scheduler.lr_at(t), np.outer(warmup * decay, bases))


def test_a_list_must_have_one_entry_a_group():
    states = new_states()
    optimizer = lrax.SGD(lr=lrax.StepLR([0.1, 0.01]))
    optimizer.register_trainable_weights({"a": states["a"]})
    with pytest.raises(ValueError, match="group"):
        optimizer.step({"a": START["a"]})
    optimizer.add_param_group({"b": states["b"]})
    optimizer.step({"a": START["a"], "b": START["b"]})
    assert_close(states["a"].value, START["a"] * np.float32(0.9))
    assert_close(states["b"].value, START["b"] * np.float32(0.99))
    with pytest.raises(ValueError, match="group"):
        optimizer.add_param_group({"c": states["c"]})


def test_rates_of_several_groups_at_any_epoch():
    scheduler = lrax.ExponentialLR([0.1, 0.02], gamma=0.5)
    rates = scheduler.lr_at(np.arange(4).reshape(2, 2))
    assert rates.shape == (2, 2, 2)
    powers = 0.5 ** np.arange(4).reshape(2, 2, 1)
    assert_close(rates, powers * [0.1, 0.02])
    assert_close(jax.jit(scheduler.lr_at)(3), [0.0125, 0.0025])
    with pytest.raises(ValueError, match="lr_at"):
        scheduler(3)


BY_ITERATOR = {
    "StepLR": lrax.StepLR,
    "LambdaLR": lambda base_lr: lrax.LambdaLR(base_lr, lambda epoch: 1.0),
    "ReduceLROnPlateau": lrax.ReduceLROnPlateau,
    "get_scheduler": lambda base_lr: lrax.get_scheduler("linear", base_lr, 0, 10),
}


@pytest.mark.parametrize("make", BY_ITERATOR.values(), ids=[*BY_ITERATOR])
def test_base_rates_of_an_iterator(make):
    assert_close(make(iter([0.1, 0.02])).get_last_lr(), [0.1, 0.02])


def two_groups(scheduler):
    states = new_states()
    optimizer = lrax.SGD(lr=scheduler)
    optimizer.register_trainable_weights({"a": states["a"]})
    optimizer.add_param_group({"b": states["b"]}, lr=0.02)
    return optimizer


def test_a_table_is_scaled_to_the_first_rate_of_a_group():
    values, own = (0.5, 0.1, 0.25), (0.02, 0.004, 0.01)
    scheduler = lrax.PiecewiseConstantSchedule(boundaries=[1, 2], values=values)
    optimizer = two_groups(scheduler)
    for rates in zip(values, own, strict=True):
        assert_close(optimizer.get_last_lr(), rates)
        assert_close(jax.jit(optimizer.lr_at)(scheduler.last_epoch.value), rates)
        scheduler.step()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    "options, own",
    [
        ({"lr": 0.5}, 0.5),
        ({"lr_scale": 0.5}, 0.02),
        ({"lr": lrax.StepLR(0.25, 9)}, 0.25),
        ({}, 0.04),
    ],
    ids=str,
)
def test_what_a_group_has_of_its_own_comes_before_a_list(options, own, later):
    """And at once, not with the next step."""
    states = new_states()
    scheduler = lrax.StepLR([0.1, 0.04], step_size=9)
    optimizer = lrax.SGD(lr=scheduler, groups={} if later else {"b": options})
    optimizer.register_trainable_weights(
        {"a": states["a"]} if later else {"a": states["a"], "b": states["b"]}
    )
    if later:
        scheduler.current_lrs.value = [0.3, 0.7]
        optimizer.add_param_group({"b": states["b"]}, **options)
    assert_close(optimizer.get_last_lr(), [0.3 if later else 0.1, own])
    optimizer.step({"a": START["a"], "b": START["b"]})
    assert_close(states["b"].value, START["b"] * np.float32(1 - own))
    scheduler.step()
    assert_close(optimizer.get_last_lr(), [0.1, own])


class Flat(lrax.LRScheduler):
    def get_lr(self):
        return list(self.base_lrs)


CANNOT = {  # schedulers that a group with a base learning rate of 0.02 cannot follow
    "a first member of 0": (
        lambda: lrax.SequentialLR([lrax.ConstantLR(0.0, 1.0, 0), lrax.CosineAnnealingLR(1e-3, 10)], [3]),
        "factor=0",
    ),
    "the same in a sequence": (
        lambda: lrax.SequentialLR(
            [lrax.StepLR(0.1), lrax.SequentialLR([lrax.ConstantLR(0.0, 1.0, 0), lrax.StepLR(0.1)], [3])],
            [5],
        ),
        "factor=0",
    ),
    "a table that begins with 0": (lambda: lrax.PiecewiseConstantSchedule(values=[0.0, 0.1, 0.2]), "factor=0"),
    "get_lr() with a base of 0": (lambda: Flat(0.0), "factor=0"),
    "a cycle that is lower": (lambda: lrax.CyclicLR(1e-3, 1e-2), "max_lr must be >= base_lr, got 0.01 < 0.02"),
    "a cycle in a sequence": (
        lambda: lrax.SequentialLR([lrax.ConstantLR(1e-3, 1.0, 0), lrax.CyclicLR(1e-3, 1e-2)], [3]),
        "max_lr must be >= base_lr",
    ),
    "a cycle in a chain is scaled": (
        lambda: lrax.ChainedScheduler([lrax.CyclicLR(1e-3, 1e-2), lrax.StepLR(1.0)]),
        None,
    ),
    "a factor of 0": (
        lambda: lrax.SequentialLR([lrax.ConstantLR(1e-3, 0.0, 3), lrax.CosineAnnealingLR(1e-3, 10)], [3]),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", CANNOT)
@pytest.mark.parametrize("later", [False, True])
def test_what_a_group_cannot_follow(label, later):
    make, message = CANNOT[label]
    refused = pytest.raises(ValueError, match=message) if message else contextlib.nullcontext()
    if later:
        optimizer = two_groups(0.1)
        with refused:
            optimizer.add_scheduler(make())
        if message:
            assert_close(optimizer.get_last_lr(), [0.1, 0.02])
            assert isinstance(optimizer.lr, lrax.ConstantLR)
    else:
        states = new_states()
        optimizer = lrax.SGD(lr=make()).register_trainable_weights({"a": states["a"]})
        with refused:
            optimizer.add_param_group({"b": states["b"]}, lr=0.02)
        assert len(optimizer.param_groups) == (1 if message else 2)


def test_a_list_of_another_argument_has_an_entry_for_each_group():
    states = new_states()
    optimizer = lrax.SGD(lr=lrax.ReduceLROnPlateau(0.1, min_lr=[0.01, 0.02]))
    optimizer.register_trainable_weights({"a": states["a"]})
    optimizer.add_param_group({"b": states["b"]}, lr=0.3)
    with pytest.raises(ValueError, match=r"each of 2 parameter groups.*group 3.*one longer"):
        optimizer.add_param_group({"c": states["c"]}, lr=0.3)
    three = lrax.ReduceLROnPlateau(0.1, min_lr=[0.01, 0.02, 0.03])
    optimizer.add_scheduler(three)
    optimizer.add_param_group({"c": states["c"]}, lr=0.3)
    with pytest.raises(ValueError, match="one longer"):
        optimizer.add_scheduler(lrax.ReduceLROnPlateau(0.1, min_lr=[0.01, 0.02]))
    assert optimizer.lr is three


def test_a_group_is_a_mapping():
    optimizer = two_groups(lrax.ExponentialLR(0.5, 0.5))
    group = optimizer.param_groups[1]
    assert (
        list(group)
        == list(group.keys())
        == [*("params", "lr", "momentum", "weight_decay", "name", "leaves", "size")]
    )
    assert list(dict(group)["params"]) == ["b"]
    assert repr(group).startswith("ParamGroup(params={'b': ")
    assert "lr=0.02, momentum=0.0, weight_decay=0.0, name='added 1', leaves=['b'], size=15" in repr(
        group
    )
    with pytest.raises(KeyError, match="betas"):
        group["betas"]
    with pytest.raises(KeyError, match="only 'lr' can"):
        group["weight_decay"] = 0.1
    group["lr"] = 0.25
    assert_close(optimizer.get_last_lr(), [0.5, 0.25])


def test_a_view_is_its_number():
    optimizer = two_groups(lrax.ExponentialLR(0.5, 0.5))
    lr, count = optimizer.param_groups[0]["lr"], optimizer.step_count
    lr.value = 0.25
    assert (float(lr), f"{lr:.3f}", repr(lr)) == (0.25, "0.250", "0.25")
    assert lr == 0.25
    assert lr == optimizer.param_groups[0]["lr"]
    assert lr != optimizer.param_groups[1]["lr"]
    assert np.asarray(lr, np.float64) == 0.25
    assert (int(count), [10, 20][count]) == (0, 10)
    with pytest.raises(AttributeError, match="cannot be set"):
        count.value = 3


def test_a_view_calculates_as_its_number():
    optimizer = two_groups(lrax.ExponentialLR(0.5, 0.5))
    count, group = optimizer.step_count, optimizer.param_groups[0]
    assert not count
    optimizer.step({name: jnp.zeros_like(s.value) for name, s in optimizer.param_states.items()})
    assert count
    assert [count + 1, 1 + count, 3 - count, 2 * count, count % 2, 7 // count] == [2, 2, 2, 2, 1, 7]
    assert [count < 2, count >= 2, count != 1, count == count, 2**count] == [1, 0, 0, 1, 2]
    group["lr"] *= 0.5
    assert group["lr"] / 2 == 0.125
    assert optimizer.current_lr == 0.25


def test_a_complete_optimizer_has_no_decay_of_a_group():
    optimizer = lrax.OptaxOptimizer(optax.sgd(0.1))
    optimizer.register_trainable_weights({"a": new_states()["a"]})
    with pytest.raises(ValueError, match="weight_decay of a group needs lr"):
        optimizer.add_param_group({"b": new_states()["b"]}, weight_decay=0.1)


def test_a_function_is_mapped_over_the_rates_until_the_next_step():
    scheduler = lrax.ConstantLR(0.1, factor=1.0, total_iters=0)
    optimizer = two_groups(scheduler)
    optimizer.lr_apply(lambda lr: lr / 2)
    assert_close(optimizer.get_last_lr(), [0.05, 0.01])
    scheduler.apply(lambda lr: lr + 1)
    assert_close(optimizer.get_last_lr(), [1.05, 1.01])
    assert_close(scheduler.get_last_lr(), [1.05, 1.01])
    scheduler.step()
    assert_close(optimizer.get_last_lr(), [0.1, 0.02])


def test_a_manual_rate_is_that_of_one_group_until_the_next_step():
    scheduler = lrax.ConstantLR(0.1, factor=1.0, total_iters=0)
    optimizer = two_groups(scheduler)
    optimizer.current_lr = 0.5
    assert_close(optimizer.get_last_lr(), [0.5, 0.02])
    optimizer.param_groups[1]["lr"] = 0.25
    assert_close(optimizer.get_last_lr(), [0.5, 0.25])
    optimizer.param_groups[0]["lr"].value = 0.125  # as braintools' schedulers write it
    assert_close(optimizer.get_last_lr(), [0.125, 0.25])
    optimizer.step({key: jnp.ones_like(START[key]) for key in "ab"})
    assert_close(optimizer.param_groups[0]["params"]["a"].value, START["a"] - np.float32(0.125))
    assert_close(optimizer.param_groups[1]["params"]["b"].value, START["b"] - np.float32(0.25))
    scheduler.step()
    assert_close(optimizer.get_last_lr(), [0.1, 0.02])


def test_the_next_scheduler_serves_all_groups():
    optimizer = two_groups(lrax.WarmupScheduler(0.1, 10))
    after = lrax.ExponentialLR(0.1, gamma=0.5)
    after.attach_optimizer(optimizer)
    after.step()
    assert_close(optimizer.get_last_lr(), [0.05, 0.01])


def test_one_scheduler_may_serve_two_optimizers():
    scheduler = lrax.LinearLR(0.1, 0.0, 1.0, 10)
    first, second = lrax.SGD(lr=scheduler), lrax.Adam(lr=scheduler)
    for _ in range(4):
        scheduler.step()
    assert_close([first.current_lr, second.current_lr], [0.04, 0.04])
    lrax.StepLR(0.3).attach_optimizer(first)
    scheduler.step()
    assert_close([first.current_lr, second.current_lr], [0.3, 0.05])


def shared():
    scheduler = lrax.StepLR(0.1, 10)
    weights = [{"w": brainstate.ParamState(jnp.ones(2))} for _ in range(2)]
    return scheduler, *(lrax.SGD(scheduler).register_trainable_weights(w) for w in weights)


def test_what_one_of_two_is_assigned_is_no_matter_of_the_other():
    scheduler, first, second = shared()
    first.lr_apply(lambda lr: lr / 10)
    assert_close([first.current_lr, second.current_lr], [0.01, 0.1])
    scheduler.apply(lambda lr: 3 * lr)
    assert_close([first.current_lr, second.current_lr], [0.03, 0.3])
    scheduler.attach_optimizer(first)
    assert_close([*scheduler.get_last_lr(), second.current_lr], [0.1, 0.3])


def test_a_number_that_is_the_default_is_no_option_of_a_group():
    def optimizer(decay):
        groups = {"bias": {"weight_decay": decay}}
        weights = {
            "bias": brainstate.ParamState(jnp.ones(2)),
            "w": brainstate.ParamState(jnp.ones(2)),
        }
        return lrax.AdamW(weight_decay=0.0, groups=groups).register_trainable_weights(weights)

    optimizer(float("0")).load_state_dict(optimizer(0.0).state_dict())
    optimizer(0).load_state_dict(optimizer(float("0")).state_dict())


def test_a_list_is_no_matter_of_a_group_with_a_schedule_of_its_own():
    optimizer = lrax.SGD(lrax.CyclicLR([0.1, 0.2], [1.0, 2.0], 5))
    optimizer.register_trainable_weights({"a": brainstate.ParamState(START["a"])})
    optimizer.add_param_group({"b": brainstate.ParamState(START["a"])})
    optimizer.add_param_group({"c": brainstate.ParamState(START["a"])}, lr=lrax.StepLR(0.3, 10))
    assert_close([group["lr"] for group in optimizer.param_groups], [0.1, 0.2, 0.3])


def test_what_is_scheduled_is_shown_before_there_are_groups_for_a_list():
    optimizer = lrax.AdamW(lrax.StepLR([0.1, 0.2], 10), weight_decay=lambda epoch: 0.5)
    optimizer.register_trainable_weights({"a": brainstate.ParamState(START["a"])})
    assert optimizer.hyperparams[0]["weight_decay"] == 0.5
    optimizer.add_param_group({"b": brainstate.ParamState(START["a"])})
    assert [values["weight_decay"] for values in optimizer.hyperparams] == [0.5, 0.5]


def test_groups_begin_after_registration():
    with pytest.raises(ValueError, match="register_trainable_weights"):
        lrax.SGD(lr=0.1).add_param_group({"a": brainstate.ParamState(START["a"])})
