"""A configuration rebuilds its scheduler, and is refused where it does not describe one."""

import pytest

import lrax
from formats import assert_plain, same_dict, through_json, through_msgpack, through_pickle
from helpers import assert_same_bits
from registry import NO_CONFIG, SCHEDULERS, USERS
from registry.own import InverseTime
from saved import advance

WITH_CONFIG = [kind for kind in SCHEDULERS if kind not in NO_CONFIG]


@pytest.mark.parametrize("way", [same_dict, through_json, through_pickle, through_msgpack])
@pytest.mark.parametrize("kind", WITH_CONFIG)
def test_a_scheduler_is_rebuilt_from_its_configuration(kind, way):
    scheduler = SCHEDULERS[kind]()
    advance(scheduler, 0, 6)
    config = way(scheduler.config, None, None)
    twin = lrax.from_config(config, classes=USERS)
    assert type(twin) is type(scheduler)
    assert twin.config == config == SCHEDULERS[kind]().config
    assert int(twin.last_epoch.value) == 0
    twin.load_state_dict(scheduler.state_dict())
    assert_same_bits(advance(twin, 6, 50), advance(scheduler, 6, 50))


OF_CODE = {
    "LambdaLR": lambda: SCHEDULERS["LambdaLR"](),
    "a list of functions": lambda: lrax.LambdaLR(0.1, lr_lambda=[abs, abs]),
    "scale_fn": lambda: lrax.CyclicLR(0.1, 0.2, 5, scale_fn=lambda cycle: 0.5**cycle),
    "a composite of one": lambda: lrax.ChainedScheduler(
        [lrax.StepLR(0.1), SCHEDULERS["LambdaLR"]()]
    ),
}
OF_CLASSES = {
    "formulas": lambda: lrax.LRScheduler([0.1, 0.2], formula=[InverseTime(1), InverseTime(2)]),
    "a composite of a subclass": lambda: lrax.ChainedScheduler(
        [lrax.StepLR(0.1), SCHEDULERS["a subclass"]()]
    ),
}


@pytest.mark.parametrize("name", OF_CLASSES)
def test_classes_of_a_user_are_passed_along(name):
    scheduler = OF_CLASSES[name]()
    config = through_json(scheduler.config, None, None)
    twin = lrax.from_config(config, classes=USERS)
    advance(scheduler, 0, 5)
    assert_plain(scheduler.state_dict())
    twin.load_state_dict(through_json(scheduler.state_dict(), None, None))
    assert_same_bits(advance(twin, 5, 9), advance(scheduler, 5, 9))
    with pytest.raises(ValueError, match="classes="):
        lrax.from_config(config)


@pytest.mark.parametrize("name", OF_CODE)
def test_code_has_no_configuration_but_a_state(name):
    scheduler, twin = OF_CODE[name](), OF_CODE[name]()
    with pytest.raises(TypeError, match=r"cannot hold its code. Construct it yourself"):
        scheduler.config  # noqa: B018
    advance(scheduler, 0, 5)
    assert_plain(scheduler.state_dict())
    twin.load_state_dict(through_json(scheduler.state_dict(), None, None))
    assert_same_bits(advance(twin, 5, 9), advance(scheduler, 5, 9))


NO_CONFIGURATIONS = {
    "nothing": None,
    "a name": "StepLR",
    "empty": {},
    "two schedulers": {"StepLR": {}, "ConstantLR": {}},
    "a list": [{"StepLR": {}}],
    "no such class": {"NoSuchLR": {}},
    "no scheduler": {"SGD": {"lr": 0.1}},
    "not by its attribute": {"__class__": {}},
    "a subclass of the user": {"Halving": {"base_lr": 0.1}},
    "a base class": {"LRScheduler": {"base_lr": 0.1}},
    "arguments missing": {"StepLR": None},
    "arguments in a list": {"StepLR": [0.1, 30]},
    "no such argument": {"StepLR": {"size": 3}},
    "a number as a name": {"StepLR": {1: 3}},
    "a wrong value": {"StepLR": {"step_size": -3}},
    "a wrong kind": {"StepLR": {"step_size": {"a": 1, "b": 2}}},
    "wrong keys of a list": {"MultiStepLR": {"milestones": {"1": 3}}},
    "numbers as keys of a list": {"MultiStepLR": {"milestones": {0: 3}}},
    "members in a number": {"ChainedScheduler": {"schedulers": 3}},
    "wrong keys of members": {"ChainedScheduler": {"schedulers": {"1": {"StepLR": {}}}}},
    "no members": {"ChainedScheduler": {"schedulers": {}}},
    "a wrong member": {"ChainedScheduler": {"schedulers": {"0": {"NoSuchLR": {}}}}},
    "a member that is a number": {"ChainedScheduler": {"schedulers": {"0": 3}}},
    "a function's name": {"LambdaLR": {"base_lr": 0.1, "lr_lambda": {"abs": 1}}},
}


@pytest.mark.parametrize("name", NO_CONFIGURATIONS)
def test_wrong_configurations_are_refused(name):
    with pytest.raises((TypeError, ValueError), match=r"config|must"):
        lrax.from_config(NO_CONFIGURATIONS[name])
