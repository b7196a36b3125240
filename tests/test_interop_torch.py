"""`lrax.interop.from_torch`: a live scheduler of torch as one of ours, at the same epoch.

tests/data/torch_schedulers.json holds what torch's objects look like after some steps, and the learning
rates that follow. Objects with these attributes stand in for them; where torch is installed, its own
are taken besides.
"""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import lrax
from helpers import assert_close
from ready import weight
from torch_cases import CASES, FUNCTIONS, METRICS, stand_in, stored

STORED = stored()


def live(call, rates, steps=0):
    """torch's own object, after some steps."""
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    optimizer.step()
    names = {**vars(torch.optim.lr_scheduler), "SWALR": torch.optim.swa_utils.SWALR, **FUNCTIONS}
    scheduler = eval(call, {**names, "torch": torch, "optimizer": optimizer})
    for metric in METRICS[:steps]:
        scheduler.step(*([metric] if "Plateau" in call else []))
    return scheduler


def test_the_file_is_complete():
    assert [(case["key"], case["call"], case["rates"]) for case in STORED.values()] == CASES


@pytest.mark.filterwarnings("ignore:.*epoch parameter in `scheduler.step:UserWarning")
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
@pytest.mark.parametrize("how", ["stand-in", "torch"])
@pytest.mark.parametrize("key", STORED)
def test_goes_on_as_torch_does(key, how):
    case = STORED[key]
    theirs = (
        stand_in(case)
        if how == "stand-in"
        else live(case["call"], case["rates"], steps=case["steps"])
    )
    ours = lrax.interop.from_torch(theirs)
    assert ours.last_epoch.value == case["steps"]
    found = []
    for metric in METRICS[case["steps"] :][: len(case["values"])]:
        found.append(ours.get_last_lr())
        ours.step(**({"metric": metric} if "Plateau" in key or "plateau" in key else {}))
    assert_close(found, case["values"], floor=1e-9)
    if "SWA" not in case["call"] and "Plateau" not in case["call"] and "Cycl" not in case["call"]:
        assert ours.base_lrs == case["rates"]


@pytest.mark.parametrize("key", [key for key in STORED if "cycle" in key])
def test_momentum_follows_where_it_did(key):
    case = STORED[key]
    ours = lrax.interop.from_torch(stand_in(case))
    names = [f"w{i}" for i in range(len(case["groups"]))]
    optimizer = lrax.SGD(lr=ours, momentum=0.9, groups=[(name, {}) for name in names])
    optimizer.register_trainable_weights({name: weight(2) for name in names})
    momentum = case["groups"][0]["momentum"]
    driven = case["attributes"]["cycle_momentum"]
    assert (ours.momentum_schedule() is not None) == driven
    if driven:
        np.testing.assert_allclose(optimizer.hyperparams[0]["momentum"], momentum, rtol=2e-6)


def test_plateau_takes_over_what_was_learned():
    case = STORED["plateau"]
    ours, theirs = lrax.interop.from_torch(stand_in(case)), case["attributes"]
    for name in ("best", "num_bad_epochs", "cooldown_counter"):
        assert getattr(ours, name).value == theirs[name]
    assert theirs["best"] == 4
    assert ours.base_lrs == [group["lr"] for group in case["groups"]]


def test_fresh_plateau():
    theirs = stand_in(STORED["plateau"])
    theirs.best, theirs.num_bad_epochs, theirs.last_epoch = float("inf"), 0, 0
    assert lrax.interop.from_torch(theirs).best.value == np.inf


def test_composites_hold_composites():
    outer, inner = STORED["sequential"], STORED["chained"]
    theirs = stand_in(outer)
    theirs._schedulers[1] = stand_in(inner)
    ours = lrax.interop.from_torch(theirs)
    chained = lrax.interop.from_torch(stand_in(inner))
    assert_close(ours.lr_at(np.arange(6, 12)), chained.lr_at(np.arange(6)))
    assert_close(
        ours.lr_at(np.arange(6)), np.array([[0.02 + 0.01 * t] for t in range(6)]) * [1, 0.2]
    )


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
def test_cosine_holds_its_end_and_torch_rises():
    ours = lrax.interop.from_torch(stand_in(STORED["cosine"]))
    assert_close(ours.lr_at(np.array([20, 30]))[:, 0], [0.01, 0.01])
    theirs = live(STORED["cosine"]["call"], [0.1, 0.02], steps=0)
    for _ in range(30):
        theirs.step()
    assert theirs.get_last_lr()[0] > 0.05


def test_a_step_on_our_side_leaves_torch_alone():
    theirs = live("StepLR(optimizer, step_size=1, gamma=0.5)", [0.1])
    ours = lrax.interop.from_torch(theirs)
    ours.step()
    assert ours.get_last_lr() == [np.float32(0.05)]
    assert (theirs.get_last_lr(), theirs.last_epoch) == ([0.1], 0)


def kind_of(name, module, *bases):
    return type(name, bases, {"__module__": module})


TORCH = "torch.optim.lr_scheduler"
REFUSED = {
    "nothing": (None, "torch_scheduler must be a scheduler of torch"),
    "a number": (0.1, "torch_scheduler must be a scheduler of torch.*got 0.1"),
    "a function": (abs, "torch_scheduler must be a scheduler of torch.*LambdaLR"),
    "one of ours": (
        lrax.StepLR(0.1),
        "torch_scheduler must be a scheduler of torch.*StepLR.*lrax already",
    ),
    "a class": (kind_of("StepLR", TORCH), "torch_scheduler must be a scheduler of torch"),
    "an optimizer": (
        SimpleNamespace(param_groups=[]),
        "torch_scheduler must be a scheduler of torch.*not its optimizer",
    ),
    "a new one": (
        kind_of("NewLR", TORCH)(),
        r"torch_scheduler must be of a class that torch itself has, got torch\S*NewLR.*LambdaLR",
    ),
    "a subclass": (
        kind_of("StepLR", "mine", kind_of("StepLR", TORCH))(),
        r"torch_scheduler must be of a class that torch itself has, got mine.StepLR.*LambdaLR",
    ),
}


@pytest.mark.parametrize("given", REFUSED)
def test_refused(given):
    value, message = REFUSED[given]
    with pytest.raises(TypeError, match=message):
        lrax.interop.from_torch(value)


@pytest.mark.parametrize("key", ["swa", "plateau"])
def test_refused_inside_a_composite(key):
    theirs = stand_in(STORED["sequential"])
    theirs._schedulers[1] = stand_in(STORED[key])
    with pytest.raises(TypeError, match=r"schedulers\[1\] must be .* got a .*with_cooldown"):
        lrax.interop.from_torch(theirs)


@pytest.mark.parametrize("first", [True, False])
def test_a_product_goes_on_from_what_it_finds_unless_it_is_first(first):
    theirs = stand_in(STORED["sequential"])
    theirs._schedulers[not first] = stand_in(STORED["two multiplicative"])
    if not first:
        with pytest.raises(TypeError, match=r"schedulers\[1\] must be .* got a MultiplicativeLR"):
            lrax.interop.from_torch(theirs)
        return
    theirs.last_epoch = 0
    for group, lr in zip(theirs.optimizer.param_groups, (0.1, 0.02), strict=True):
        group["lr"] = lr
    ours = lrax.interop.from_torch(theirs)
    ours.step()
    assert_close(ours.get_last_lr(), [0.1 * FUNCTIONS["half"](1), 0.02 * FUNCTIONS["factor"](1)])


@pytest.mark.parametrize("rounding", [1 + 1e-4, 1 - 1e-4])
def test_rounding_errors_of_torch_are_not_said(rounding):
    theirs = stand_in(STORED["sequential"])
    theirs.last_epoch = 0
    for group, lr in zip(theirs.optimizer.param_groups, (0.02, 0.004), strict=True):
        group["lr"] = lr * rounding
    lrax.interop.from_torch(theirs)


def test_a_rate_that_is_not_the_schedules_is_said():
    """Each group by itself, however small its rate."""
    theirs = stand_in(STORED["sequential"])
    theirs.last_epoch = 0
    theirs.base_lrs = [0.1, 1e-7]
    for group, lr in zip(theirs.optimizer.param_groups, (0.02, 4e-9), strict=True):
        group["lr"] = lr
    with pytest.warns(
        UserWarning, match=r"At epoch \d+ the learning rates of torch are .*from_torch"
    ):
        lrax.interop.from_torch(theirs)


def test_momentum_inside_a_composite():
    theirs = stand_in(STORED["sequential"])
    theirs._schedulers[0] = stand_in(STORED["cycles"])
    with pytest.raises(
        TypeError, match=r"schedulers\[0\] must have cycle_momentum=False.*CyclicLR"
    ):
        lrax.interop.from_torch(theirs)


def test_a_chain_of_members_at_different_epochs():
    """torch steps each from where it stands; here there is one clock."""
    theirs = stand_in(STORED["chained"])
    lrax.interop.from_torch(theirs)
    theirs._schedulers[0].last_epoch += 6
    with pytest.raises(TypeError, match=r"at the same epoch, got \[\d+, .*delay"):
        lrax.interop.from_torch(theirs)


def test_groups_that_differ_where_they_must_not():
    theirs = stand_in(STORED["swa"])
    theirs.optimizer.param_groups[1]["swa_lr"] = 0.5
    with pytest.raises(TypeError, match=r"swa_lr of a SWALR must be the same .* got \[0.03, 0.5\]"):
        lrax.interop.from_torch(theirs)
    theirs = stand_in(STORED["cycles"])
    theirs.base_momentums = [0.8, 0.7]
    with pytest.raises(
        TypeError, match=r"base_momentum of a CyclicLR must be the same.*'momentum'"
    ):
        lrax.interop.from_torch(theirs)


@pytest.mark.parametrize(
    "key, attribute, value, message",
    [
        ("exponential", "gamma", -0.5, "gamma must be"),
        ("cycles", "step_ratio", 0.25, "step_size_up must be a whole number"),
        ("restarts", "last_epoch", 3.5, "last_epoch must be a whole number"),
        ("polynomial", "total_iters", 0, "total_iters must be"),
    ],
)
def test_what_ours_refuses_is_said(key, attribute, value, message):
    theirs = stand_in(STORED[key])
    setattr(theirs, attribute, value)
    with pytest.raises(ValueError, match=message):
        lrax.interop.from_torch(theirs)


def test_a_peak_of_zero():
    theirs = stand_in(STORED["one cycle"])
    theirs.optimizer = SimpleNamespace(
        param_groups=[dict.fromkeys(("lr", "max_lr", "initial_lr", "min_lr"), 0.0)]
    )
    theirs.cycle_momentum = False
    assert lrax.interop.from_torch(theirs)(5) == 0


def test_torch_is_not_imported():
    code = "import sys, lrax; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
