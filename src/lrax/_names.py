"""What other libraries call things, so that an unknown name is answered with the one that is meant."""

import difflib
import inspect
import numbers
from collections.abc import Iterable
from typing import Any

import optax
import optax.contrib

_PEAK = "lr learning_rate peak_value peak_lr base_lr max_lr"
_RATE = f"{_PEAK} init_value init_lr initial_lr"
_END = "eta_min min_lr end_value end_lr final_lr lr_min min_learning_rate"
_LENGTH = "T_max t_max total_steps total_iters decay_steps max_epochs max_steps num_epochs num_training_steps transition_steps"
_WARMUP = "warmup_epochs warmup_steps warmup_iters num_warmup_steps n_warmup_steps warmup_t"
_FACTOR = "gamma decay_rate factor decay_factor"
_PERIOD = "step_size decay_steps transition_steps decay_epochs period"
_ARGUMENTS = {
    "warmup_start_lr": "init_value init_lr warmup_init_lr start_lr",
    "lr": _RATE,
    "base_lr": _RATE,
    "max_lr": _PEAK,
    "eta_min": _END,
    "min_lr": _END,
    "end_value": _END,
    "epochs": "num_epochs max_epochs total_epochs n_epochs",
    "T_max": _LENGTH,
    "total_steps": _LENGTH,
    "total_iters": _LENGTH,
    "warmup_epochs": f"{_WARMUP} total_iters",
    "warmup_steps": _WARMUP,
    "T_0": "T_max t_0 first_cycle_steps",
    "T_mult": "t_mul cycle_mult",
    "step_size": _PERIOD,
    "decay_steps": _PERIOD,
    "step_size_up": _PERIOD,
    "gamma": _FACTOR,
    "decay_rate": _FACTOR,
    "factor": _FACTOR,
    "milestones": "boundaries",
    "boundaries": "milestones",
    "schedulers": "schedules",
    "lr_lambda": "fn function schedule schedule_fn lambda_lr",
    "formula": "fn function schedule schedule_fn lr_lambda",
    "betas": "b1 b2 beta1 beta2",
    "eps": "epsilon",
    "weight_decay": "wd",
    "decay": "ema_decay layer_decay",
    "params": "model param_states weights",
    "threshold": "min_delta",
    "grad_clip_norm": "max_norm max_grad_norm clipnorm",
    "grad_clip_value": "clip_value clipvalue",
    "tx": "optimizer transform optax_tx",
}
"""Our arguments, and what they are called elsewhere; the first that a constructor has is meant."""

NOT_NEEDED = {
    "optimizer": "The optimizer takes the scheduler: SGD(lr=StepLR(0.1, step_size=30)).",
    "params": "The weights are registered: optimizer.register_trainable_weights(...).",
    "verbose": "Print get_last_lr() where you want to see it.",
}
"""What other libraries want and this one does not, and what is done instead."""

_NOAM = "InverseSqrtLR, with base_lr=(d_model * warmup_steps) ** -0.5"
_ELSEWHERE = {
    "AveragedModel": "AveragedWeights",
    "EMA": "AveragedWeights",
    "ExponentialMovingAverage": "AveragedWeights",
    "ema": "AveragedWeights",
    "param_groups_lrd": "layerwise_lr_decay",
    "MultiSteps": "accumulate_steps=... of an optimizer",
    "inject_hyperparams": "not needed: optimizers take schedulers as numbers, and hyperparams shows them",
    "lr_scheduler": "lrax itself, where the schedulers are: lrax.StepLR",
    "CosineDecay": "CosineAnnealingLR",
    "Noam": _NOAM,
    "NoamLR": _NOAM,
    "SGDR": "CosineAnnealingWarmRestarts",
    "CLR": "CyclicLR",
    "WarmupStableDecay": "WSDSchedule",
    "TrapezoidalLR": "WSDSchedule",
    "SWA": "AveragedWeights",
    "SWALR": "SequentialLR, with a CosineAnnealingLR in last place",
    "lr_find": "find_lr",
    "clip_grad_norm_": "grad_clip_norm=... of an optimizer",
    "clip_grad_value_": "grad_clip_value=... of an optimizer",
    "constant_schedule": "ConstantLR",
    "linear_schedule": "LinearLR",
    "exponential_decay": "ExponentialDecayLR",
    "polynomial_schedule": "PolynomialLR",
    "cosine_decay_schedule": "CosineAnnealingLR",
    "warmup_cosine_decay_schedule": "WarmupCosineSchedule",
    "cosine_onecycle_schedule": "OneCycleLR",
    "linear_onecycle_schedule": "OneCycleLR",
    "piecewise_constant_schedule": "PiecewiseConstantSchedule",
    "join_schedules": "SequentialLR",
    "sgdr_schedule": "CosineAnnealingWarmRestarts",
    "get_cosine_schedule_with_warmup": "WarmupCosineSchedule, or get_scheduler('cosine', ...)",
    "get_linear_schedule_with_warmup": "WSDSchedule, or get_scheduler('linear', ...)",
    "get_wsd_schedule": "WSDSchedule, or get_scheduler('warmup_stable_decay', ...)",
    "get_inverse_sqrt_schedule": "InverseSqrtLR, or get_scheduler('inverse_sqrt', ...)",
    "CosineScheduler": "CosineAnnealingLR, or WarmupCosineSchedule",
    "CosineLRScheduler": "CosineAnnealingLR, or CosineAnnealingWarmRestarts",
    "StepLRScheduler": "StepLR, with warmup as .with_warmup(...)",
    "MultiStepLRScheduler": "MultiStepLR, with warmup as .with_warmup(...)",
    "PlateauLRScheduler": "ReduceLROnPlateau",
    "PolyLRScheduler": "PolynomialLR",
    "TanhLRScheduler": "WSDSchedule, with decay='tanh'",
    "Momentum": "SGD, with momentum=...",
    "MomentumNesterov": "SGD, with momentum=... and nesterov=True",
}
_NEED_MORE = {"rprop", "scale_by_rprop", "lbfgs", "sophia"}
"""Optimizers of optax that keep their learning rate, or have to be given more in each step."""


def check_keywords(kind: Any, given: dict[str, Any], args: tuple[Any, ...]) -> None:
    """Refuse a keyword that the constructor of `kind` does not have, or has already, and say what is meant."""
    if not given.keys().isdisjoint(kind.parameters[: len(args)]):
        _refuse_twice(kind, given, args)
    for name in given:
        if name in kind.parameters:
            continue
        parameters = inspect.signature(kind.__init__).parameters.values()
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return
        raise unknown_keyword(kind, name, given[name])


def _refuse_twice(kind: Any, given: dict[str, Any], args: tuple[Any, ...]) -> None:
    parameters = inspect.signature(kind.__init__).parameters.values()
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    for name, value in zip(by_place, args, strict=False):
        if name in given:
            first = "params" if hasattr(kind, "register_trainable_weights") else "optimizer"
            fits = isinstance(value, numbers.Number) or callable(value)
            remedy = "Leave one of them out." if fits else NOT_NEEDED[first]
            raise TypeError(
                f"{kind.__name__} takes {name} once, got {value!r:.80} and {name}={given[name]!r:.80}. {remedy}"
            )


def other_names(argument: str) -> list[str]:
    """What one of our arguments is called elsewhere."""
    return _ARGUMENTS.get(argument, "").split()


def unknown_keyword(kind: Any, name: str, value: Any) -> TypeError:
    """The error of a constructor that has no such keyword."""
    meant = [ours for ours, theirs in _ARGUMENTS.items() if name in theirs.split()]
    meant = [ours for ours in meant if ours in kind.parameters]
    close = difflib.get_close_matches(name, kind.parameters, n=1, cutoff=0.85)
    if meant:
        remedy = f"It is called {meant[0]} here."
    elif close:
        remedy = f"Did you mean {close[0]}?"
    else:
        remedy = NOT_NEEDED.get(name, f"Its arguments are {', '.join(kind.parameters)}.")
        has_its_own = {"warmup", "pct_start", "steps"} & {*kind.parameters}
        if name in _WARMUP.split() and "last_epoch" in kind.parameters and not has_its_own:
            remedy += " A warmup goes in front of any schedule: schedule.with_warmup(5)."
    return TypeError(f"{kind.__name__} has no argument {name}, got {name}={value!r:.80}. {remedy}")


def unknown(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error of a module that has no such name."""
    text = f"module {module!r} has no attribute {name!r}"
    found = "" if name.startswith("_") else remedy(name, known)
    return AttributeError(f"{text}. {found}" if found else text)


def remedy(name: str, known: Iterable[str]) -> str:
    """What an unknown name is called here; nothing if nobody knows."""
    low, ours = name.lower(), {k.lower(): k for k in known}
    if low in ours:
        return f"It is called {ours[low]}."
    if name in _ELSEWHERE:
        return f"Here that is {_ELSEWHERE[name]}."
    optimizer = _in_optax(low)
    if optimizer is not None:
        return f"Any optimizer of optax is one here: lrax.OptaxOptimizer({optimizer})."
    meant = [ours[k] for k in _similar(low, [*ours])]
    return f"Did you mean {' or '.join(meant)}?" if meant else ""


def _similar(low: str, ours: list[str]) -> list[str]:
    """Those of our names, all in small letters, that are most like one: by their words before their letters."""
    word = _without_kind(low)
    same = [k for k in ours if _without_kind(k) == word]
    slips = difflib.get_close_matches(low, ours, n=1, cutoff=0.8)
    with_it = [k for k in ours if len(word) > 2 and word in k][:3]
    return same or slips or with_it or difflib.get_close_matches(low, ours, n=1)


def _without_kind(low: str) -> str:
    return low.removesuffix("lr").removesuffix("r").removesuffix("schedule")


def _needed(factory: Any) -> set[str]:
    """The arguments that have to be given, and the learning rate if there is one."""
    parameters = inspect.signature(factory).parameters
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    required = {n for n, p in parameters.items() if p.default is p.empty and p.kind in kinds}
    return required | (parameters.keys() & {"learning_rate"})


def _in_optax(name: str) -> str | None:
    """How an optimizer of optax is handed to OptaxOptimizer: as a function, unless it needs more than its rate."""
    for module in (optax, optax.contrib):
        found = getattr(module, name, None)
        if callable(found) and _needed(found) == {"learning_rate"}:
            alone = f"{module.__name__}.{name}(learning_rate)"
            return alone if name in _NEED_MORE else f"{module.__name__}.{name}, lr=..."
    return None
