"""A momentum that a scheduler drives: saved, exchanged and grouped without another program or other numbers."""

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
from helpers import assert_trees_equal, compiled_programs, values_of

G = {"a": jnp.float32([0.5, -1.0, 2.0]), "b": jnp.float32([1.0, 0.25])}
OPTIMIZERS = {"SGD": lrax.SGD, "AdamW": lrax.AdamW, "Adam": lrax.Adam}


def cycle():
    return lrax.OneCycleLR(max_lr=0.1, total_steps=10, cycle_momentum=True)


def plain():
    return lrax.CosineAnnealingLR(0.1, T_max=10)


def begin(kind, scheduler, **options):
    weights = {name: brainstate.ParamState(jnp.ones_like(g)) for name, g in G.items()}
    return OPTIMIZERS[kind](scheduler, **options).register_trainable_weights(weights)


def train(optimizer, steps):
    for _ in range(steps):
        optimizer.step(G)
        optimizer.lr.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_whose_cycle_was_exchanged_is_resumed_without_one(kind):
    old, new = begin(kind, cycle()), begin(kind, plain())
    train(old, 3)
    plain().attach_optimizer(old)
    train(old, 2)
    new.load_state_dict(old.state_dict())
    for name, state in new.param_states.items():
        state.value = jnp.copy(old.param_states[name].value)
    train(old, 4)
    train(new, 4)
    assert_trees_equal(values_of(new.param_states), values_of(old.param_states))
    assert_trees_equal(new.opt_state.value, old.opt_state.value)
    assert new.hyperparams == old.hyperparams


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_load_that_fails_leaves_the_momentum_a_number(kind):
    old, new = begin(kind, cycle()), begin(kind, plain())
    plain().attach_optimizer(old)
    before = new.hyperparams, repr(new.opt_state.value)
    with pytest.raises(ValueError, match="lr lacks"):
        new.load_state_dict({**old.state_dict(), "lr": {}})
    assert (new.hyperparams, repr(new.opt_state.value)) == before
    assert type(new.hyperparams[0].get("momentum", 0.9)) is float
    train(new, 1)


def falling():
    return lrax.ReduceLROnPlateau(0.9, factor=0.5, patience=0)


def fails_later(epoch):
    return 0.1 if epoch < 2 else "no number"


FAILING = {
    "a load": lambda o: o.load_state_dict(begin("SGD", cycle(), groups={"b": {}}).state_dict()),
    "a group": lambda o: o.add_param_group(
        {"c": brainstate.ParamState(jnp.ones(2))}, momentum=falling(), weight_decay=fails_later
    ),
    "a scheduler": lambda o: lrax.LambdaLR(0.1, fails_later, last_epoch=3).attach_optimizer(o),
}


@pytest.mark.parametrize("fails", FAILING)
def test_what_fails_changes_neither_what_was_assigned_nor_what_a_compiled_step_writes(fails):
    optimizer = begin("SGD", plain(), momentum=falling(), groups={"b": {}})

    @lrax.jit
    def step():
        optimizer.step(G)
        optimizer.lr.step(metric=1.0)

    step()
    step()
    optimizer.current_lr = 0.7
    before = [dict(group) for group in optimizer.hyperparams]
    with pytest.raises(Exception, match=r"differs|one number"):
        FAILING[fails](optimizer)
    assert [dict(group) for group in optimizer.hyperparams] == before
    assert before[0]["lr"] == np.float32(0.7)
    step()
    memory = optimizer.state_dict()["memory"]["0.momentum.0"]
    assert memory["reductions"] == 2
    assert optimizer.hyperparams[0]["momentum"] == np.float32(0.9 * 0.5**2)


def test_a_group_comes_in_where_a_rate_is_nan():
    optimizer = begin("SGD", plain())

    @lrax.jit
    def spoil(x):
        optimizer.current_lr = x

    spoil(jnp.nan)
    optimizer.add_param_group({"c": brainstate.ParamState(jnp.ones(2))})
    np.testing.assert_array_equal(optimizer.get_last_lr(), np.float32([np.nan, 0.1]))
    optimizer.lr.step(0)
    assert optimizer.get_last_lr() == [np.float32(0.1)] * 2


def test_what_was_assigned_lasts_until_the_next_step_whoever_else_comes_in():
    scheduler = plain()
    first, second = begin("SGD", scheduler), begin("SGD", scheduler)
    first.current_lr = 0.7
    second.add_param_group({"c": brainstate.ParamState(jnp.ones(2))})
    begin("Adam", scheduler)
    first.add_param_group({"c": brainstate.ParamState(jnp.ones(2))}, lr=0.3)
    assert first.get_last_lr() == [np.float32(0.7), np.float32(0.3)]
    scheduler.step()
    assert first.get_last_lr() == [scheduler(1), np.float32(3 * scheduler(1))]


@pytest.mark.parametrize("jit", [lrax.jit, brainstate.transform.jit])
@pytest.mark.parametrize("groups", [{"a": {"lr_scale": 0.1}}, {"a": {"momentum": 0.5}}])
def test_exchanges_compile_nothing_with_groups(jit, groups):
    optimizer = begin("SGD", cycle(), momentum=0.9, groups=groups)
    step = jit(lambda: optimizer.step(G))
    step()
    others = [plain(), cycle(), lrax.StepLR(0.1)]
    for other in others:
        other.attach_optimizer(optimizer)
        with compiled_programs() as compiled:
            step()
            other.step()
            step()
        assert not compiled
    own = groups["a"].get("momentum", 0.9)
    np.testing.assert_allclose([h["momentum"] for h in optimizer.hyperparams], [0.9, own], 1e-7)


def test_a_schedule_beside_a_cycle_is_refused_wherever_it_comes_in():
    own = {"momentum": lambda t: 0.3}
    with pytest.raises(ValueError, match="momentum must have one schedule"):
        begin("SGD", cycle(), momentum=0.9, groups={"a": own})
    optimizer = begin("SGD", cycle(), momentum=0.9)
    with pytest.raises(ValueError, match="momentum must have one schedule"):
        optimizer.add_param_group({"c": brainstate.ParamState(jnp.ones(2))}, **own)
    assert len(optimizer.param_groups) == 1
    train(optimizer, 1)


def test_an_automatic_step_that_fails_updates_nothing():
    optimizer = begin("AdamW", plain(), weight_decay=lambda t: 0.2 - 0.1 * t, auto_step=True)
    for _ in range(2):
        optimizer.step(G)
    before = values_of(optimizer.param_states), optimizer.opt_state.value
    with pytest.raises(ValueError, match="weight_decay must be >= 0"):
        optimizer.step(G)
    after = values_of(optimizer.param_states), optimizer.opt_state.value
    assert_trees_equal(after, before)
    assert (int(optimizer.step_count), optimizer.lr.last_epoch.value) == (2, 2)
