"""What a scheduler costs on the host: ``step()`` beside torch's, and ``scheduler(epoch)`` beside Python."""

import math
from collections.abc import Iterator

import brainstate
import jax.numpy as jnp
import numpy as np
from report import Measurement, Row
from timing import interleaved

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
        "LambdaLR": (
            lambda: lrax.LambdaLR(BASE, lambda t: 1 / (1 + t)),
            lambda o: T.LambdaLR(o, lambda t: 1 / (1 + t)),
        ),
        "MultiplicativeLR": (
            lambda: lrax.MultiplicativeLR(BASE, lambda t: 0.999),
            lambda o: T.MultiplicativeLR(o, lambda t: 0.999),
        ),
        "StepLR": (lambda: lrax.StepLR(BASE, 30), lambda o: T.StepLR(o, 30)),
        "MultiStepLR": (lambda: lrax.MultiStepLR(BASE, [9, 90]), lambda o: T.MultiStepLR(o, [9, 90])),
        "ConstantLR": (lambda: lrax.ConstantLR(BASE, 0.5, FAR), lambda o: T.ConstantLR(o, 0.5, FAR)),
        "LinearLR": (lambda: lrax.LinearLR(BASE, 0.1, 1.0, FAR), lambda o: T.LinearLR(o, 0.1, 1.0, FAR)),
        "ExponentialLR": (lambda: lrax.ExponentialLR(BASE, 0.999), lambda o: T.ExponentialLR(o, 0.999)),
        "SequentialLR": (
            lambda: lrax.SequentialLR([lrax.LinearLR(BASE, 0.1, 1.0, 9), lrax.CosineAnnealingLR(BASE, FAR)], [9]),
            lambda o: T.SequentialLR(o, [T.LinearLR(o, 0.1, 1.0, 9), T.CosineAnnealingLR(o, FAR)], [9]),
        ),
        "PolynomialLR": (lambda: lrax.PolynomialLR(BASE, FAR, 0.9), lambda o: T.PolynomialLR(o, FAR, 0.9)),
        "CosineAnnealingLR": (lambda: lrax.CosineAnnealingLR(BASE, FAR), lambda o: T.CosineAnnealingLR(o, FAR)),
        "ChainedScheduler": (
            lambda: lrax.ChainedScheduler([lrax.LinearLR(BASE, 0.1, 1.0, 9), lrax.ExponentialLR(BASE, 0.999)]),
            lambda o: T.ChainedScheduler([T.LinearLR(o, 0.1, 1.0, 9), T.ExponentialLR(o, 0.999)]),
        ),
        "ReduceLROnPlateau": (lambda: lrax.ReduceLROnPlateau(BASE), lambda o: T.ReduceLROnPlateau(o)),
        "CyclicLR": (
            lambda: lrax.CyclicLR(BASE / 9, BASE, 50),
            lambda o: T.CyclicLR(o, BASE / 9, BASE, 50, cycle_momentum=False),
        ),
        "CosineAnnealingWarmRestarts": (
            lambda: lrax.CosineAnnealingWarmRestarts(BASE, 50),
            lambda o: T.CosineAnnealingWarmRestarts(o, 50),
        ),
        "OneCycleLR": (
            lambda: lrax.OneCycleLR(BASE, total_steps=FAR),
            lambda o: T.OneCycleLR(o, BASE, total_steps=FAR, cycle_momentum=False),
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
    scheduler = make(optimizer)
    optimizer.step()  # torch warns about a scheduler that is stepped first
    return scheduler


def beside_torch(seed: int) -> Iterator[Measurement]:
    """Steps in a row, and each after a jitted step, whose clock has to be fetched from the device."""
    if torch is None:
        return
    for name, (ours, theirs) in pairs().items():
        for groups in (1, 10):
            scheduler, peer = attached(ours(), groups), attached_torch(theirs, groups)
            if (
                name == "ReduceLROnPlateau"
            ):  # the metric never improves on its first value, and nothing is reduced
                metric, bound = (1.0,), 5.0
            else:
                metric, bound = (), 1.25
            steps = {
                "lrax": lambda step=scheduler.step, metric=metric: step(*metric),
                "torch": lambda step=peer.step, metric=metric: step(*metric),
            }
            jitted = lrax.jit(scheduler.step)

            def after_jitted(_, jitted=jitted, scheduler=scheduler, metric=metric):
                jitted(*metric)
                return scheduler.last_epoch.value

            what = f"`{name}.step({'1.0' if metric else ''})`, {groups} group{'s' * (groups > 1)}"

            def measure(what=what, steps=steps, before=after_jitted, bound=bound) -> list[Row]:
                row = interleaved(steps, seconds=0.1)
                single = interleaved(steps, seconds=0.1, calls=1, before=before)
                return [
                    Row(what, f["lrax"], f["torch"], "torch", bound, way=way)
                    for way, f in (("in a row", row), ("after a jitted step", single))
                ]

            yield measure


# Formulas of optax, with Python's numbers in place of arrays.


def exponential_decay(base, transition_steps, rate, begin=0, staircase=False, end=None):
    def schedule(count):
        passed = count - begin
        power = passed / transition_steps
        power = math.floor(power) if staircase else power
        decayed = base if passed <= 0 else base * rate**power
        return decayed if end is None else max(decayed, end)

    return schedule


def polynomial_schedule(base, end, power, transition_steps, begin=0):
    def schedule(count):
        passed = min(max(count - begin, 0), transition_steps)
        return (base - end) * (1 - passed / transition_steps) ** power + end

    return schedule


def cosine_decay_schedule(base, decay_steps, alpha=0.0, exponent=1.0):
    def schedule(count):
        cosine = 0.5 * (1 + math.cos(math.pi * min(count, decay_steps) / decay_steps))
        return base * ((1 - alpha) * cosine**exponent + alpha)

    return schedule


def join_schedules(schedules, boundaries):
    def schedule(count):
        found = schedules[0](count)
        for boundary, other in zip(boundaries, schedules[1:], strict=True):
            found = found if count < boundary else other(count - boundary)
        return found

    return schedule


def formulas():
    """By name: our scheduler, and its formula."""
    line, cosine = polynomial_schedule(0.0, BASE, 1, 100), cosine_decay_schedule(BASE, FAR)
    return {
        "StepLR": (lrax.StepLR(BASE, 3000), exponential_decay(BASE, 3000, 0.1, staircase=True)),
        "ExponentialLR": (lrax.ExponentialLR(BASE, 0.9999), exponential_decay(BASE, 1, 0.9999)),
        "PolynomialLR": (lrax.PolynomialLR(BASE, FAR, 0.9), polynomial_schedule(BASE, 0.0, 0.9, FAR)),
        "CosineAnnealingLR": (lrax.CosineAnnealingLR(BASE, FAR), cosine),
        "WarmupCosineSchedule": (
            lrax.WarmupCosineSchedule(BASE, 100, FAR + 100),
            join_schedules([line, cosine], [100]),
        ),
        "SequentialLR": (
            lrax.SequentialLR([lrax.WarmupScheduler(BASE, 100), lrax.CosineAnnealingLR(BASE, FAR)], [100]),
            join_schedules([line, cosine], [100]),
        ),
    }  # fmt: skip


def beside_python(seed: int) -> Iterator[Measurement]:
    for name, (scheduler, formula) in formulas().items():
        np.testing.assert_allclose(scheduler(5000), formula(5000), rtol=1e-6)

        def measure(name=name, scheduler=scheduler, formula=formula) -> list[Row]:
            functions = {"lrax": lambda: scheduler(5000), "python": lambda: formula(5000)}
            found = interleaved(functions, seconds=0.4)
            what, peer = f"`scheduler(5000)`, {name}", "optax's formula in Python"
            return [Row(what, found["lrax"], found["python"], peer, 3)]

        yield measure
