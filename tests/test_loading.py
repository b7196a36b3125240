"""What is loaded goes on as what was saved; with ``strict=False`` also under another schedule."""

import copy
import json
import math
import pickle
import warnings

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax
import network
from helpers import assert_same_bits, assert_trees_equal, last_lr, values_of
from network import OPTIMIZERS
from registry import KINDS, SCHEDULERS
from saved import advance, begin, contents, schedule, set_weights, train

INF = math.inf

# --- in another object ------------------------------------------------------------------------------


WAYS = {
    "as it is": lambda d: d,
    "pickle": lambda d: pickle.loads(pickle.dumps(d)),
    "json": lambda d: json.loads(json.dumps(d)),
}


def plain(value):
    """Nested dicts with str keys, and arrays or numbers of Python."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
    return isinstance(value, (int, float, np.ndarray, jax.Array))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("epoch", [0, 1, 10, 31, 55])
def test_a_loaded_scheduler_continues(kind, way, epoch):
    scheduler, new = KINDS[kind](), KINDS[kind]()
    advance(scheduler, 0, epoch)
    state = WAYS[way](scheduler.state_dict())
    assert plain(state)
    new.load_state_dict(state)
    assert int(new.last_epoch.value) == epoch
    assert_same_bits([last_lr(new)], [last_lr(scheduler)])
    assert_same_bits(advance(new, epoch, 60), advance(scheduler, epoch, 60))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("way", ["as it is", "pickle"])
def test_a_loaded_optimizer_continues(name, way):
    optimizer, states = network.begin(name)
    network.train(optimizer, states, 7)
    saved = WAYS[way](
        {
            "weights": {key: np.asarray(state.value) for key, state in states.items()},
            "optimizer": optimizer.state_dict(),
            "scheduler": optimizer.lr_scheduler.state_dict(),
        }
    )
    assert plain(saved)
    rates = np.float32(optimizer.get_last_lr())
    network.train(optimizer, states, 6)

    new, new_values = network.begin(name)
    for key, state in new_values.items():
        state.value = jnp.asarray(saved["weights"][key])
    new.load_state_dict(saved["optimizer"])
    assert_same_bits(np.float32(new.get_last_lr()), rates)
    new.lr_scheduler.load_state_dict(saved["scheduler"])
    assert int(new.step_count.value) == 7
    network.train(new, new_values, 6)

    assert_trees_equal(values_of(new_values), values_of(states))
    assert_same_bits(np.float32(new.get_last_lr()), np.float32(optimizer.get_last_lr()))
    assert_trees_equal(new.state_dict(), optimizer.state_dict())


def broken(saved):
    """State dicts that must not be loaded."""
    yield {}
    yield {key: value for key, value in saved.items() if key != max(saved)}
    yield {**saved, "surplus": 1}
    yield jax.tree.map(lambda leaf: np.zeros((7, 7, 7), np.float32), saved)
    yield jax.tree.map(lambda leaf: float("nan"), saved)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("which", ["optimizer", "scheduler"])
def test_a_failed_load_changes_nothing(which, number):
    optimizer, states = network.begin("AdamW")
    network.train(optimizer, states, 5)
    target = optimizer if which == "optimizer" else optimizer.lr_scheduler
    before = copy.deepcopy(target.state_dict())
    bad = list(broken(target.state_dict()))
    assert len(bad) == 5
    with pytest.raises((TypeError, ValueError)):
        target.load_state_dict(bad[number])
    assert_trees_equal(target.state_dict(), before)


# --- strict=False -----------------------------------------------------------------------------------


OTHER_OPTIMIZERS = {  # how another one is made, and what the message says of it
    "betas": ({"betas": (0.9, 0.99)}, r"AdamW\.betas\.1: saved 0\.999, here 0\.99"),
    "eps": ({"eps": 1e-6}, r"AdamW\.eps: saved 1e-08, here 1e-06"),
    "decay": ({"weight_decay": 0.5}, r"AdamW\.weight_decay: saved 0\.01, here 0\.5"),
    "clipping": ({"grad_clip_norm": 1.0}, r"AdamW\.grad_clip_norm: saved None, here 1\.0"),
    "lr of a group": ({"group": {"lr": 0.5}}, r"AdamW\.group 1\.lr: saved 0\.02, here 0\.5"),
    "no lr of a group": ({"group": {"lr": None}}, r"AdamW\.group 1\.lr: saved 0\.02, here nothing"),
    "decay of a group": ({"group": {"weight_decay": 0.5}}, r"group 1\.weight_decay: saved 0\.1, here 0\.5"),
}  # fmt: skip


def adamw(group=None, **arguments):
    states = network.new_states()
    optimizer = lrax.AdamW(lr=lrax.StepLR(0.1, 3), **arguments)
    optimizer.register_trainable_weights({"a": states["a"], "b": states["b"]})
    optimizer.add_param_group(
        {"c": states["c"]}, **{"lr": 0.02, "weight_decay": 0.1, **(group or {})}
    )
    return optimizer, states


@pytest.mark.parametrize("label", OTHER_OPTIMIZERS)
def test_training_goes_on_with_another_optimizer(label):
    """Only if asked for, from the saved moments on, and with the hyper-parameters that it has here."""
    other, message = OTHER_OPTIMIZERS[label]
    old, old_states = adamw()
    network.train(old, old_states, 4)
    new, _ = adamw(**other)
    before = contents(new)
    with pytest.raises(ValueError, match=f"{message}.*strict=False"):
        new.load_state_dict(old.state_dict())
    assert_trees_equal(contents(new), before)
    with pytest.warns(UserWarning, match=f"The optimizer has changed.*{message}") as caught:
        new.load_state_dict(old.state_dict(), strict=False)
    assert len(caught) == 1
    assert_trees_equal(new.state_dict()["opt_state"], old.state_dict()["opt_state"])
    assert int(new.step_count.value) == int(new.lr.last_epoch.value) == 4
    assert new.state_dict()["optimizer"] != old.state_dict()["optimizer"]
    assert_same_bits(new.get_last_lr(), new.lr_at(4))


def test_a_failed_warning_changes_nothing():
    """Warnings may be errors, here as anywhere."""
    old, states = adamw()
    network.train(old, states, 4)
    new, _ = adamw(eps=1e-6)
    before = contents(new)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="eps"):
            new.load_state_dict(old.state_dict(), strict=False)
    assert_trees_equal(contents(new), before)


@pytest.mark.parametrize("make", [lrax.SGD, lrax.Adam])
def test_moments_of_another_class_do_not_fit(make):
    old, states = adamw()
    new = make(lr=lrax.StepLR(0.1, 3)).register_trainable_weights(states)
    with pytest.raises(ValueError, match=f"saved AdamW, here {make.__name__}"):
        new.load_state_dict(old.state_dict())
    with pytest.raises(ValueError, match="unknown keys"):
        new.load_state_dict(old.state_dict(), strict=False)


def test_training_goes_on_longer_than_planned():
    old = lrax.CosineAnnealingLR(0.1, T_max=10, eta_min=1e-3)
    new = lrax.CosineAnnealingLR(0.1, T_max=20, eta_min=1e-3)
    old.step(8)
    with pytest.raises(ValueError, match=r"T_max: saved 10, here 20.*strict=False"):
        new.load_state_dict(old.state_dict())
    assert int(new.last_epoch.value) == 0
    with pytest.warns(UserWarning, match=r"epoch 8: CosineAnnealingLR.T_max: saved 10, here 20"):
        new.load_state_dict(old.state_dict(), strict=False)
    assert int(new.last_epoch.value) == 8
    assert_same_bits(new.get_last_lr(), [new(8)])
    new.step()
    assert_same_bits(new.get_last_lr(), [new(9)])


def test_an_optimizer_goes_on_with_a_longer_schedule():
    old, states = begin("AdamW")
    train(old, states, 6)
    new, new_states = begin("AdamW", lrax.WarmupCosineSchedule(0.05, 5, 60, 1e-4, 1e-3))
    set_weights(new_states, values_of(states))
    with pytest.warns(UserWarning, match=r"total_steps: saved 30, here 60") as caught:
        new.load_state_dict(old.state_dict(), strict=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_trees_equal(new.opt_state.value, old.opt_state.value)
    assert int(new.lr_scheduler.last_epoch.value) == 6
    assert_same_bits(new.get_last_lr(), new.lr_at(6))


def test_nothing_is_said_where_nothing_differs():
    optimizer, states = begin("SGD with momentum")
    train(optimizer, states, 2)
    twin, _ = begin("SGD with momentum")
    twin.load_state_dict(optimizer.state_dict(), strict=False)  # warnings are errors
    assert_trees_equal(twin.state_dict(), optimizer.state_dict())


def test_a_plateau_keeps_its_memory_with_other_patience():
    old = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=1)
    new = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=3)
    for _ in range(4):
        old.step(1.0)
    with pytest.warns(UserWarning, match="patience: saved 1, here 3"):
        new.load_state_dict(old.state_dict(), strict=False)
    assert new.state_dict()["memory"] == old.state_dict()["memory"]
    assert_same_bits(new.get_last_lr(), old.get_last_lr())


def test_what_was_learned_and_does_not_fit_begins_anew():
    old = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=0)
    for _ in range(3):
        old.step(1.0)
    new = lrax.ReduceLROnPlateau(0.1, factor=0.5, patience=0, accumulation_size=4)
    with pytest.raises(ValueError, match="accumulation_size: saved 1, here 4"):
        new.load_state_dict(old.state_dict())
    with pytest.warns(UserWarning, match=r"begins anew \(memory.0 lacks"):
        new.load_state_dict(old.state_dict(), strict=False)
    assert int(new.last_epoch.value) == 3
    assert new.best.value == INF
    assert_same_bits(new.get_last_lr(), np.float32([0.1]))


def test_a_state_of_a_users_is_loaded_however_large():
    class Mine(lrax.LRScheduler):
        def __init__(self):
            super().__init__(0.1)
            self.number = brainstate.ShortTermState(jnp.float32(1e20))

        def get_lr(self):
            return self.base_lrs

    scheduler = Mine()
    saved = scheduler.state_dict()
    scheduler.number.value = jnp.float32(0)
    scheduler.load_state_dict(saved)
    assert scheduler.number.value == np.float32(1e20)


def test_the_epoch_of_another_class_is_taken_over():
    new = lrax.ReduceLROnPlateau(0.1)
    with pytest.warns(UserWarning, match=r"StepLR.*ReduceLROnPlateau|ReduceLROnPlateau.*StepLR"):
        new.load_state_dict(lrax.StepLR(0.1, last_epoch=7).state_dict(), strict=False)
    assert int(new.last_epoch.value) == 7
    assert new.best.value == INF


def test_a_warning_that_is_an_error_changes_nothing():
    optimizer, states = begin("AdamW", lrax.StepLR(0.1, 3))
    train(optimizer, states, 2)
    before = contents(optimizer)
    saved, _ = begin("AdamW", lrax.StepLR(0.1, 4))
    with pytest.raises(UserWarning, match="step_size"):
        optimizer.load_state_dict(saved.state_dict(), strict=False)
    assert_trees_equal(contents(optimizer), before)


def test_schedules_of_the_tests_differ():
    assert schedule().state_dict() != SCHEDULERS["WarmupCosineSchedule"]().state_dict()
