"""Schedulers of torch that `lrax.interop.from_torch` is tested with: a name, the call, the groups' rates.

tools/make_torch_states.py runs them and writes tests/data/torch_schedulers.json.
"""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

DATA = Path(__file__).parent / "data" / "torch_schedulers.json"
METRICS = [5, 4, 4, 4, 4, 4, 3, 2, 1, 1, 1, 1, 1, 1.0005, 0.9999, 0.9998, 0.5]
FUNCTIONS = {
    "half": lambda x: 1 / (1 + x),
    "quarter": lambda x: 1 / (1 + 3 * x),
    "factor": lambda x: 0.9 + 0.01 * x,
}
"""A function among the arguments is stored by its name."""

ONE, TWO = [0.1], [0.1, 0.02]
LINEAR = "LinearLR(optimizer, start_factor=0.2, end_factor=0.8, total_iters=6)"
COSINE = "CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01)"
CASES = [
    ("step", "StepLR(optimizer, step_size=3, gamma=0.5)", TWO),
    ("multi step", "MultiStepLR(optimizer, milestones=[2, 5, 5, 9], gamma=0.5)", TWO),
    ("exponential", "ExponentialLR(optimizer, gamma=0.9)", TWO),
    ("constant", "ConstantLR(optimizer, factor=0.25, total_iters=6)", ONE),
    ("linear", LINEAR, TWO),
    ("polynomial", "PolynomialLR(optimizer, total_iters=9, power=1.7)", ONE),
    ("cosine", COSINE, TWO),
    ("restarts", "CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2, eta_min=0.01)", ONE),
    ("lambda", "LambdaLR(optimizer, half)", ONE),
    ("two lambdas", "LambdaLR(optimizer, [half, quarter])", TWO),
    ("multiplicative", "MultiplicativeLR(optimizer, factor)", ONE),
    ("two multiplicative", "MultiplicativeLR(optimizer, [half, factor])", TWO),
    ("cycles", "CyclicLR(optimizer, 0.01, 0.5, step_size_up=3, step_size_down=7)", ONE),
    (
        "cycles of two",
        "CyclicLR(optimizer, [0.01, 0.02], [0.5, 0.3], step_size_up=4, mode='exp_range', gamma=0.9, "
        "cycle_momentum=False)",
        TWO,
    ),
    (
        "cycles by a function",
        "CyclicLR(optimizer, 0.01, 0.5, step_size_up=4, scale_fn=half, scale_mode='iterations', "
        "base_momentum=0.7, max_momentum=0.8)",
        ONE,
    ),
    ("one cycle", "OneCycleLR(optimizer, max_lr=0.5, total_steps=16)", ONE),
    (
        "one cycle of two",
        "OneCycleLR(optimizer, max_lr=[0.5, 0.3], epochs=4, steps_per_epoch=4, pct_start=0.45, "
        "anneal_strategy='linear', div_factor=7.3, final_div_factor=31.0, three_phase=True, "
        "base_momentum=0.5, max_momentum=0.6)",
        TWO,
    ),
    (
        "one cycle without momentum",
        "OneCycleLR(optimizer, 0.5, total_steps=16, cycle_momentum=False)",
        ONE,
    ),
    ("plateau", "ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2)", TWO),
    (
        "plateau of two",
        "ReduceLROnPlateau(optimizer, 'max', 0.5, 1, 0.1, 'abs', min_lr=[0.03, 0.004])",
        TWO,
    ),
    ("swa", "SWALR(optimizer, swa_lr=0.03, anneal_epochs=8)", TWO),
    (
        "linear swa",
        "SWALR(optimizer, swa_lr=0.03, anneal_epochs=8, anneal_strategy='linear')",
        TWO,
    ),
    ("swa that is over", "SWALR(optimizer, swa_lr=0.03, anneal_epochs=2)", ONE),
    ("swa at once", "SWALR(optimizer, swa_lr=0.03, anneal_epochs=0)", ONE),
    (
        "sequential",
        f"SequentialLR(optimizer, [{LINEAR}, ExponentialLR(optimizer, gamma=0.5)], milestones=[6])",
        TWO,
    ),
    (
        "chained",
        f"ChainedScheduler([{LINEAR}, StepLR(optimizer, step_size=5, gamma=0.5)])",
        TWO,
    ),
]


def stored():
    """The cases of the file, by name."""
    return {case["key"]: case for case in json.loads(DATA.read_text())["cases"]}


def _revived(value, optimizer):
    if isinstance(value, list):
        return [_revived(entry, optimizer) for entry in value]
    if not isinstance(value, dict):
        return value
    if "function" in value:
        return FUNCTIONS[value["function"]]
    if "float" in value:
        return float(value["float"])
    if "class" in value:
        return stand_in(value, optimizer)
    return {key: _revived(entry, optimizer) for key, entry in value.items()}


def stand_in(state, optimizer=None):
    """An object with the class name, the module and the attributes that torch's had."""
    if optimizer is None:
        optimizer = SimpleNamespace(param_groups=state["groups"])
    kind = type(state["class"], (), {"__module__": state["module"]})
    found = kind()
    for name, value in state["attributes"].items():
        setattr(found, name, _revived(value, optimizer))
    if state["class"] == "MultiStepLR":
        found.milestones = Counter({int(k): v for k, v in found.milestones.items()})
    if state["class"] != "ChainedScheduler":
        found.optimizer = optimizer
    return found
