"""timm.scheduler: ``pip install timm``."""

import torch
from timm import scheduler as library

from . import METRICS, case, installed

WARM = "warmup_t=3, warmup_lr_init=0.01"
PREFIX = f"{WARM}, warmup_prefix=True"
CYCLES = "cycle_decay=0.5, cycle_limit=3"
WSD = f"WSDLRScheduler(optimizer, t_initial=10, decay_t=4, lr_min=0.001, {WARM}"
CASES = {
    "cosine": (f"CosineLRScheduler(optimizer, t_initial=8, lr_min=0.001, {PREFIX})", 14),
    "cosine_no_prefix": (f"CosineLRScheduler(optimizer, t_initial=8, lr_min=0.001, {WARM})", 12),
    "cosine_k_decay": ("CosineLRScheduler(optimizer, t_initial=8, k_decay=1.5)", 12),
    "cosine_cycles": (
        f"CosineLRScheduler(optimizer, t_initial=5, lr_min=0.001, cycle_mul=2.0, {CYCLES})",
        40,
    ),
    "tanh": ("TanhLRScheduler(optimizer, t_initial=8, lr_min=0.001)", 12),
    "tanh_warmup": (f"TanhLRScheduler(optimizer, t_initial=8, lr_min=0.001, {PREFIX})", 14),
    "poly": (f"PolyLRScheduler(optimizer, t_initial=8, power=2.0, lr_min=0.001, {PREFIX})", 14),
    "poly_cycles": (f"PolyLRScheduler(optimizer, t_initial=5, power=2.0, {CYCLES})", 18),
    "step": (f"StepLRScheduler(optimizer, decay_t=4, decay_rate=0.5, {WARM})", 18),
    "multi_step": (f"MultiStepLRScheduler(optimizer, decay_t=[4, 8], decay_rate=0.5, {WARM})", 18),
    "wsd": (f"{WSD})", 16),
    "wsd_linear": (f"{WSD}, decay_fn='linear')", 16),
    "wsd_cosine": (f"{WSD}, decay_fn='cosine')", 16),
    "wsd_power": (f"{WSD}, decay_fn='power', decay_power=2.0)", 16),
    "wsd_exp": (f"{WSD}, decay_fn='exp')", 16),
    "wsd_rsqrt": (f"{WSD}, decay_fn='linear', stable_fn='rsqrt')", 16),
    "wsd_stable_power": (f"{WSD}, decay_fn='linear', stable_fn='power', stable_power=0.3)", 16),
}
PLATEAU = (
    f"PlateauLRScheduler(optimizer, decay_rate=0.5, patience_t=2, cooldown_t=3, mode='min', {WARM})"
)


def version(checkout):
    return installed("timm")


def cases(checkout):
    for key, (call, epochs) in CASES.items():
        optimizer, scheduler = made(call)
        values = []
        for t in range(epochs):
            scheduler.step(t)
            values.append(optimizer.param_groups[0]["lr"])
        yield case(key, call, values)
    optimizer, scheduler = made(PLATEAU)
    values = []
    for epoch, metric in enumerate(METRICS, start=1):  # it is stepped after the epoch
        scheduler.step(epoch, metric)
        values.append(optimizer.param_groups[0]["lr"])
    yield case("plateau", PLATEAU, values, METRICS)


def made(call):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return optimizer, eval(call, {**vars(library), "optimizer": optimizer})
