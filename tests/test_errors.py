"""Wrong input: every argument of every public class and method, refused with a message that helps.

The tables must hold every argument, by signature: a new one without rows fails.
"""

import copy
import inspect
import math

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrax
from schedulers import InverseTime

NAN, INF, HUGE = math.nan, math.inf, 10**400
STEP = lrax.StepLR()
OBJECT = object()


# --- Values that an argument must refuse ---------------------------------------------------------


def refuse(error, *values):
    return [(value, error) for value in values]


def besides(rows, *allowed):
    """`rows` without those of the values that are allowed after all."""
    return [row for row in rows if not any(row[0] is value for value in allowed)]


PAIR = np.array([0.1, 0.2])
LISTS = refuse(TypeError, [0.1], (0.1, 0.2), [], PAIR)
NO_NUMBER = refuse(
    TypeError, "3", b"3", None, True, np.True_, {}, {"a": 1}, {1}, 1j, np.complex64(1j), abs, STEP, OBJECT, [[0.1]]
)  # fmt: skip
NUMBER = NO_NUMBER + LISTS + refuse(ValueError, NAN, INF, -INF, np.float32("nan"), HUGE, -HUGE)
NON_NEGATIVE = NUMBER + refuse(ValueError, -1, -1e-30, np.float32(-0.5), jnp.float32(-0.5))
POSITIVE = NON_NEGATIVE + refuse(ValueError, 0, 0.0, -0.0, np.int64(0))
SHARE = NON_NEGATIVE + refuse(ValueError, 1, 1.0, 1.5)
WHOLE = NON_NEGATIVE + refuse(ValueError, 2.5, np.float32(0.5))
COUNT = WHOLE + refuse(ValueError, 0, 0.0)
EPOCH = besides(WHOLE, -1) + refuse(ValueError, -2, 2**31, 2.0**31)
FLAG = refuse(TypeError, 1, 0, 0.5, "True", None, [True], np.array([True]), STEP)
CHOICE = refuse(TypeError, None, 1, True, ["min"], STEP) + refuse(ValueError, "", "no such mode")
FUNCTION = refuse(TypeError, None, 3, 0.5, "f", True, {}, [3], [None], OBJECT)
RATES = NO_NUMBER + [row for row in NON_NEGATIVE if row[1] is ValueError]
RATES += refuse(TypeError, ["3"], [None], (True,), [0.1, 1j], np.ones((2, 2)), [STEP])
RATES += refuse(ValueError, [], [-0.1], [0.1, NAN], (INF,), np.array([0.1, -1]))
EPOCHS = refuse(TypeError, None, 3, "3", {1}, {}, STEP, OBJECT, ["3"], [None], [True], [[1]], [1j])
EPOCHS += refuse(ValueError, [-1], [2.5], [NAN], [INF], [5, 2], (1, 3, 2), np.array([2, 1]))
VALUES = refuse(TypeError, None, 3, "3", {1}, STEP, ["a"], [None], [True], [[1]], [1j, 1, 1])
VALUES += refuse(ValueError, [-1.0, 1, 1], [NAN, 1, 1], [1, INF, 1], [], [1.0], [1.0] * 4)
MEMBERS = refuse(TypeError, None, 3, "abc", STEP, {}, [0.1], [None], [lrax.StepLR], [STEP, abs])
MEMBERS += refuse((TypeError, ValueError), [])
LR = [
    *besides(NON_NEGATIVE, None, STEP),
    (lrax.StepLR, TypeError),
    (optax.constant_schedule(1.0), TypeError),
]
CLIP = besides(POSITIVE, None)
BETAS = refuse(TypeError, None, 0.9, "ab", STEP, ("a", 0.9), (0.9, None), (True, 0.9))
BETAS += refuse(
    ValueError, (), (0.9,), (0.9, 0.9, 0.9), (1.0, 0.9), (0.9, 1.5), (-0.1, 0.9), (NAN, 0.9)
)
TX = refuse(TypeError, 3, "adam", 0.1, optax.adam, STEP, (1, 2), OBJECT)
FORMULA = refuse(TypeError, None, 3, "x", abs, [3], lrax.Formula, STEP) + refuse(ValueError, [])

# --- Constructors --------------------------------------------------------------------------------

OPTIMIZER = {"lr": LR, "weight_decay": NON_NEGATIVE, "grad_clip_norm": CLIP, "grad_clip_value": CLIP, "clip_norm": CLIP}  # fmt: skip
MOMENTS = {"betas": BETAS, "eps": NON_NEGATIVE}
CONSTRUCTORS = {
    "StepLR": {"base_lr": RATES, "step_size": COUNT, "gamma": POSITIVE},
    "MultiStepLR": {"base_lr": RATES, "milestones": EPOCHS, "gamma": POSITIVE},
    "ExponentialLR": {"base_lr": RATES, "gamma": POSITIVE},
    "ExponentialDecayLR": {
        "base_lr": RATES,
        "decay_steps": COUNT,
        "decay_rate": POSITIVE,
        "transition_begin": WHOLE,
        "staircase": FLAG,
        "end_value": besides(NON_NEGATIVE, None),
    },
    "CosineAnnealingLR": {"base_lr": RATES, "T_max": COUNT, "eta_min": NON_NEGATIVE},
    "CosineAnnealingWarmRestarts": {
        "base_lr": RATES,
        "T_0": COUNT,
        "T_mult": COUNT,
        "eta_min": NON_NEGATIVE,
    },
    "PolynomialLR": {"base_lr": RATES, "total_iters": COUNT, "power": POSITIVE},
    "LinearLR": {
        "base_lr": RATES,
        "start_factor": NON_NEGATIVE,
        "end_factor": NON_NEGATIVE,
        "total_iters": WHOLE,
    },
    "ConstantLR": {"base_lr": RATES, "factor": NON_NEGATIVE, "total_iters": WHOLE},
    "WarmupScheduler": {"base_lr": RATES, "warmup_epochs": WHOLE, "warmup_start_lr": NON_NEGATIVE},
    "WarmupCosineSchedule": {
        "base_lr": RATES,
        "warmup_steps": WHOLE + refuse(ValueError, 10_001),
        "total_steps": COUNT + refuse(ValueError, 999),
        "warmup_start_lr": NON_NEGATIVE,
        "eta_min": NON_NEGATIVE,
    },
    "CyclicLR": {
        "base_lr": RATES + refuse(ValueError, 0.5, [0.001, 0.5]),
        "max_lr": RATES + refuse(ValueError, 0.0005, [0.5, 0.0005]),
        "step_size_up": COUNT,
        "step_size_down": besides(COUNT, None),
        "mode": CHOICE,
        "gamma": POSITIVE,
        "scale_fn": besides(FUNCTION, None),
        "scale_mode": CHOICE,
    },
    "OneCycleLR": {
        "max_lr": RATES,
        "total_steps": besides(COUNT, None),
        "epochs": besides(COUNT, None),
        "steps_per_epoch": besides(COUNT, None),
        "pct_start": NON_NEGATIVE + refuse(ValueError, 1.5),
        "anneal_strategy": CHOICE,
        "div_factor": POSITIVE,
        "final_div_factor": POSITIVE,
        "three_phase": FLAG,
    },
    "PiecewiseConstantSchedule": {
        "base_lr": RATES,
        "boundaries": [*besides(EPOCHS, None), ([1], ValueError), ([], ValueError)],
        "values": besides(VALUES, None),
    },
    "LambdaLR": {"base_lr": RATES, "lr_lambda": FUNCTION + refuse(ValueError, [])},
    "ReduceLROnPlateau": {
        "base_lr": RATES,
        "mode": CHOICE,
        "factor": POSITIVE + refuse(ValueError, 1, 1.0, 2.0),
        "patience": WHOLE,
        "threshold": NON_NEGATIVE + refuse(ValueError, 1.0),
        "threshold_mode": CHOICE,
        "cooldown": WHOLE,
        "min_lr": RATES,
        "eps": RATES,
    },
    "SequentialLR": {
        "schedulers": MEMBERS,
        "milestones": EPOCHS + refuse(ValueError, [], [1, 2]),
    },
    "ChainedScheduler": {"schedulers": MEMBERS},
    "LRScheduler": {"base_lr": RATES, "formula": FORMULA},
    "SGD": {**OPTIMIZER, "momentum": SHARE, "nesterov": FLAG},
    "Adam": {
        **OPTIMIZER,
        **MOMENTS,
        "beta1": besides(SHARE, None),
        "beta2": besides(SHARE, None),
        "amsgrad": FLAG,
    },
    "AdamW": {**OPTIMIZER, **MOMENTS},
    "OptaxOptimizer": {**OPTIMIZER, "tx": TX},
}
for name, arguments in CONSTRUCTORS.items():
    if issubclass(getattr(lrax, name), lrax.LRScheduler):
        arguments["last_epoch"] = EPOCH
VALID = {  # arguments that are needed besides
    "OneCycleLR": {"total_steps": 100},
    "OneCycleLR.epochs": {"total_steps": None, "steps_per_epoch": 10},
    "OneCycleLR.steps_per_epoch": {"total_steps": None, "epochs": 10},
    "LambdaLR": {"lr_lambda": lambda epoch: 1.0},
    "SequentialLR": {"schedulers": [lrax.StepLR(), lrax.StepLR()], "milestones": [3]},
    "ChainedScheduler": {"schedulers": [lrax.StepLR(), lrax.StepLR()]},
    "LRScheduler": {"formula": InverseTime(0.1)},
    "SGD.nesterov": {"momentum": 0.9},
}

# --- Methods and functions -----------------------------------------------------------------------


def weight(*shape):
    return brainstate.ParamState(jnp.ones(shape))


def optimizer(lr=0.1):
    ready = lrax.SGD(lr, momentum=0.9)
    return ready.register_trainable_weights({"w": weight(3)})


def plateau():
    return lrax.ReduceLROnPlateau(patience=0)


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
STATES = refuse(TypeError, 3, "w", {"w": 3.0}, {"w": jnp.ones(3)}, [weight(2), 0.5], STEP)
STATES += refuse((TypeError, ValueError), None, {}, [])
GRADIENTS = refuse((TypeError, ValueError), None, 3.0, "g", {}, {"v": jnp.ones(3)}, [jnp.ones(3)])
GRADIENTS += refuse(
    (TypeError, ValueError), {"w": jnp.ones(4)}, {"w": 1.0}, {"w": None}, {"w": [1.0]}
)
DICT = refuse((TypeError, ValueError), None, 3, "x", [], {}, STEP, {"version": 1})
METHODS = {  # the object, how its method is called otherwise, and the rows
    "LRScheduler.__call__": (lrax.StepLR, {}, {"epoch": ANY_EPOCH}),
    "LRScheduler.lr_at": (lrax.StepLR, {}, {"epoch": ANY_EPOCH}),
    "LRScheduler.step": (lrax.StepLR, {}, {"epoch": JUMP, "metric": refuse(TypeError, 0.5, "3", NAN)}),
    "LRScheduler.apply": (lrax.StepLR, {}, {"fn": CALLBACK}),
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
    "OptaxOptimizer.lr_apply": (optimizer, {}, {"apply_fn": CALLBACK}),
    "OptaxOptimizer.add_scheduler": (optimizer, {}, {"scheduler": SCHEDULERS}),
    "OptaxOptimizer.register_trainable_weights": (lrax.SGD, {}, {"param_states": STATES}),
    "OptaxOptimizer.add_param_group": (
        optimizer,
        {"params": {"b": weight(2)}},
        {
            "params": STATES,
            "lr": besides(NON_NEGATIVE, None),
            "weight_decay": besides(NON_NEGATIVE, None),
        },
    ),
    "OptaxOptimizer.step": (optimizer, {}, {"grads": GRADIENTS}),
    "OptaxOptimizer.update": (optimizer, {}, {"grads": GRADIENTS}),
    "OptaxOptimizer.load_state_dict": (
        optimizer,
        {"state_dict": optimizer().state_dict()},
        {"state_dict": DICT, "strict": FLAG},
    ),
    "from_config": (None, {}, {"config": refuse(ValueError, None, 3, "StepLR", [], {}, {"StepLR": 3}, {"NoLR": {}})}),
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
        if ours and not inherited and (not name.startswith("_") or name == "__call__"):
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


def values(owner):
    """Every State of a scheduler or an optimizer, as text."""
    states = dict(brainstate.graph.states(owner)) | getattr(owner, "param_states", {})
    return {key: repr(jax.tree.map(np.asarray, state.value)) for key, state in states.items()}


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
