"""torch.optim.lr_scheduler: ``pip install torch``."""

import torch as library
from torch.optim import lr_scheduler, swa_utils

from . import METRICS, case, installed

CASES = {
    "step": ("StepLR(optimizer, step_size=3, gamma=0.5)", 12),
    "multi_step": ("MultiStepLR(optimizer, milestones=[2, 5, 5, 9], gamma=0.5)", 12),
    "exponential": ("ExponentialLR(optimizer, gamma=0.9)", 12),
    "constant": ("ConstantLR(optimizer, factor=0.25, total_iters=3)", 8),
    "linear": ("LinearLR(optimizer, start_factor=0.2, end_factor=0.8, total_iters=5)", 9),
    "polynomial": ("PolynomialLR(optimizer, total_iters=6, power=1.7)", 10),
    "cosine": ("CosineAnnealingLR(optimizer, T_max=5, eta_min=0.01)", 24),
    "warm_restarts": (
        "CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2, eta_min=0.01)",
        24,
    ),
    "triangular": (
        "CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, step_size_up=3, step_size_down=6)",
        24,
    ),
    "triangular2": (
        "CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, step_size_up=4, mode='triangular2')",
        24,
    ),
    "exp_range": (
        "CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, step_size_up=4, mode='exp_range', gamma=0.9)",
        24,
    ),
    "one_cycle": ("OneCycleLR(optimizer, max_lr=0.5, total_steps=20)", 20),
    "one_cycle_linear": (
        "OneCycleLR(optimizer, max_lr=0.5, epochs=4, steps_per_epoch=5, anneal_strategy='linear')",
        20,
    ),
    "one_cycle_three_phase": (
        "OneCycleLR(optimizer, max_lr=0.5, total_steps=20, pct_start=0.4, three_phase=True)",
        20,
    ),
    "lambda": ("LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))", 12),
    "multiplicative": ("MultiplicativeLR(optimizer, lambda epoch: 0.9 + 0.01 * epoch)", 12),
    "sequential": (
        "SequentialLR(optimizer, [LinearLR(optimizer, start_factor=0.1, total_iters=4), "
        "CosineAnnealingLR(optimizer, T_max=8)], milestones=[4])",
        13,
    ),
    "chained": (
        "ChainedScheduler([ConstantLR(optimizer, factor=0.1, total_iters=5), "
        "ExponentialLR(optimizer, gamma=0.9)])",
        12,
    ),
    "swa": ("SWALR(optimizer, swa_lr=0.02, anneal_epochs=5)", 9),
    "swa_linear": ("SWALR(optimizer, swa_lr=0.3, anneal_epochs=4, anneal_strategy='linear')", 8),
}
PLATEAUS = {
    "plateau": "ReduceLROnPlateau(optimizer, factor=0.5, patience=2, cooldown=3)",
    "plateau_abs": (
        "ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.1, "
        "threshold_mode='abs', min_lr=0.02)"
    ),
}


def version(checkout):
    return installed("torch")


def cases(checkout):
    for key, (call, epochs) in CASES.items():
        optimizer, scheduler = made(call)
        values = [optimizer.param_groups[0]["lr"]]
        for _ in range(epochs - 1):
            scheduler.step()
            values.append(optimizer.param_groups[0]["lr"])
        yield case(key, call, values)
    for key, call in PLATEAUS.items():
        optimizer, scheduler = made(call)
        values = []
        for metric in METRICS:
            scheduler.step(metric)
            values.append(optimizer.param_groups[0]["lr"])
        yield case(key, call, values, METRICS)


def made(call):
    parameter = library.nn.Parameter(library.zeros(1))
    optimizer = library.optim.SGD([parameter], lr=0.1, momentum=0.9)
    optimizer.step()
    names = {**vars(lr_scheduler), "SWALR": swa_utils.SWALR, "optimizer": optimizer}
    return optimizer, eval(call, names)
