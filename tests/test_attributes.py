"""What can be assigned to schedulers and optimizers, what cannot, and what an attribute that fails says."""

import copy
import pickle

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrax


class WithAProperty(lrax.LRScheduler):
    @property
    def broken(self):
        return self.missing_inside

    def get_lr(self):
        return self.base_lrs


class Counting(lrax.StepLR):
    def __init__(self, base_lr=0.1, unit=2, last_epoch=0):
        self.unit = unit
        self.calls = 0
        super().__init__(base_lr, step_size=unit, last_epoch=last_epoch)
        self.note = "ready"

    def step(self, *args, **kwargs):
        self.calls += 1
        super().step(*args, **kwargs)


class CountingSGD(lrax.SGD):
    def __init__(self, lr, speed=1.0):
        super().__init__(lr, momentum=0.5)
        self.calls = 0
        self.speed = speed

    def step(self, grads):
        self.calls += 1
        super().step(grads)


def ready(kind=lrax.SGD):
    return kind(0.1).register_trainable_weights({"w": brainstate.ParamState(jnp.ones(2))})


def test_an_error_inside_a_property_keeps_its_message():
    with pytest.raises(AttributeError, match="missing_inside"):
        WithAProperty(0.1).broken  # noqa: B018
    with pytest.raises(AttributeError, match="'StepLR' object has no attribute 'gama'"):
        lrax.StepLR(0.1).gama  # noqa: B018
    assert not hasattr(lrax.StepLR(0.1), "T_max")
    assert not hasattr(lrax.OneCycleLR(0.1, epochs=3, steps_per_epoch=4), "epochs")


@pytest.mark.parametrize(
    "make", [lambda: lrax.StepLR(0.1), lambda: lrax.ReduceLROnPlateau(0.1), ready]
)
@pytest.mark.parametrize("name", ["typo", "current_LR", "lr_schedulr", "_typo"])
def test_a_typo_is_refused(make, name):
    owner = make()
    if name.startswith("_") and not isinstance(owner, lrax.LRScheduler):
        return
    before = dict(vars(owner))
    with pytest.raises(AttributeError, match=name):
        setattr(owner, name, 3)
    assert vars(owner) == before


def test_attributes_of_a_subclass():
    scheduler = Counting()
    scheduler.step()
    scheduler.step()
    assert (scheduler.calls, scheduler.note, scheduler.unit) == (2, "ready", 2)
    scheduler.note = "changed"
    scheduler.further = 3
    assert (scheduler.note, scheduler.further) == ("changed", 3)
    with pytest.raises(AttributeError, match=r"unit cannot be changed.*new Counting"):
        scheduler.unit = 5
    for twin in (copy.deepcopy(scheduler), brainstate.graph.clone(scheduler)):
        assert (twin.calls, twin.note, twin.unit) == (2, "changed", 2)
        twin.step()
        assert (twin.calls, scheduler.calls) == (3, 2)

    optimizer = ready(CountingSGD)
    optimizer.step({"w": jnp.ones(2)})
    optimizer.note = "mine"
    optimizer.speed = 2.0
    assert (optimizer.calls, optimizer.note, optimizer.speed) == (1, "mine", 2.0)
    for name in ("momentum", "weight_decay", "opt_state", "nesterov", "lr", "param_groups"):
        with pytest.raises(AttributeError, match=name):
            setattr(optimizer, name, 0.5)


def test_arguments_are_attributes():
    scheduler = lrax.MultiStepLR([0.1, 0.2], [3, 6])
    assert (scheduler.milestones, scheduler.gamma, scheduler.base_lr) == ((3, 6), 0.1, (0.1, 0.2))
    composite = lrax.SequentialLR([lrax.StepLR(0.1), scheduler], [4])
    assert [repr(member) for member in composite.schedulers] == [
        "StepLR(base_lr=(0.1, 0.1), step_size=30, gamma=0.1)",
        repr(scheduler),
    ]


@pytest.mark.parametrize("make", [lambda: lrax.StepLR(0.1), ready, lambda: Counting()])
def test_pickling_says_what_to_save_instead(make):
    with pytest.raises(TypeError, match=r"state_dict\(\).*config.*deepcopy"):
        pickle.dumps(make())


def test_a_clock_is_compared_with_numbers_and_is_a_state_of_its_own():
    scheduler, other = lrax.StepLR(0.1, 3), lrax.StepLR(0.1, 3)
    scheduler.step(5)
    other.step(5)
    clock = scheduler.last_epoch
    assert clock == 5
    assert clock in (4, 5)
    assert clock != 6
    assert clock is not None
    assert clock != "5"
    assert clock == scheduler.last_epoch
    assert clock != other.last_epoch
    assert clock != [5]
    assert [jnp.ones(3), clock].index(clock) == 1
    assert {clock: "found"}[scheduler.last_epoch] == "found"
    assert lrax.jit(lambda: (scheduler.step(), scheduler.last_epoch == 6)[1])()
    assert lrax.jit(lambda: (scheduler.step(), scheduler.last_epoch != 6)[1])()


COMPARED = {
    "equal": lambda epoch: 0.5 if epoch == 2 else 1.0,
    "other than": lambda epoch: 1.0 if epoch != 2 else 0.5,
    "in a tuple": lambda epoch: 0.5 if epoch in (2, 7) else 1.0,
    "in an array": lambda epoch: 0.5 if epoch in np.array([2, 7]) else 1.0,
}
TAKEN_FOR_A_NUMBER = {
    "truth": lambda epoch: 0.5 if epoch else 1.0,
    "in a set": lambda epoch: 0.5 if epoch in {2, 7} else 1.0,
    "a key": lambda epoch: {2: 0.5}.get(epoch, 1.0),
    "a place": lambda epoch: [1.0, 0.9, 0.5][epoch],
    "less": lambda epoch: 0.5 if epoch < 3 else 1.0,
    "rest": lambda epoch: 7 % epoch,
    "power": lambda epoch: 0.5**epoch,
}


def by_epoch(factor):
    class ByEpoch(lrax.LRScheduler):
        def get_lr(self):
            return [base_lr * factor(self.last_epoch) for base_lr in self.base_lrs]

    return ByEpoch


@pytest.mark.parametrize("how", COMPARED)
def test_a_get_lr_that_compares_the_clock(how):
    scheduler = by_epoch(COMPARED[how])(1.0)
    assert [float(scheduler(t)) for t in range(4)] == [1.0, 1.0, 0.5, 1.0]
    np.testing.assert_array_equal(jax.jit(scheduler)(jnp.arange(4)), [1.0, 1.0, 0.5, 1.0])
    scheduler.step(2)
    assert scheduler.get_last_lr() == [0.5]


@pytest.mark.parametrize("how", TAKEN_FOR_A_NUMBER)
def test_a_get_lr_that_takes_the_clock_for_a_number(how):
    """torch's ``last_epoch`` is one; here it would be one object at all epochs."""
    with pytest.raises(TypeError, match=r"Write last_epoch\.value"):
        by_epoch(TAKEN_FOR_A_NUMBER[how])(1.0)
    if how not in ("in a set", "a key"):  # where States are told apart by identity, as everywhere
        with pytest.raises(TypeError, match=r"Write last_epoch\.value"):
            TAKEN_FOR_A_NUMBER[how](lrax.StepLR().last_epoch)


def test_what_is_read_is_computed_with_in_a_copy():
    scheduler = lrax.StepLR([0.1, 0.2])
    rates = np.array(scheduler.current_lrs)
    rates *= 1000
    with pytest.raises(ValueError, match="read-only"):
        scheduler.current_lrs.value[0] = 1000
    assert scheduler.get_last_lr() == [np.float32(0.1), np.float32(0.2)]


def test_a_clock_is_printed_as_its_epoch():
    clock = lrax.StepLR(0.1, last_epoch=7).last_epoch
    assert [str(clock), repr(clock), f"{clock:03d}"] == ["7", "7", "007"]


def test_a_clock_is_restored_to_an_epoch_only():
    clock = lrax.StepLR(0.1, last_epoch=7).last_epoch
    for bad in (np.int32(-4), 3.5, 2**40):
        with pytest.raises(
            ValueError, match="last_epoch must be a whole number from 0 to 2147483647"
        ):
            clock.restore_value(bad)
    assert clock == 7
    clock.restore_value(np.int32(3))
    assert clock == 3
