"""MMEngine: ``pip install torch mmengine``."""

from coming_from import METRICS, called, case, installed, sgd, stepped

EPOCHS = 40
CALLS = {
    "step": "StepLR(optimizer, step_size=4, gamma=0.5)",
    "multi_step": "MultiStepLR(optimizer, milestones=[6, 10, 10], gamma=0.5)",
    "constant": "ConstantLR(optimizer, factor=0.25, end=6)",
    "exponential": "ExponentialLR(optimizer, gamma=0.9)",
    "linear": "LinearLR(optimizer, start_factor=0.1, end=6)",
    "cosine": "CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01)",
    "cosine_window": "CosineAnnealingLR(optimizer, eta_min_ratio=0.1, begin=5, end=25)",
    "poly": "PolyLR(optimizer, power=0.9, eta_min=0.001, end=31)",
    "one_cycle": "OneCycleLR(optimizer, eta_max=0.1, total_steps=40)",
    "one_cycle_three_phase": (
        "OneCycleLR(optimizer, eta_max=0.1, total_steps=40, three_phase=True, "
        "anneal_strategy='linear', div_factor=10, final_div_factor=100)"
    ),
    "cosine_restart": (
        "CosineRestartLR(optimizer, periods=[8, 12, 10], restart_weights=[1, 0.5, 0.25], "
        "eta_min=0.01)"
    ),
    "linear_momentum": "LinearMomentum(optimizer, start_factor=0.5, end=11)",
}
LISTS = {
    "warmup_multi_step": (
        "[LinearLR(optimizer, start_factor=0.001, begin=0, end=5), "
        "MultiStepLR(optimizer, milestones=[12, 18], gamma=0.1)]"
    ),
    "warmup_cosine": (
        "[LinearLR(optimizer, start_factor=0.001, begin=0, end=5), "
        "CosineAnnealingLR(optimizer, eta_min=0.001, begin=5, end=35)]"
    ),
}
PLATEAU = (
    "ReduceOnPlateauLR(optimizer, monitor='loss', factor=0.5, patience=2, cooldown=3, "
    "min_value=0.001)"
)


class Together:
    """Schedulers that a runner steps one after the other."""

    def __init__(self, schedulers):
        self.schedulers = schedulers

    def step(self):
        for scheduler in self.schedulers:
            scheduler.step()


def version(checkout):
    return installed("mmengine")


def cases(checkout):
    import mmengine.optim.scheduler as module

    for key, call in CALLS.items():
        optimizer = sgd()
        scheduler = called(call, module, {"optimizer": optimizer})
        field = "momentum" if "Momentum" in call else "lr"
        epochs = min(EPOCHS, getattr(scheduler, "total_steps", EPOCHS))
        yield case(key, call, stepped(scheduler, optimizer, epochs, field))
    for key, call in LISTS.items():
        optimizer = sgd()
        together = Together(called(call, module, {"optimizer": optimizer}))
        yield case(key, call, stepped(together, optimizer, EPOCHS))
    optimizer = sgd()
    scheduler, values = called(PLATEAU, module, {"optimizer": optimizer}), []
    for metric in METRICS:
        scheduler.step({"loss": metric})
        values.append(optimizer.param_groups[0]["lr"])
    yield case("plateau", PLATEAU, values, METRICS)
