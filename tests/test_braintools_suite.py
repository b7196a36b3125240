"""braintools' own tests of its schedulers, run on ours: the promise that changing the import is enough."""

import importlib.util
import inspect
import types
import warnings
from pathlib import Path

import pytest

import lrax.optim

pytest.importorskip("braintools")

pytestmark = pytest.mark.braintools

AT_EPOCH_0 = "the optimizer starts at the schedule's value at epoch 0, not at base_lr"

# Tests that ours fail by decision: why, and at which assertion. All others must pass.
DEVIATIONS = {
    "TestWarmupScheduler.test_warmup_with_optimizer": (
        AT_EPOCH_0,
        "assert np.isclose(optimizer.current_lr, 0.1)",
    ),
    "TestLinearLR.test_linear_lr_with_optimizer": (
        AT_EPOCH_0,
        "assert np.isclose(optimizer.current_lr, 0.01)",
    ),
    "TestConstantLR.test_constant_lr_with_optimizer": (
        AT_EPOCH_0,
        "assert np.isclose(optimizer.current_lr, 0.1)",
    ),
    "TestCyclicLR.test_cyclic_lr_step_size_down": (
        "5 epochs up and 10 down take 15, as in torch; braintools is back at the base after 10",
        "assert np.isclose(lrs[13], 0.1, atol=0.05)",
    ),
    "TestWarmupCosineSchedule.test_basic_warmup_cosine": (
        "both values are exactly half of the base; braintools' second one is rounded down",
        "assert lr_decay < lr_warmup",
    ),
}


def source():
    package = importlib.util.find_spec("braintools").submodule_search_locations[0]
    return Path(package, "optim", "_optax_lr_scheduler_test.py")


def load():
    """braintools' test module, in which ``braintools.optim`` is ours."""
    path = source()
    if not path.exists():
        pytest.skip("this braintools comes without its tests", allow_module_level=True)
    text = path.read_text(encoding="utf-8")
    changed = text.replace("import braintools.optim\n", "import lrax as braintools\n")
    assert changed != text
    module = types.ModuleType("braintools_scheduler_test")
    exec(compile(changed, str(path), "exec"), vars(module))
    assert module.braintools.optim is lrax.optim
    return module


def collect(module):
    return {
        f"{suite}.{name}": (test_class, function)
        for suite, test_class in vars(module).items()
        if suite.startswith("Test") and inspect.isclass(test_class)
        for name, function in vars(test_class).items()
        if name.startswith("test_")
    }


TESTS = collect(load())


def call(name):
    test_class, function = TESTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs are not ours to answer for
        function(test_class())


def test_suite_is_found():
    assert len(TESTS) > 100
    assert set(DEVIATIONS) <= set(TESTS)


@pytest.mark.parametrize("name", [name for name in TESTS if name not in DEVIATIONS])
def test_passes(name):
    call(name)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_deviates_where_decided(name):
    with pytest.raises(AssertionError) as failure:
        call(name)
    assert str(failure.traceback[-1].statement).strip() == DEVIATIONS[name][1]
