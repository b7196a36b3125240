"""Schedulers of torch as schedulers of lrax. torch is never imported: what it made is read."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._checks import has
from .._types import Number, TorchScheduler
from ..formulas.schedule import spread
from ..schedulers import catalogue as ours
from ..schedulers.scheduler import LRScheduler
from ..states.saving import warn


def from_torch(torch_scheduler: TorchScheduler) -> LRScheduler:
    """A live scheduler of torch, composites included, as one of ours at the same epoch.

    It has the base learning rates of torch's parameter groups: a number for one group, else a list.
    torch's scheduler and its optimizer are only read. It warns if the two are at different learning
    rates now. Where ours differs:

    - CosineAnnealingLR holds `eta_min` after `T_max`; torch's rises again.
    - ChainedScheduler is the product of its members' factors; in torch a LambdaLR, warm restarts, a
      CyclicLR, a OneCycleLR, and a SequentialLR at its milestones discard what stands before them, and
      a cosine with ``eta_min > 0`` gives other values.
    - A learning rate that was changed by hand comes back to the schedule. LinearLR and ConstantLR with
      ``total_iters=0`` are at their end from epoch 0 on; torch's stay at their first factor.
    - ReduceLROnPlateau goes on from the current learning rates, with torch's counters and its best.
    - SWALR becomes a CosineAnnealingLR, or a PolynomialLR with power 1, towards its `swa_lr`.
    - OneCycleLR and CyclicLR have ``cycle_momentum=True`` if torch's have, and must not among others.
    - A OneCycleLR among other members sets in torch the learning rate that those start from; here
      each keeps its own.
    - CosineAnnealingWarmRestarts after ``step(3.5)`` is at epoch 3, the whole one before; between
      two epochs it is ``scheduler(3.5)``.

    Parameters
    ----------
    torch_scheduler : torch.optim.lr_scheduler.LRScheduler
        A scheduler of a class of torch itself, not of a subclass.

    Raises
    ------
    TypeError
        If it is something else, or has parameter groups that differ where ours must not, or is a
        ChainedScheduler of members at different epochs, or goes on in a composite from the learning
        rate it finds: SWALR, ReduceLROnPlateau, or a MultiplicativeLR that a SequentialLR comes to
        later.
    ValueError
        If it has an argument that ours refuses, such as a ``gamma`` below 0; the message names it.

    Examples
    --------
    ::

        scheduler = lrax.interop.from_torch(torch_scheduler)
        optimizer = lrax.SGD(lr=scheduler, momentum=0.9)
    """
    scheduler = _converted(torch_scheduler, "torch_scheduler", inside=False)
    _compare(torch_scheduler, scheduler)
    return scheduler


def _compare(theirs: Any, scheduler: LRScheduler) -> None:
    """Warn if the two are at different learning rates."""
    while type(theirs).__name__ == "ChainedScheduler":  # which may know no optimizer
        theirs = theirs._schedulers[0]
    given = [group["lr"] for group in theirs.optimizer.param_groups]
    rates, groups = [*map(float, given)], len(given)
    found = spread(tuple(map(float, scheduler.get_last_lr())), groups)
    # torch adds up rounding errors, in float32 where its rates are tensors.
    rounding = [1e-12 if isinstance(lr, float) else 1e-5 for lr in given]
    near = np.multiply(rounding, spread(scheduler.base_lrs, groups)) + 1e-37
    if not np.all(np.abs(np.subtract(found, rates)) <= 1e-3 * np.abs(rates) + near):
        warn(
            f"At epoch {scheduler.last_epoch.value} the learning rates of torch are {rates}, and those of the schedule are "
            f"{[*found]}. What differs is in the documentation of from_torch."
        )


def _converted(theirs: Any, name: str, inside: bool) -> LRScheduler:
    kind = type(theirs)
    if isinstance(theirs, LRScheduler):
        raise TypeError(
            f"{name} must be a scheduler of torch, got {theirs!r:.80}. It is one of lrax already."
        )
    if has(theirs, "param_groups"):
        raise TypeError(
            f"{name} must be a scheduler of torch, got a {kind.__name__}. Pass the scheduler, and not its optimizer."
        )
    if not any(base.__module__.startswith("torch.optim.") for base in kind.__mro__):
        if isinstance(theirs, dict):
            remedy = "A state dict is loaded into torch's scheduler: pass that."
        elif kind.__module__.startswith("transformers."):
            remedy = "One of transformers is made by lrax.get_scheduler(name, ...)."
        else:
            remedy = "A function of the epoch becomes a scheduler as lrax.LambdaLR(1.0, function)."
        raise TypeError(
            f"{name} must be a scheduler of torch.optim.lr_scheduler, got {theirs!r:.80}. {remedy}"
        )
    convert = _CLASSES.get(kind.__name__)
    if convert is None or not kind.__module__.startswith("torch.optim."):
        raise TypeError(
            f"{name} must be of a class that torch itself has, got {kind.__module__}.{kind.__qualname__}. "
            "Write it as a function of the epoch: lrax.LambdaLR(base_lr, function)."
        )
    if inside and kind.__name__ in ("SWALR", "ReduceLROnPlateau"):
        raise _goes_on(name, kind)
    if inside and getattr(theirs, "cycle_momentum", False):
        raise TypeError(
            f"{name} must have cycle_momentum=False among others, got a {kind.__name__} that has True, as by default. "
            "Make it with False, and give the optimizer of lrax the momentum: momentum=CyclicLR(...)."
        )
    return convert(theirs, 0 if inside else _epoch(theirs))


def _goes_on(name: str, kind: type) -> TypeError:
    return TypeError(
        f"{name} must be a scheduler that does not go on from the learning rate it finds, got a {kind.__name__}. "
        "Convert the others, and append it with with_cooldown() or SequentialLR."
    )


def _epoch(theirs: Any) -> int:
    if type(theirs).__name__ == "ChainedScheduler":  # which counts nothing
        return _epoch(theirs._schedulers[0])
    return theirs.last_epoch


def _per_group(values: Sequence[Any]) -> Any:
    """What one argument of ours takes: a list for several groups, the entry of a single one."""
    found = [value if callable(value) else float(value) for value in values]
    return found if len(found) > 1 else found[0]


def _same(theirs: Any, name: str, values: Sequence[Any], remedy: str) -> Number:
    """The value that all groups have."""
    if len(set(map(float, values))) > 1:
        raise TypeError(
            f"{name} of a {type(theirs).__name__} must be the same in all parameter groups, got {list(values)}. {remedy}"
        )
    return float(values[0])


def _momenta(theirs: Any, base: Sequence[Any], highest: Sequence[Any]) -> dict[str, Any]:
    remedy = (
        "Make it with cycle_momentum=False, and give each group of lrax its own: groups={pattern: "
        "{'momentum': scheduler}}."
    )
    return {
        "cycle_momentum": True,
        "base_momentum": _same(theirs, "base_momentum", base, remedy),
        "max_momentum": _same(theirs, "max_momentum", highest, remedy),
    }


def _in_groups(theirs: Any, name: str) -> list[Any]:
    return [group[name] for group in theirs.optimizer.param_groups]


def _plain(kind: Callable[..., LRScheduler], *names: str) -> Callable[[Any, int], LRScheduler]:
    """A class whose arguments are attributes of the same names in torch."""

    def convert(theirs: Any, epoch: int) -> LRScheduler:
        arguments = {name: getattr(theirs, name) for name in names}
        return kind(_per_group(theirs.base_lrs), **arguments, last_epoch=epoch)

    return convert


def _multi_step(theirs: Any, epoch: int) -> LRScheduler:
    milestones = sorted(theirs.milestones.elements())
    return ours.MultiStepLR(_per_group(theirs.base_lrs), milestones, theirs.gamma, epoch)


def _of_functions(kind: Callable[..., LRScheduler]) -> Callable[[Any, int], LRScheduler]:
    return lambda theirs, epoch: kind(
        _per_group(theirs.base_lrs), _per_group(theirs.lr_lambdas), epoch
    )


def _cyclic(theirs: Any, epoch: int) -> LRScheduler:
    up = round(theirs.total_size * theirs.step_ratio, 9)
    scale = theirs._scale_fn_custom
    momenta = {}
    if theirs.cycle_momentum:
        momenta = _momenta(theirs, theirs.base_momentums, theirs.max_momentums)
    return ours.CyclicLR(
        _per_group(theirs.base_lrs),
        _per_group(theirs.max_lrs),
        step_size_up=up,  # pyright: ignore[reportArgumentType]
        step_size_down=theirs.total_size - up,
        mode=theirs.mode if scale is None else "triangular",
        gamma=theirs.gamma,
        scale_fn=scale,
        scale_mode=theirs.scale_mode,
        last_epoch=epoch,
        **momenta,
    )


def _one_cycle(theirs: Any, epoch: int) -> LRScheduler:
    highest, first, last = (_in_groups(theirs, n) for n in ("max_lr", "initial_lr", "min_lr"))
    phases, momenta = theirs._schedule_phases, {}
    if theirs.cycle_momentum:
        momenta = _momenta(theirs, *(_in_groups(theirs, f"{n}_momentum") for n in ("base", "max")))
    return ours.OneCycleLR(
        _per_group(highest),
        theirs.total_steps,
        pct_start=round((phases[0]["end_step"] + 1) / theirs.total_steps, 14),
        anneal_strategy=theirs._anneal_func_type,
        div_factor=_factor(highest[0], first[0]),
        final_div_factor=_factor(first[0], last[0]),
        three_phase=len(phases) == 3,
        last_epoch=epoch,
        **momenta,
    )


def _factor(a: Any, b: Any) -> float:
    """By what torch has divided a, as it was written: without the last bits."""
    return float(f"{float(a) / float(b):.14g}") if b else 1.0


def _plateau(theirs: Any, epoch: int) -> LRScheduler:
    scheduler = ours.ReduceLROnPlateau(
        _per_group(_in_groups(theirs, "lr")),
        mode=theirs.mode,
        factor=theirs.factor,
        patience=theirs.patience,
        threshold=theirs.threshold,
        threshold_mode=theirs.threshold_mode,
        cooldown=theirs.cooldown,
        min_lr=_per_group(theirs.min_lrs),
        eps=theirs.eps,
    )
    state = scheduler.state_dict()
    state["last_epoch"] = epoch
    state["memory"]["0"] |= {
        "best": float(theirs.best),
        "num_bad_epochs": theirs.num_bad_epochs,
        "cooldown_counter": theirs.cooldown_counter,
    }
    scheduler.load_state_dict(state)
    return scheduler


def _swa(theirs: Any, epoch: int) -> LRScheduler:
    remedy = "Make a scheduler for each group: groups={pattern: {'lr': scheduler}}."
    target = _same(theirs, "swa_lr", _in_groups(theirs, "swa_lr"), remedy)
    length = max(1, theirs.anneal_epochs)
    done = min(1, epoch / length)
    if theirs._anneal_strategy == "cos":
        done = (1 - math.cos(math.pi * done)) / 2
    # It began with the learning rates that it found, which it does not keep.
    rates = theirs.base_lrs if done == 1 else _in_groups(theirs, "lr")
    share = 0.0 if done == 1 else done
    bases = _per_group([(float(rate) - share * target) / (1 - share) for rate in rates])
    if theirs._anneal_strategy == "cos":
        return ours.CosineAnnealingLR(bases, length, target, epoch)
    return ours.PolynomialLR(bases, length, 1.0, epoch, eta_min=target)


def _members(theirs: Any) -> list[LRScheduler]:
    found = enumerate(theirs._schedulers)
    return [_converted(member, f"schedulers[{i}]", inside=True) for i, member in found]


def _sequential(theirs: Any, epoch: int) -> LRScheduler:
    for i, member in enumerate(theirs._schedulers):
        if i > 0 and type(member).__name__ == "MultiplicativeLR":
            raise _goes_on(f"schedulers[{i}]", type(member))
    return ours.SequentialLR(_members(theirs), theirs._milestones, epoch)


def _chained(theirs: Any, epoch: int) -> LRScheduler:
    epochs = [*map(_epoch, theirs._schedulers)]
    if len({*epochs}) > 1:
        raise TypeError(
            f"schedulers of a ChainedScheduler must be at the same epoch, got {epochs}: a composite of lrax has one clock. "
            "Convert each, and write ChainedScheduler([a, b.delay(n)])."
        )
    return ours.ChainedScheduler(_members(theirs), epoch)


_CLASSES: dict[str, Callable[[Any, int], LRScheduler]] = {
    "StepLR": _plain(ours.StepLR, "step_size", "gamma"),
    "MultiStepLR": _multi_step,
    "ExponentialLR": _plain(ours.ExponentialLR, "gamma"),
    "ConstantLR": _plain(ours.ConstantLR, "factor", "total_iters"),
    "LinearLR": _plain(ours.LinearLR, "start_factor", "end_factor", "total_iters"),
    "PolynomialLR": _plain(ours.PolynomialLR, "total_iters", "power"),
    "CosineAnnealingLR": _plain(ours.CosineAnnealingLR, "T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": _plain(
        ours.CosineAnnealingWarmRestarts, "T_0", "T_mult", "eta_min"
    ),
    "LambdaLR": _of_functions(ours.LambdaLR),
    "MultiplicativeLR": _of_functions(ours.MultiplicativeLR),
    "CyclicLR": _cyclic,
    "OneCycleLR": _one_cycle,
    "ReduceLROnPlateau": _plateau,
    "SWALR": _swa,
    "SequentialLR": _sequential,
    "ChainedScheduler": _chained,
}
"""By the names of torch's classes: ours, at an epoch."""
