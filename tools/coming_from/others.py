"""Six smaller ones, and OLMo-core. They need torch, jax and optax besides::

pip install warmup_scheduler pytorch_warmup pytorch-ignite fvcore pytorch_optimizer
pip install fiddle
pip install --no-deps praxis ai2-olmo-core dataclass-extensions
"""

import math
import sys
from unittest.mock import MagicMock

from coming_from import called, case, installed, module, sgd, stepped

EPOCHS = 40

DISTRIBUTIONS = [
    "warmup_scheduler",
    "pytorch_warmup",
    "pytorch-ignite",
    "fvcore",
    "pytorch_optimizer",
    "praxis",
    "ai2-olmo-core",
]


def version(checkout):
    return ", ".join(f"{name} {installed(name)}" for name in DISTRIBUTIONS)


def cases(checkout):
    yield from warmup_scheduler()
    yield from pytorch_warmup()
    yield from ignite()
    yield from fvcore()
    yield from pytorch_optimizer()
    yield from praxis()
    yield from olmo_core()


def warmup_scheduler():
    import torch
    import warmup_scheduler as found

    calls = {
        "gradual_warmup": "multiplier=1, total_epoch=5, after_scheduler=StepLR(optimizer, 8, 0.5)",
        "gradual_warmup_multiplier": (
            "multiplier=8, total_epoch=5, after_scheduler=ExponentialLR(optimizer, 0.9)"
        ),
        "gradual_warmup_alone": "multiplier=8, total_epoch=5",
    }
    for key, arguments in calls.items():
        optimizer, call = sgd(), f"GradualWarmupScheduler(optimizer, {arguments})"
        names = vars(torch.optim.lr_scheduler) | {"optimizer": optimizer}
        scheduler = called(call, found, names)
        yield case(key, call, stepped(scheduler, optimizer, EPOCHS))


class Dampened:
    """The inner scheduler's `step()` as pytorch_warmup asks for it."""

    def __init__(self, scheduler, warmup):
        self.scheduler, self.warmup = scheduler, warmup

    def step(self):
        with self.warmup.dampening():
            self.scheduler.step()


def pytorch_warmup():
    import pytorch_warmup as found
    import torch

    calls = {
        "dampened_linear": "LinearWarmup(optimizer, warmup_period=8)",
        "dampened_exponential": "ExponentialWarmup(optimizer, warmup_period=8)",
        "dampened_untuned_linear": "UntunedLinearWarmup(optimizer)",
        "dampened_radam": "RAdamWarmup(optimizer)",
    }
    for key, call in calls.items():
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.AdamW([parameter], lr=0.1, betas=(0.9, 0.95))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
        warmup = called(call, found, {"optimizer": optimizer})
        values = stepped(Dampened(cosine, warmup), optimizer, EPOCHS)
        yield case(key, f"{call} on CosineAnnealingLR(optimizer, T_max=40)", values)


def ignite():
    import ignite.handlers.param_scheduler as found
    import torch

    calls = {
        "ignite_linear_cyclical": (
            "LinearCyclicalScheduler(optimizer, 'lr', start_value=0.01, end_value=0.1, "
            "cycle_size=12)"
        ),
        "ignite_cosine": (
            "CosineAnnealingScheduler(optimizer, 'lr', start_value=0.1, end_value=0.01, "
            "cycle_size=12)"
        ),
        "ignite_cosine_cycles": (
            "CosineAnnealingScheduler(optimizer, 'lr', start_value=0.1, end_value=0.01, "
            "cycle_size=8, cycle_mult=2, start_value_mult=0.5)"
        ),
        "ignite_piecewise_linear": (
            "PiecewiseLinear(optimizer, 'lr', milestones_values=[(5, 0.01), (15, 0.1), (30, 0.0)])"
        ),
        "ignite_concat": (
            "ConcatScheduler([LinearCyclicalScheduler(optimizer, 'lr', start_value=0.1, "
            "end_value=0.5, cycle_size=20), CosineAnnealingScheduler(optimizer, 'lr', "
            "start_value=0.5, end_value=0.01, cycle_size=30)], durations=[10])"
        ),
        "ignite_warmup": (
            "create_lr_scheduler_with_warmup(ExponentialLR(optimizer, 0.9), "
            "warmup_start_value=0.0, warmup_duration=5, warmup_end_value=0.1)"
        ),
    }
    for key, call in calls.items():
        optimizer, values = sgd(), []
        names = {"optimizer": optimizer, "ExponentialLR": torch.optim.lr_scheduler.ExponentialLR}
        handler = called(call, found, names)
        for _ in range(EPOCHS):
            handler(None)
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        yield case(key, call, values)


def fvcore():
    import fvcore.common.param_scheduler as found

    calls = {
        "fvcore_cosine": "CosineParamScheduler(0.1, 0.001)",
        "fvcore_linear": "LinearParamScheduler(0.001, 0.1)",
        "fvcore_exponential": "ExponentialParamScheduler(0.1, 0.02)",
        "fvcore_polynomial": "PolynomialDecayParamScheduler(0.1, 0.9)",
        "fvcore_multi_step": (
            "MultiStepParamScheduler([0.1, 0.01, 0.001], num_updates=40, milestones=[20, 30])"
        ),
        "fvcore_step": "StepParamScheduler(40, [0.1, 0.05, 0.02, 0.01])",
        "fvcore_fixed_gamma": (
            "StepWithFixedGammaParamScheduler(0.1, num_decays=3, gamma=0.5, num_updates=40)"
        ),
        "fvcore_composite": (
            "CompositeParamScheduler([LinearParamScheduler(0.001, 0.1), "
            "CosineParamScheduler(0.1, 0.001)], lengths=[0.25, 0.75], "
            "interval_scaling=['rescaled', 'rescaled'])"
        ),
        "fvcore_composite_fixed": (
            "CompositeParamScheduler([LinearParamScheduler(0.001, 0.1), "
            "CosineParamScheduler(0.1, 0.001)], lengths=[0.25, 0.75], "
            "interval_scaling=['rescaled', 'fixed'])"
        ),
    }
    for key, call in calls.items():
        schedule = called(call, found)
        yield case(key, f"{call} at t / 40", [schedule(t / EPOCHS) for t in range(EPOCHS)])


def pytorch_optimizer():
    import pytorch_optimizer.lr_scheduler as found
    import torch

    warmup = "max_lr=0.1, min_lr=0.01, init_lr=0.02, warmup_steps=8)"
    before = {  # the first call of `step()` sets the first value
        "kozistr_linear": f"LinearScheduler(optimizer, t_max=40, {warmup}",
        "kozistr_cosine": f"CosineScheduler(optimizer, t_max=40, {warmup}",
    }
    for key, call in before.items():
        optimizer = sgd()
        scheduler = called(call, found, {"optimizer": optimizer})
        yield case(key, call, [scheduler.step() for _ in range(EPOCHS + 1)])
    wsd = "get_wsd_schedule(optimizer, 8, 20, 12, cooldown_type='{}')"
    after = {
        "kozistr_rex": "REXScheduler(optimizer, total_steps=40, max_lr=0.1, min_lr=0.01)",
        "kozistr_restarts": (
            "CosineAnnealingWarmupRestarts(optimizer, first_cycle_steps=16, max_lr=0.1, "
            "min_lr=0.01, warmup_steps=4, gamma=0.5)"
        ),
        "kozistr_restarts_mult": (
            "CosineAnnealingWarmupRestarts(optimizer, first_cycle_steps=10, cycle_mult=1.5, "
            "max_lr=0.1, min_lr=0.01, warmup_steps=4, gamma=0.5)"
        ),
        "kozistr_wsd_1sqrt": wsd.format("1-sqrt"),
        "kozistr_wsd_1square": wsd.format("1-square"),
        "kozistr_wsd_linear": wsd.format("linear"),
        "kozistr_wsd_cosine": wsd.format("cosine")[:-1] + ", min_lr_ratio=0.1)",
        "kozistr_chebyshev": "get_chebyshev_schedule(optimizer, num_epochs=16)",
    }
    for key, call in after.items():
        optimizer = sgd()
        scheduler = called(call, found, {"optimizer": optimizer})
        yield case(key, call, stepped(scheduler, optimizer, EPOCHS + 1))
    optimizer, values = sgd(), []
    names = {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)}
    call = "ProportionScheduler(scheduler, max_lr=0.1, min_lr=0.0, max_value=2.0, min_value=0.5)"
    proportion = called(call, found, names)
    for _ in range(EPOCHS):
        values.append(proportion.get_lr())
        optimizer.step()
        names["scheduler"].step()
        proportion.step()
    yield case("kozistr_proportion", f"{call} of CosineAnnealingLR(optimizer, T_max=40)", values)


def praxis():
    import jax.numpy as jnp

    # lingvo needs TensorFlow; of it only the name of a class is asked for.
    maps = MagicMock(NestedMap=type("NestedMap", (dict,), {}))
    sys.modules["lingvo"] = MagicMock()
    sys.modules["lingvo.core"] = MagicMock(nested_map=maps)
    sys.modules["lingvo.core.nested_map"] = maps
    found = module("praxis.schedules", ["clu", "clu.metrics", "tensorflow"])
    ramp = "warmup_steps=8, decay_start=20, decay_end=36, min_ratio=0.1, max=0.1"
    calls = {
        "praxis_polynomial": "Polynomial(power=2, start=(5, 0.1), limit=(35, 0.01))",
        "praxis_polynomial_limit": (
            "Polynomial(power=2, start=(5, 0.1), limit=(35, 0.01), origin='limit')"
        ),
        "praxis_linear": "Linear(start=(5, 0.1), limit=(35, 0.01))",
        "praxis_exponential": "Exponential(start=(5, 0.1), limit=(35, 0.001))",
        "praxis_cosine": "Cosine(initial_value=0.1, final_value=0.01, total_steps=30)",
        "praxis_delayed_cosine": "DelayedCosine(start=(5, 0.1), limit=(35, 0.01))",
        "praxis_ramp_polynomial": f"LinearRampupPolynomialDecay({ramp}, power=2)",
        "praxis_ramp_cosine": f"LinearRampupCosineDecay({ramp})",
        "praxis_ramp_exponential": f"LinearRampupExponentialDecay({ramp})",
        "praxis_piecewise_constant": "PiecewiseConstant(boundaries=[10, 25], values=[0.1, 0.05, 0.01])",
        "praxis_ramp_piecewise": "LinearRampupPiecewiseConstant(boundaries=[8, 20, 30], values=[0.1, 0.05, 0.01])",
        "praxis_transformer": "Transformer(warmup_steps=10, model_dim=64)",
        "praxis_sqrt": "SqrtDecay(decay_start=10, multiplier=0.3, offset=2.0)",
        "praxis_ramp_sqrt": "LinearRampupSqrtDecay(peak=0.1, warmup_steps=10)",
        "praxis_continuous": (
            "ContinuousSchedule(initial_value=0.1, start_step=8, half_life_steps=6, min=0.05)"
        ),
    }
    for key, call in calls.items():
        name, arguments = call.split("(", 1)
        schedule = called(f"{name}.config({arguments}.Instantiate()", found)
        yield case(key, call, [schedule.value_at(jnp.uint32(t)) for t in range(EPOCHS + 1)])


def olmo_core():
    found = module("olmo_core.optim.scheduler", ["cached_path", "olmo_core.nn.transformer"])
    warmup = "warmup=8, warmup_min_lr=0.01"
    stages = (
        "ComposableScheduler(stages=[ComposableSchedulerStage(duration=8, start_lr=0.0, "
        "end_lr_fraction=1.0), ComposableSchedulerStage(duration=16, shape='cosine', "
        "end_lr_fraction=0.5), ComposableSchedulerStage(duration=16, end_lr_fraction=0.2)]{})"
    )
    calls = {
        "olmo_constant_with_warmup": "ConstantWithWarmup(warmup=8)",
        "olmo_linear": f"LinearWithWarmup({warmup})",
        "olmo_cosine": f"CosWithWarmup({warmup})",
        "olmo_half_cosine": "HalfCosWithWarmup(warmup=8)",
        "olmo_inv_sqrt": f"InvSqrtWithWarmup({warmup})",
        "olmo_wsd": f"WSD({warmup}, decay=10, decay_fraction=None, decay_min_lr=0.005)",
        "olmo_power": "PowerLR(warmup=8, decay=10, decay_fraction=None, decay_min_lr=0.005)",
        "olmo_cosine_linear": (
            "CosWithWarmupAndLinearDecay(warmup=8, decay=10, decay_fraction=None)"
        ),
        "olmo_wsds": (
            "WSDS(period_lengths=[16, 12, 12], period_lr_multipliers=[1.0, 0.8, 0.6], warmup=4, "
            "decay=4, decay_min_lr=0.01)"
        ),
        "olmo_composable": stages.format(""),
        "olmo_override_decay": stages.format(
            ", override_decay=OverrideDecay(start=20, duration=10, end_lr=0.0)"
        ),
        "olmo_sequential": (
            "SequentialScheduler(schedulers=[CosWithWarmup(warmup=8, t_max=40), LinearWithWarmup("
            "warmup=0, alpha_f=0.0)], schedulers_max=[24])"
        ),
        "olmo_exponential": "ExponentialScheduler(lr_min=1e-4)",
    }
    for key, call in calls.items():
        schedule = called(call, found)
        values = [schedule.get_lr(0.1, t, EPOCHS) for t in range(EPOCHS + 1)]
        assert all(math.isfinite(value) for value in values)
        yield case(key, f"{call}.get_lr(0.1, t, 40)", values)
