"""The check-up: what it finds in schedules that are wrong, and that it finds nothing in those of the pages."""

import json
import re
from pathlib import Path

import brainstate
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from helpers import slow_but

ROOT = Path(__file__).parents[1]
HOLD = lrax.ConstantLR(1e-3, factor=1.0, total_iters=0)


def half_wave(t):
    return 0.5 * (1 + np.cos(np.pi * t / 100))


def joined(first, second):
    return lrax.SequentialLR([first, second], milestones=[100])


WRONG = {  # a schedule, the run and what is found: of which name, with which numbers
    "delayed warmup": (lrax.WarmupScheduler(0.1, 10).delay(5), (100,), "zero", ["first 6 updates"]),
    "long delay": (lrax.WarmupScheduler(0.1, 10).delay(54_321), (10**6,), "zero", ["first 54322 updates"]),
    "two updates": (lrax.WarmupScheduler(0.1, 10).delay(1), (100,), "zero", ["first 2 updates"]),
    "a function of nothing": (lrax.LambdaLR(0.1, lambda t: float(t >= 54_321)), (10**5,), "zero", ["first 54321 updates"]),
    "nothing at all": (lrax.ConstantLR(0.0), (100,), "zero", ["in the whole run"]),
    "up after a warmup": (joined(lrax.WarmupScheduler(1e-3, 100), lrax.CosineAnnealingLR(0.1, 900)), (1000,), "jump", ["step 100", "0.00099", "0.1"]),
    "down after a warmup": (joined(lrax.WarmupScheduler(0.1, 100), lrax.CosineAnnealingLR(0.01, 900)), (1000,), "jump", ["step 100", "0.099", "0.01"]),
    "up after a constant": (joined(HOLD, lrax.CosineAnnealingLR(0.01, 900)), (1000,), "jump", ["step 100", "0.001", "0.01"]),
    "down after a constant": (joined(HOLD, lrax.PolynomialLR(1e-4, 900)), (1000,), "jump", ["step 100", "0.001", "0.0001"]),
    "a little up after a warmup": (joined(lrax.WarmupScheduler(0.1, 100), lrax.CosineAnnealingLR(0.13, 900)), (1000,), "jump", ["0.13"]),
    "up after a steep warmup": (lrax.SequentialLR([lrax.WarmupScheduler(0.1, 4), lrax.CosineAnnealingLR(0.165, 900)], [4]), (904,), "jump", ["step 4", "0.075", "0.165"]),
    "down from what is low": (joined(lrax.PiecewiseConstantSchedule(boundaries=[50], values=[1.0, 0.2]), lrax.PolynomialLR(0.02, 900)), (1000,), "jump", ["0.2", "0.02"]),
    "up from one decay to another": (lrax.SequentialLR([lrax.PolynomialLR(0.1, 500), lrax.PolynomialLR(10.0, 500)], [500]), (1000,), "jump", ["step 500", "10"]),
    "up from an exponential": (joined(lrax.ExponentialLR(0.1, 0.99), lrax.CosineAnnealingLR(0.3, 900)), (1000,), "jump", ["step 100", "0.3"]),
    "short cycle": (lrax.OneCycleLR(0.1, total_steps=333), (1000,), "ends_early", ["step 332", "stretch(3.012)"]),
    "long warmup": (lrax.WarmupScheduler(1e-3, 2000), (1000,), "warmup", ["2000 steps", "1000 steps", "0.0004995"]),
    "short cosine": (lrax.CosineAnnealingLR(0.1, 50, eta_min=1e-4), (10_000,), "ends_early", ["step 50", "9950 of 10000", "0.0001", "stretch(200)"]),
    "short cosine above its end": (lrax.CosineAnnealingLR(0.1, 5000, eta_min=0.05), (10_000,), "ends_early", ["0.05"]),
    "short run": (lrax.CosineAnnealingLR(0.1, 10_000), (5000,), "ends_late", ["step 10000", "5000 steps", "0.05002", "stretch(0.5)"]),
    "milestones beyond": (lrax.MultiStepLR(0.1, [30_000, 60_000]), (1000,), "ends_late", ["step 60000", "0.001"]),
    "a tenth is left": (lrax.CosineAnnealingLR(0.1, 1150), (900,), "ends_late", ["step 1150"]),
    "by epochs, each a step": (lrax.CosineAnnealingLR(0.1, 90), (1000, 1), "ends_early", ["step 90"]),
    "wave that has begun": (lrax.LambdaLR(0.1, half_wave), (135,), "rises", ["step 100"]),
    "wave that is past its top": (lrax.LambdaLR(0.1, half_wave), (263,), "rises", ["step 100"]),
    "wave that goes on": (lrax.LambdaLR(0.1, half_wave), (150,), "rises", ["step 100", "learning rate is 0,"]),
    "wave that would go on": (lrax.LambdaLR(0.1, half_wave), (100,), "rises", ["step 99"]),
    "milestones in epochs": (lrax.MultiStepLR(0.1, [30, 60, 80]), (90_000, 1000), "epochs", ["step 80", "stretch(1000)"]),
    "steps in epochs": (lrax.StepLR(0.1, 30), (90_000, 1000), "epochs", ["step 30", "stretch(1000)"]),
    "cosine in epochs": (lrax.CosineAnnealingLR(0.1, 90), (90_000, 1000), "epochs", ["step 90"]),
    "cosine in epochs, length unknown": (lrax.CosineAnnealingLR(0.1, 90), (None, 1000), "epochs", ["step 90"]),
    "restarts in epochs": (lrax.CosineAnnealingWarmRestarts(0.1, 10), (90_000, 1000), "epochs", ["step 10"]),
    "longer restarts in epochs": (lrax.CosineAnnealingWarmRestarts(0.1, 10, T_mult=2), (10_000, 100), "epochs", ["step 10", "stretch(100)"]),
    "steps in epochs, length unknown": (lrax.StepLR(0.1, 30), (None, 100), "epochs", ["step 30", "stretch(100)"]),
    "restarts in epochs, length unknown": (lrax.CosineAnnealingWarmRestarts(0.1, 10, T_mult=2), (None, 100), "epochs", ["step 10"]),
    "down from a constant into a long cosine": (lrax.SequentialLR([HOLD, lrax.CosineAnnealingLR(1e-4, 80_000)], [1000]), (81_000,), "jump", ["step 1000", "0.001", "0.0001"]),
    "up from a constant into a long cosine": (lrax.SequentialLR([HOLD, lrax.CosineAnnealingLR(1e-2, 80_000)], [1000]), (81_000,), "jump", ["step 1000", "0.001", "0.01"]),
    "a jump of one group of two": (joined(lrax.ConstantLR([1.0, 0.001], 1.0, 0), lrax.PolynomialLR([1.0, 0.01], 900)), (1000,), "jump", ["step 100", "0.01"]),
    "jumps that cancel": (joined(lrax.ConstantLR([0.1, 0.01], 1.0, 0), lrax.PolynomialLR([0.01, 0.1], 900)), (1000,), "jump", ["step 100"]),
    "stairs to nothing": (lrax.StepLR(0.1, 30), (90_000,), "ends_early", ["step 180", "90000 steps", "stretch(500)"]),
    "falls to nothing": (lrax.ExponentialLR(0.1, 0.95), (90_000,), "ends_early", ["step 270", "90000 steps"]),
    "exponential in epochs": (lrax.ExponentialLR(0.1, 0.95), (90_000, 1000), "epochs", ["come down to 0"]),
    "half a cycle": (lrax.CyclicLR(1e-3, 1e-2, step_size_up=2000), (1000,), "peak", ["0.01", "1000 steps", "0.005495"]),
    "stairs up": (lrax.PiecewiseConstantSchedule(boundaries=[10, 2000], values=[0.1, 0.2, 0.4]), (1000,), "peak", ["0.4", "0.2"]),
}  # fmt: skip


@pytest.mark.parametrize("label", WRONG)
def test_what_is_wrong_is_found(label):
    scheduler, run, name, numbers = WRONG[label]
    (found,) = lrax.check(scheduler, *run)
    assert found.name == name
    text = str(found)
    assert text == f"{name}: {found.found} {found.remedy}"
    for number in numbers:
        assert re.search(rf"(?<!\d)(?<!\d\.){re.escape(number)}(?!\d|\.\d)", text), number


def test_the_remedy_helps():
    for label in ("short cosine", "short run", "milestones in epochs", "restarts in epochs"):
        scheduler, run, *_ = WRONG[label]
        (found,) = lrax.check(scheduler, *run)
        factor = float(re.search(r"stretch\(([\d.]+)\)", found.remedy)[1])
        assert lrax.check(scheduler.stretch(factor), *run) == []


def test_several_findings_are_in_order():
    found = lrax.check(lrax.WSDSchedule(1e-3, warmup_steps=2000, total_steps=10_000), 1000)
    assert [finding.name for finding in found] == ["warmup", "ends_late"]
    with pytest.raises(AttributeError):
        found[0].name = "other"


RIGHT = {  # a schedule and its run, in which nothing is wrong
    "hardly up": (
        joined(lrax.WarmupScheduler(0.1, 100), lrax.CosineAnnealingLR(0.115, 900)),
        (1000,),
    ),
    "up after a coarse warmup": (
        lrax.SequentialLR([lrax.WarmupScheduler(0.1, 4), lrax.CosineAnnealingLR(0.14, 900)], [4]),
        (904,),
    ),
    "gentle stairs": (lrax.MultiStepLR(0.1, [30, 60], gamma=0.8), (90,)),
    "little is left": (lrax.CosineAnnealingLR(0.1, 1000), (870,)),
    "a wave that stays up": (lrax.LambdaLR(0.1, lambda t: 0.2 + 0.8 * half_wave(t)), (150,)),
    "some restarts": (lrax.CosineAnnealingWarmRestarts(0.1, 10), (30,)),
    "trapezoid": (lrax.WSDSchedule(1e-3, 100, 90_000, 9000), (90_000, 1000)),
    "one update at 0": (lrax.WarmupScheduler(1e-3, 100), (90_000, 1000)),
    "steps of epochs": (lrax.StepLR(0.1, 30), (90, 1)),
    "a stair for each epoch": (lrax.StepLR(0.1, 98, gamma=0.97), (19_600, 98)),
    "a restart for each epoch": (lrax.CosineAnnealingWarmRestarts(0.1, 98), (19_600, 98)),
    "a cycle of two epochs": (lrax.CyclicLR(1e-3, 0.1, step_size_up=98), (19_600, 98)),
    "cycles from 0, half-way at 0": (lrax.CyclicLR(0.0, 0.1, step_size_up=10), (1000, 20)),
    "a line to 0": (lrax.LambdaLR(0.1, lambda t: max(0.0, 1 - t / 85_500)), (90_000, 1000)),
    "a line to 0 at the end": (
        lrax.LambdaLR(0.1, lambda t: max(0.0, 1 - t / 89_999)),
        (90_000, 1000),
    ),
    "slow, and long": (lrax.ExponentialLR(0.1, 0.9999), (100_000,)),
    "cycles within epochs": (lrax.CyclicLR(1e-3, 1e-2, step_size_up=2000), (None, 10_000)),
    "restarts in batches": (lrax.CosineAnnealingWarmRestarts(0.1, 1000, T_mult=2), (90_000, 1000)),
    "exponential, length unknown": (lrax.ExponentialLR(0.1, 0.9999), (None, 1000)),
    "steps of batches": (lrax.StepLR(0.1, 30_000), (90_000, 1000)),
    "slow": (lrax.ExponentialLR(0.1, 0.99999), (90_000, 1000)),
    "without end": (lrax.InverseSqrtLR(1e-3, 4000), (90_000, 1000)),
    "down to a bound": (lrax.maximum(lrax.InverseSqrtLR(1e-3, 4000), 1e-5), (90_000, 1000)),
    "one cycle": (lrax.OneCycleLR(0.1, total_steps=90_000), (90_000, 100)),
    "restarts": (lrax.CosineAnnealingWarmRestarts(0.1, 10), (100,)),
    "cycles": (lrax.CyclicLR(0.0, 0.1, step_size_up=10), (1000,)),
    "a cycle of a function": (lrax.LambdaLR(0.1, half_wave), (1000,)),
    "a table": (lrax.LambdaLR(0.1, lambda t: [1.0, 0.5, 0.02][int(t)]), (3,)),
    "last stairs": (lrax.MultiStepLR(0.1, [30, 60]), (90,)),
    "stairs on a way": (lrax.CosineAnnealingLR(0.1, 100) * lrax.StepLR(1.0, 40), (100,)),
    "a frozen group": (lrax.CosineAnnealingLR([0.1, 0.0], 100), (100,)),
    "an update more": (lrax.CosineAnnealingLR(0.1, 100), (101,)),
    "a plateau": (lrax.ReduceLROnPlateau(0.1), (100, 10)),
    "a product that is remembered": (lrax.MultiplicativeLR(0.1, lambda t: 0.0), (100,)),
    "all by itself": (lrax.CosineAnnealingLR(0.1, 100), ()),
}


@pytest.mark.parametrize("label", RIGHT)
def test_what_is_right_is_not_complained_about(label):
    scheduler, run = RIGHT[label]
    assert lrax.check(scheduler, *run) == []


@pytest.mark.parametrize("dtype, digits", [(jnp.bfloat16, 8), (jnp.float16, 11)])
def test_steps_that_half_precision_rounds_away(dtype, digits):
    """Weights of 1.5 change by steps above half of 2**(1 - digits), and by no smaller ones: tried."""
    half = 2.0**-digits
    weight = jnp.full((4, 4), 1.5, dtype)
    for rate, changes in ((half * 1.01, True), (half * 0.6, False)):
        assert bool(jnp.any(weight - jnp.asarray(rate, dtype) != weight)) is changes

    def found(rate, value=weight):
        optimizer = lrax.AdamW(lr=lrax.CosineAnnealingLR(rate, T_max=100))
        optimizer.register_trainable_weights({"w": brainstate.ParamState(value)})
        return [finding.name for finding in lrax.check(optimizer, 100)]

    assert found(half * 0.6) == ["half_precision"]
    assert found(half * 1.01) == []
    assert found(half * 0.6, weight.astype(jnp.float32)) == []
    assert found(half * 0.6, 0.01 * weight) == []


@pytest.mark.parametrize("bare", [False, True])
def test_half_precision_by_groups(bare):
    """Weights of 0.02 take steps from 2e-5 on, and none of 2e-6."""
    kernel = {"kernel": jnp.full((8, 8), 0.02, jnp.bfloat16), "none": jnp.zeros(0, jnp.bfloat16)}

    def found(rate, options):
        optimizer = lrax.AdamW(
            lr=lrax.CosineAnnealingLR(rate, T_max=100), groups={"kernel": options}
        )
        state = brainstate.ParamState(kernel)
        optimizer.register_trainable_weights(state if bare else {"base": {"deep": state}})
        return [finding.name for finding in lrax.check(optimizer, 100)]

    assert found(2e-6, {"weight_decay": 0.0}) == ["half_precision"]
    assert found(2e-6, {"frozen": True}) == []
    assert found(2e-6, {"lr": 1e-2}) == []
    assert found(2e-6, {"lr_scale": 1000.0}) == []
    assert found(1e-2, {"lr_scale": 1e-4}) == ["half_precision"]
    assert found(2e-6, {"lr": lrax.ReduceLROnPlateau(1e-2)}) == []


def test_half_precision_of_some_is_no_matter():
    weights = {
        "kernel": jnp.full((64, 64), 0.02, jnp.bfloat16),
        "scale": jnp.ones(64, jnp.bfloat16),
    }
    optimizer = lrax.AdamW(lr=lrax.CosineAnnealingLR(1e-3, T_max=100))
    assert lrax.check(optimizer, 100) == [], "it has no weights yet"
    states = {name: brainstate.ParamState(value) for name, value in weights.items()}
    assert lrax.check(optimizer.register_trainable_weights(states), 100) == []


# --- The pages -----------------------------------------------------------------------------------

BLOCK = re.compile(
    r"(?:^<!-- (same as: .*?) -->\s*\n\s*)?^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
PAGES = [ROOT / "docs" / name for name in ("recipes.md", "shapes.md", "faq.md")]
PAGES += sorted((ROOT / "docs" / "coming_from").glob("*.md"))


def cases_of(page):
    """The learning rates of the other library, by case."""
    file = ROOT / "tests" / "data" / "coming_from" / f"{page.stem}.json"
    if page.parent.name != "coming_from" or not file.exists():
        return {}
    return {case["key"]: case["values"] for case in json.loads(file.read_text())["cases"]}


def schedulers_of(page):
    """Of every scheduler that has a name on a page, and is no part of another: where, and the cases that it reproduces."""
    text, cases, names, found = page.read_text(encoding="utf-8"), cases_of(page), {}, {}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(2))
        exec(compile(block[2], f"{page.name}:{line}", "exec"), names)
        keys = [key.strip() for key in (block[1] or "").removeprefix("same as: ").split(",")]
        for name, value in names.items():
            if isinstance(value, lrax.LRScheduler) and id(value) not in found:
                known = [cases[key] for key in keys if key in cases]
                found[id(value)] = f"{page.name}:{line} {name}", value, known
    texts = [repr(value) for _, value, _ in found.values()]
    for where, value, known in found.values():
        if not any(repr(value) in text for text in texts if text != repr(value)):
            yield where, value, known


@pytest.mark.parametrize("page", slow_but(PAGES, *PAGES[1:]), ids=lambda page: page.stem)
def test_no_false_alarm_on_a_page(page):
    """Each with its own length; where it goes on for ever, as long as the page compares it.

    DeepSpeed's own warmups begin with two updates at 0: that alarm is none that is false.
    """
    seen = 0
    for where, scheduler, known in schedulers_of(page):
        compared = max(map(len, known), default=None)
        length = scheduler.total_steps or compared
        for run in {
            (length, None),
            (scheduler.total_steps or None, length and max(length // 3, 1)),
        }:
            found = [finding.name for finding in lrax.check(scheduler, *run)]
            wasted = any(values[0] == values[1] == 0 for values in known)
            assert found == (["zero"] if wasted else []), (where, run, found)
        seen += 1
    assert seen or page.stem in ("index", "capabilities", "faq", "braintools"), (
        "no scheduler on this page"
    )


def test_an_optimizer_with_its_learning_rate_inside():
    weights = {"w": brainstate.ParamState(jnp.ones(2))}
    optimizer = lrax.OptaxOptimizer(optax.adam(1e-3)).register_trainable_weights(weights)
    assert lrax.check(optimizer, total_steps=100) == []


def test_a_run_of_any_length():
    found = lrax.check(lrax.ExponentialLR(1.0, 0.5), total_steps=10**12)
    assert any("from step 20 on" in str(finding) for finding in found)
    late = lrax.PiecewiseConstantSchedule(boundaries=[10**7], values=[0.0, 0.1])
    assert "the first 10000000 updates" in str(lrax.check(late, total_steps=10**9)[0])
