"""What a scheduler costs on the host: ``step()`` beside torch's, and ``scheduler(epoch)``."""

from collections.abc import Iterator

import brainstate
import jax.numpy as jnp
import numpy as np
from report import Row, limit
from timing import interleaved, median, shown

import lrax

try:
    import torch
    from torch.optim import lr_scheduler
except ImportError:
    torch = None

BASE, FAR = 0.1, 10**8


def pairs():
    """By name: our scheduler, and torch's for a torch optimizer."""
    T = lr_scheduler
    return {
        "StepLR": (lambda: lrax.StepLR(BASE, 30), lambda o: T.StepLR(o, 30)),
        "MultiStepLR": (lambda: lrax.MultiStepLR(BASE, [9, 90]), lambda o: T.MultiStepLR(o, [9, 90])),
        "ExponentialLR": (lambda: lrax.ExponentialLR(BASE, 0.999), lambda o: T.ExponentialLR(o, 0.999)),
        "CosineAnnealingLR": (lambda: lrax.CosineAnnealingLR(BASE, FAR), lambda o: T.CosineAnnealingLR(o, FAR)),
        "CosineAnnealingWarmRestarts": (
            lambda: lrax.CosineAnnealingWarmRestarts(BASE, 50),
            lambda o: T.CosineAnnealingWarmRestarts(o, 50),
        ),
        "PolynomialLR": (lambda: lrax.PolynomialLR(BASE, FAR, 0.9), lambda o: T.PolynomialLR(o, FAR, 0.9)),
        "LinearLR": (lambda: lrax.LinearLR(BASE, 0.1, 1.0, FAR), lambda o: T.LinearLR(o, 0.1, 1.0, FAR)),
        "ConstantLR": (lambda: lrax.ConstantLR(BASE, 0.5, FAR), lambda o: T.ConstantLR(o, 0.5, FAR)),
        "CyclicLR": (
            lambda: lrax.CyclicLR(BASE / 9, BASE, 50),
            lambda o: T.CyclicLR(o, BASE / 9, BASE, 50, cycle_momentum=False),
        ),
        "OneCycleLR": (
            lambda: lrax.OneCycleLR(BASE, total_steps=FAR),
            lambda o: T.OneCycleLR(o, BASE, total_steps=FAR, cycle_momentum=False),
        ),
        "LambdaLR": (
            lambda: lrax.LambdaLR(BASE, lambda t: 1 / (1 + t)),
            lambda o: T.LambdaLR(o, lambda t: 1 / (1 + t)),
        ),
        "SequentialLR": (
            lambda: lrax.SequentialLR([lrax.LinearLR(BASE, 0.1, 1.0, 9), lrax.CosineAnnealingLR(BASE, FAR)], [9]),
            lambda o: T.SequentialLR(o, [T.LinearLR(o, 0.1, 1.0, 9), T.CosineAnnealingLR(o, FAR)], [9]),
        ),
        "ChainedScheduler": (
            lambda: lrax.ChainedScheduler([lrax.LinearLR(BASE, 0.1, 1.0, 9), lrax.ExponentialLR(BASE, 0.999)]),
            lambda o: T.ChainedScheduler([T.LinearLR(o, 0.1, 1.0, 9), T.ExponentialLR(o, 0.999)]),
        ),
    }  # fmt: skip


def attached(scheduler, groups):
    """The scheduler, attached to an SGD with that many parameter groups."""
    weights = [brainstate.ParamState(jnp.zeros(1)) for _ in range(groups)]
    optimizer = lrax.SGD(lr=scheduler)
    optimizer.register_trainable_weights({"0": weights[0]})
    for i, weight in enumerate(weights[1:], start=1):
        optimizer.add_param_group({str(i): weight})
    return scheduler


def attached_torch(make, groups):
    weights = [torch.zeros(1, requires_grad=True) for _ in range(groups)]
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=BASE)
    optimizer.step()  # torch warns about a scheduler that is stepped first
    return make(optimizer)


def after_a_jitted_step(scheduler):
    """``step()``, and by itself the fetching of the clock that it begins with; what happens before each."""
    advance = lrax.jit(scheduler.step)
    clock = []

    def before():
        advance()
        clock[:] = [scheduler.last_epoch.value]
        np.asarray(clock[0])  # the wait

    before()
    return scheduler.step, lambda: np.asarray(clock[0]), before


def rows(rounds: int) -> Iterator[Row]:
    if torch is not None:
        for groups in (1, 10):
            for name, (ours, peer) in pairs().items():
                functions = {
                    "lrax": attached(ours(), groups).step,
                    "torch": attached_torch(peer, groups).step,
                }
                found = interleaved(functions, rounds=rounds)
                what = f"`{name}.step()`, {groups} group{'s' * (groups > 1)}"
                yield Row(what, found["lrax"], found["torch"], "torch", 2)
        for groups in (1, 10):
            ours, peer = pairs()["CosineAnnealingLR"]
            step, fetch, before = after_a_jitted_step(attached(ours(), groups))
            functions = {"lrax": step, "fetch": fetch, "torch": attached_torch(peer, groups).step}
            found = interleaved(
                functions, rounds=20 * rounds, calls=1, before=dict.fromkeys(functions, before)
            )
            what = f"`CosineAnnealingLR.step()`, {groups} group{'s' * (groups > 1)}, after a jitted step"
            note = f" (without the fetch of the clock, {shown(median(found['fetch']))})"
            yield Row(what, found["lrax"] - found["fetch"], found["torch"], "torch", 2, note=note)
    long = 20 * rounds  # what disturbs the machine does not disturb a limit
    for groups in (1, 10):
        plateau = attached(lrax.ReduceLROnPlateau(BASE), groups)
        found = interleaved({"lrax": lambda step=plateau.step: step(1.0)}, rounds=long)
        what = f"`ReduceLROnPlateau.step(1.0)`, {groups} group{'s' * (groups > 1)}"
        yield Row(what, found["lrax"], limit(10e-6), "limit", 1)
    for scheduler in (
        lrax.StepLR(BASE, 30),
        lrax.WarmupCosineSchedule(BASE, 100, FAR),
        pairs()["SequentialLR"][0]() if torch is not None else lrax.OneCycleLR(BASE, total_steps=FAR),
    ):  # fmt: skip
        found = interleaved({"lrax": lambda scheduler=scheduler: scheduler(5000)}, rounds=long)
        what = f"`scheduler(5000)`, {type(scheduler).__name__}"
        yield Row(what, found["lrax"], limit(10e-6), "limit", 1)
