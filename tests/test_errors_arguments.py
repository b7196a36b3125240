"""Wrong input: every argument of every public class and method, refused with a message that helps.

The tables must hold every argument, by signature: a new one without rows fails.
"""

import copy
import inspect
import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
import registry
from ready import averaged, optimizer, plateau, values, weight
from registry import REFUSES
from registry.rows import (
    BETAS,
    CLIP,
    COUNT,
    DECAY,
    EPOCH,
    FLAG,
    GROUPS,
    HUGE,
    INF,
    LR,
    MOMENTUM,
    NAN,
    NON_NEGATIVE,
    NUMBER,
    OBJECT,
    PAIR,
    POSITIVE,
    RATES,
    SHARE,
    STEP,
    TX,
    WHOLE,
    besides,
    refuse,
)

PLATEAU = lrax.ReduceLROnPlateau()
OPTIMIZER = {
    "lr": LR,
    "weight_decay": DECAY,
    **dict.fromkeys(("grad_clip_norm", "grad_clip_value", "clip_norm"), CLIP),
    "groups": GROUPS,
    "accumulate_steps": COUNT,
    **dict.fromkeys(("skip_nonfinite", "auto_step", "log_grad_norm"), FLAG),
}
MOMENTS = {"betas": BETAS, "eps": DECAY}
STATES = refuse(TypeError, 3, "w", {"w": 3.0}, {"w": jnp.ones(3)}, [weight(2), 0.5], STEP)
STATES += refuse((TypeError, ValueError), None, {}, [])
AVERAGED = besides(SHARE, None, abs, STEP) + refuse(TypeError, lrax.StepLR, PLATEAU)
AVERAGED += refuse(
    ValueError, lrax.StepLR(1.0), lrax.StepLR([0.9, 0.8]), lambda n: -0.5, lambda n: NAN
)
CLOCK = refuse(TypeError, 3, "cosine", abs, lrax.StepLR, [STEP], optax.adam(1e-3))
CLOCK += refuse(ValueError, STEP)  # which nothing depends on
CONSTRUCTORS = {
    **REFUSES,
    "SGD": {**OPTIMIZER, "momentum": MOMENTUM, "nesterov": FLAG},
    "Adam": {
        **OPTIMIZER,
        **MOMENTS,
        "beta1": besides(MOMENTUM, None),
        "beta2": besides(MOMENTUM, None),
        "amsgrad": FLAG,
    },
    "AdamW": {**OPTIMIZER, **MOMENTS},
    "OptaxOptimizer": {**OPTIMIZER, "weight_decay": besides(DECAY, None), "tx": TX},
    "AveragedWeights": {"params": STATES, "decay": AVERAGED, "scheduler": CLOCK},
}
VALID = {  # arguments that are needed besides
    **registry.VALID,
    "SGD.nesterov": {"momentum": 0.9},
    "AveragedWeights": {"params": {"w": weight(3)}},
}

# --- Methods and functions -----------------------------------------------------------------------


ANY_EPOCH = refuse(
    TypeError, None, "3", True, 1j, STEP, abs, {}, ["a"], [True], [1j], np.array(["3"])
)
ANY_EPOCH += refuse(
    ValueError, -1, -0.5, NAN, INF, HUGE, [1, -1], np.array([NAN]), jnp.array([-1.0])
)
JUMP = besides(EPOCH, None) + refuse(ValueError, -1, 3.25, np.float64(3.25))
METRIC = [row for row in NUMBER if row[1] is TypeError and row[0] is not None]
CALLBACK = refuse(TypeError, None, 3, "f", 0.5, OBJECT)
OPTIMIZERS = refuse(TypeError, None, 3, "sgd", STEP, optax.adam(1e-3), lrax.SGD)
SCHEDULERS = refuse(TypeError, None, 0.1, "cosine", abs, lrax.StepLR, [STEP], optax.adam(1e-3))
GRADIENTS = refuse((TypeError, ValueError), None, 3.0, "g", {}, {"v": jnp.ones(3)}, [jnp.ones(3)])
GRADIENTS += refuse(
    (TypeError, ValueError), {"w": jnp.ones(4)}, {"w": 1.0}, {"w": None}, {"w": [1.0]}
)
DICT = refuse((TypeError, ValueError), None, 3, "x", [], {}, STEP, {"version": 1})
PICTURE = {
    "steps": besides(COUNT, None),
    "ax": refuse(TypeError, 3, "ax", STEP, [None], abs),
    "log": FLAG,
    "steps_per_epoch": besides(COUNT, None),
}
METHODS = {  # the object, how its method is called otherwise, and the rows
    "LRScheduler.__call__": (lrax.StepLR, {}, {"epoch": ANY_EPOCH}),
    "LRScheduler.lr_at": (lrax.StepLR, {}, {"epoch": ANY_EPOCH}),
    "LRScheduler.step": (lrax.StepLR, {}, {"epoch": JUMP, "metric": refuse(TypeError, 0.5, "3", NAN)}),
    "LRScheduler.apply": (lrax.StepLR, {}, {"fn": CALLBACK}),
    **{
        f"LRScheduler.{method}": (
            lrax.StepLR,
            {k: v for k, v in registry.VALID[kind].items() if k != "scheduler"},
            {k: rows for k, rows in REFUSES[kind].items() if k not in ("scheduler", "last_epoch")},
        )
        for method, kind in {
            "delay": "DelayLR",
            "stretch": "StretchLR",
            "repeat": "RepeatLR",
            "with_warmup": "WithWarmupLR",
            "with_cooldown": "WithCooldownLR",
        }.items()
    },
    "LRScheduler.clip": (
        lrax.StepLR,
        {"low": 0.0, "high": 1.0},
        {k: besides(NON_NEGATIVE, STEP) for k in ("low", "high")},
    ),
    "LRScheduler.phase_at": (lrax.StepLR, {}, {"epoch": NON_NEGATIVE}),
    "LRScheduler.plot": (lrax.StepLR, {}, PICTURE),
    "plot": (
        None,
        {"schedulers": [STEP]},
        {**PICTURE, "schedulers": refuse(TypeError, None, 0.1, "cosine", STEP, abs, [lrax.StepLR], [0.1], [None]) + refuse(ValueError, [], ())},
    ),
    "check": (
        None,
        {"scheduler": STEP},
        {"scheduler": SCHEDULERS, "total_steps": besides(COUNT, None), "steps_per_epoch": besides(COUNT, None)},
    ),
    "LRScheduler.attach_optimizer": (lrax.StepLR, {}, {"optimizer": OPTIMIZERS}),
    "LRScheduler.load_state_dict": (
        lrax.StepLR,
        {"state_dict": lrax.StepLR().state_dict()},
        {"state_dict": DICT, "strict": FLAG},
    ),
    "ReduceLROnPlateau.step": (
        plateau,
        {"metric": 1.0},
        {"metric": [*METRIC, (None, ValueError)], "epoch": JUMP},
    ),
    "GreedyLR.step": (
        lrax.GreedyLR,
        {"metric": 1.0},
        {"metric": [*METRIC, (None, ValueError)], "epoch": JUMP},
    ),
    "OptaxOptimizer.lr_at": (optimizer, {}, {"epoch": ANY_EPOCH}),
    "OptaxOptimizer.lr_apply": (optimizer, {}, {"apply_fn": CALLBACK}),
    "OptaxOptimizer.add_scheduler": (optimizer, {}, {"scheduler": SCHEDULERS}),
    "OptaxOptimizer.register_trainable_weights": (lrax.SGD, {}, {"param_states": STATES}),
    "OptaxOptimizer.add_param_group": (
        optimizer,
        {"params": {"b": weight(2)}},
        {
            "params": STATES,
            "lr": besides(NON_NEGATIVE, None, abs, STEP),
            "weight_decay": besides(DECAY, None),
        },
    ),
    "OptaxOptimizer.step": (optimizer, {}, {"grads": GRADIENTS}),
    "OptaxOptimizer.update": (optimizer, {}, {"grads": GRADIENTS}),
    "OptaxOptimizer.load_state_dict": (
        optimizer,
        {"state_dict": optimizer().state_dict()},
        {"state_dict": DICT, "strict": FLAG},
    ),
    "AveragedWeights.load_state_dict": (
        averaged,
        {"state_dict": averaged().state_dict()},
        {"state_dict": DICT, "strict": FLAG},
    ),
    "layerwise_lr_decay": (
        None,
        {"params": {"0": weight(3)}},
        {
            "params": STATES + refuse(ValueError, {"w": weight(3)}),
            "decay": POSITIVE + refuse(ValueError, 1.5, jnp.float32(2.0)),
            "layer": refuse(TypeError, 3, "0", [0], STEP.config),
            "no_decay": refuse(TypeError, 3, ["bias"], {}, True, b"0") + refuse(ValueError, "(", "bias$", re.compile(b"0")),
        },
    ),
    "from_config": (None, {"config": STEP.config}, {"classes": refuse(TypeError, None, 3, "abs", [abs], [3], ["StepLR"], [STEP], [dict]), "config": refuse(ValueError, None, 3, "StepLR", [], {}, {"StepLR": 3}, {"NoLR": {}})}),
    "get_scheduler": (
        None,
        {"name": "linear", "base_lr": 0.1, "num_warmup_steps": 3, "num_training_steps": 13},
        {
            "name": refuse(TypeError, None, 3, b"linear", ["linear"], abs, lrax.StepLR) + refuse(ValueError, "", "Linear", "cosin"),
            "base_lr": RATES,
            "num_warmup_steps": besides(WHOLE, None) + refuse(ValueError, None, 14),
            "num_training_steps": besides(COUNT, None) + refuse(ValueError, None, 2),
        },
    ),
    "find_lr": (
        None,
        {"loss_fn": lambda x: x, "optimizer": optimizer(), "batches": (1.0,)},
        {
            "loss_fn": refuse(TypeError, None, 3, "f", [abs]),
            "optimizer": OPTIMIZERS + refuse(ValueError, lrax.SGD()),
            "batches": refuse(TypeError, None, 3, abs, OBJECT, ["a"], (OBJECT,)) + refuse(ValueError, []),
            "start_lr": POSITIVE + refuse(ValueError, 10.0, 1e39, 1e-39),
            "end_lr": POSITIVE + refuse(ValueError, 1e-7, 1e39, 1e-39),
            "steps": COUNT + refuse(ValueError, 1),
            "smoothing": SHARE,
            "diverge": POSITIVE + refuse(ValueError, 1, 1.0, 0.5),
        },
    ),
    "jit": (
        None,
        {"fn": abs},
        {
            "fn": refuse(TypeError, 3, "f", [abs]),
            "static_argnums": refuse(TypeError, "0", True, ["0"]) + refuse(ValueError, -1, [-1], 0.5, [0.5]),
            "static_argnames": refuse(TypeError, 3, [3], b"x"),
            "donate": FLAG,
        },
    ),
}  # fmt: skip
UNCHECKED = {"Formula"}
"""Written by users, called by us."""


def public():
    return {name: getattr(lrax, name) for name in lrax.__all__ if name not in UNCHECKED}


def methods(cls):
    """The public methods that a class adds to those of its public base classes."""
    bases = [base for base in cls.__mro__[1:] if base in public().values()]
    for name, member in inspect.getmembers(cls, inspect.isfunction):
        ours = member.__module__.startswith("lrax.")
        inherited = any(getattr(base, name, None) is member for base in bases)
        unchecked = any(f"{kind.__name__}.{name}" in UNCHECKED for kind in cls.__mro__)
        if ours and not inherited and not unchecked and (name[0] != "_" or name == "__call__"):
            yield name, member


def arguments_of(function):
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = inspect.signature(function).parameters.values()
    return {p.name for p in found if p.kind not in kinds} - {"self"}


def test_every_argument_has_rows():
    constructors, functions = {}, {}
    for name, value in public().items():
        if not isinstance(value, type):
            functions[name] = arguments_of(value)
            continue
        constructors[name] = arguments_of(value.__init__)
        for method, function in methods(value):
            functions[f"{name}.{method}"] = arguments_of(function)
    assert {name: set(rows) for name, rows in CONSTRUCTORS.items()} == constructors
    rows = {name: set(row[2]) for name, row in METHODS.items()}
    assert rows == {name: found for name, found in functions.items() if found}


def shown(value):
    """How a message may show a value: itself, or the entry of a list that is wrong."""
    texts = [repr(value)[:60], str(value)[:60], repr(np.asarray(value))[:60]]
    if isinstance(value, float):
        texts.append(f"{value:.0f}")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple, set, np.ndarray)):
        texts.append(f"{len(value)} ")  # counted
        texts += [text for entry in value for text in shown(entry)]
    return texts


REQUIREMENT = ("must", "needs", "takes", "lacks", "has no ")
TREES = ("grad", "param", "state_dict")
"""Too large to be shown: the message names the entry that is wrong."""


def complaint(call, argument, value, kinds):
    """What is wrong with the error that `call` raises for `value`, or None."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    wanted = " or ".join(kind.__name__ for kind in kinds)
    try:
        call(**{argument: value})
    except Exception as error:
        message = str(error)
        if type(error) not in kinds:
            return f"{type(error).__name__}, not {wanted}: {message:.200}"
        if argument not in message:
            return f"does not name {argument}: {message:.200}"
        if not any(word in message for word in REQUIREMENT):
            return f"does not say what is required: {message:.200}"
        if (
            value is not None
            and not argument.startswith(TREES)
            and not any(text in message for text in shown(value))
        ):
            return f"does not show the value: {message:.200}"
        return None
    return f"accepted; {wanted} expected"


def check(call, argument, rows, **others):
    complaints = {}
    label = (
        "grad"
        if argument == "grads"
        else argument.rstrip("s")
        if argument == "params"
        else argument
    )
    for value, kinds in rows:
        found = complaint(
            lambda value=value, **_: call(**{**others, argument: value}), label, value, kinds
        )
        if found:
            complaints[f"{argument}={value!r:.60}"] = found
    assert not complaints, "\n".join(f"{k}: {v}" for k, v in complaints.items())


CASES = [(name, argument) for name, rows in CONSTRUCTORS.items() for argument in rows]


@pytest.mark.parametrize("name, argument", CASES, ids=map(".".join, CASES))
def test_argument_of_a_constructor(name, argument):
    others = VALID.get(name, {}) | VALID.get(f"{name}.{argument}", {})
    check(getattr(lrax, name), argument, CONSTRUCTORS[name][argument], **others)


CALLS = [(name, argument) for name, (_, _, rows) in METHODS.items() for argument in rows]


@pytest.mark.parametrize("name, argument", CALLS, ids=map(".".join, CALLS))
def test_argument_of_a_method(name, argument):
    make, others, rows = METHODS[name]

    def call(**arguments):
        if make is None:
            return getattr(lrax, name)(**arguments)
        owner = make()
        before = values(owner)
        try:
            return getattr(owner, name.rpartition(".")[2])(**arguments)
        except Exception:
            assert values(owner) == before, "the object has changed"
            raise

    check(call, argument, rows[argument], **others)


# --- Assignment ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name, argument", CASES, ids=map(".".join, CASES))
def test_hyper_parameters_cannot_be_assigned(name, argument):
    owner = getattr(lrax, name)(**VALID.get(name, {}))
    if argument == "last_epoch":  # the clock, which is there to be moved
        owner.last_epoch = 3
        assert owner.last_epoch.value == 3
        return
    before = copy.copy(vars(owner))
    with pytest.raises(AttributeError) as caught:
        setattr(owner, argument, 0.5)
    assert argument in str(caught.value)
    assert "new" in str(caught.value) or "add_scheduler" in str(caught.value), "no remedy"
    assert vars(owner) == before
    for derived in (
        "base_lrs",
        "current_lrs",
        "lr_scheduler",
        "base_lr",
        "param_groups",
        "step_count",
    ):
        if hasattr(type(owner), derived):
            with pytest.raises(AttributeError, match=derived):
                setattr(owner, derived, 0.5)


ASSIGNMENTS = {
    "last_epoch": (lrax.StepLR, "last_epoch", JUMP),
    "last_epoch.value": (lambda: lrax.StepLR().last_epoch, "value", JUMP),
    "current_lrs.value": (
        lambda: lrax.StepLR().current_lrs,
        "value",
        refuse((TypeError, ValueError), None, 0.1, "3", [], [0.1, 0.2], ["a"], [-1.0], [NAN], [1j], PAIR),
    ),
    "current_lr": (optimizer, "current_lr", NON_NEGATIVE),
    "T_cur": (lambda: lrax.CosineAnnealingWarmRestarts(), "T_cur", [*WHOLE, (10, ValueError)]),
    "T_i": (lambda: lrax.CosineAnnealingWarmRestarts(T_mult=2), "T_i", [*COUNT, (11, ValueError)]),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assigned_value(name):
    make, attribute, rows = ASSIGNMENTS[name]
    complaints = {}
    label = "lr" if name.startswith("current_lr") else name.removesuffix(".value")
    for value, _ in rows:
        owner = make()
        before = repr(getattr(owner, attribute))
        kinds = (TypeError, ValueError)
        found = complaint(
            lambda owner=owner, **kw: setattr(owner, attribute, kw[label]), label, value, kinds
        )
        if found or repr(getattr(owner, attribute)) != before:
            complaints[repr(value)[:60]] = found or "the object has changed"
    assert not complaints, "\n".join(f"{k}: {v}" for k, v in complaints.items())


def test_group_lr_assigned():
    group = optimizer().param_groups[0]
    check(lambda lr: group.__setitem__("lr", lr), "lr", NON_NEGATIVE)
    with pytest.raises(KeyError, match=r"weight_decay .* only 'lr'"):
        group["weight_decay"] = 0.5
