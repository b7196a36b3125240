"""Hugging Face transformers' ``get_scheduler``: ``pip install torch transformers``."""

import torch
from transformers import get_scheduler

from . import METRICS, case, installed

LINEAR = "'linear', optimizer, num_warmup_steps=3, num_training_steps=13"
CASES = {
    "constant": ("'constant', optimizer", 6),
    "constant_with_warmup": ("'constant_with_warmup', optimizer, num_warmup_steps=4", 8),
    "linear": (LINEAR, 16),
    "linear_without_warmup": (
        "'linear', optimizer, num_warmup_steps=0, num_training_steps=10",
        12,
    ),
    "cosine": ("'cosine', optimizer, num_warmup_steps=3, num_training_steps=13", 18),
    "cosine_two_waves": (
        "'cosine', optimizer, num_warmup_steps=3, num_training_steps=15, "
        "scheduler_specific_kwargs={'num_cycles': 2}",
        16,
    ),
    "cosine_with_restarts": (
        "'cosine_with_restarts', optimizer, num_warmup_steps=2, num_training_steps=14, "
        "scheduler_specific_kwargs={'num_cycles': 3}",
        18,
    ),
    "cosine_with_uneven_restarts": (
        "'cosine_with_restarts', optimizer, num_warmup_steps=2, num_training_steps=13, "
        "scheduler_specific_kwargs={'num_cycles': 2}",
        16,
    ),
    "polynomial": (
        "'polynomial', optimizer, num_warmup_steps=2, num_training_steps=10, "
        "scheduler_specific_kwargs={'lr_end': 0.01, 'power': 2.0}",
        14,
    ),
    "inverse_sqrt": ("'inverse_sqrt', optimizer, num_warmup_steps=3", 14),
    "inverse_sqrt_timescale": (
        "'inverse_sqrt', optimizer, num_warmup_steps=3, scheduler_specific_kwargs={'timescale': 7}",
        14,
    ),
    "cosine_with_min_lr": (
        "'cosine_with_min_lr', optimizer, num_warmup_steps=3, num_training_steps=13, "
        "scheduler_specific_kwargs={'min_lr_rate': 0.1}",
        14,
    ),
    "cosine_warmup_with_min_lr": (
        "'cosine_warmup_with_min_lr', optimizer, num_warmup_steps=4, num_training_steps=12, "
        "scheduler_specific_kwargs={'min_lr': 0.01}",
        12,
    ),
    "cosine_warmup_with_min_lr_rate": (
        "'cosine_warmup_with_min_lr', optimizer, num_warmup_steps=4, num_training_steps=12, "
        "scheduler_specific_kwargs={'min_lr_rate': 0.1, 'warmup_lr_rate': 0.2}",
        12,
    ),
    "warmup_stable_decay": (
        "'warmup_stable_decay', optimizer, num_warmup_steps=3, num_training_steps=14, "
        "scheduler_specific_kwargs={'num_decay_steps': 5}",
        17,
    ),
    "warmup_stable_decay_sqrt": (
        "'warmup_stable_decay', optimizer, num_warmup_steps=3, scheduler_specific_kwargs="
        "{'num_stable_steps': 4, 'num_decay_steps': 5, 'warmup_type': 'cosine', "
        "'decay_type': '1-sqrt', 'min_lr_ratio': 0.1}",
        15,
    ),
}
RISING_AND_FALLING = [round(5 - 0.4 * i, 3) for i in range(8)] + [3.0, 3.1] * 14
PLATEAUS = {
    "reduce_lr_on_plateau": (
        "'reduce_lr_on_plateau', optimizer, "
        "scheduler_specific_kwargs={'factor': 0.5, 'patience': 2, 'cooldown': 3}",
        METRICS,
    ),
    "greedy": (
        "'greedy', optimizer, scheduler_specific_kwargs={'factor': 0.8, 'patience': 2, "
        "'min_lr': 0.01, 'max_lr': 0.2, 'cooldown': 1, 'warmup': 1}",
        RISING_AND_FALLING,
    ),
    "greedy_reset": (
        "'greedy', optimizer, scheduler_specific_kwargs={'factor': 0.5, 'patience': 1, "
        "'min_lr': 0.02, 'max_lr': 0.2, 'reset_start': 4}",
        RISING_AND_FALLING,
    ),
    "greedy_smooth": (
        "'greedy', optimizer, scheduler_specific_kwargs={'factor': 0.8, 'patience': 2, "
        "'min_lr': 0.01, 'max_lr': 0.2, 'smooth': True, 'window_size': 4}",
        RISING_AND_FALLING,
    ),
}


def version(checkout):
    return installed("transformers")


def cases(checkout):
    for key, (arguments, epochs) in CASES.items():
        optimizer, scheduler = made(arguments)
        values = [optimizer.param_groups[0]["lr"]]
        for _ in range(epochs - 1):
            scheduler.step()
            values.append(optimizer.param_groups[0]["lr"])
        yield case(key, f"get_scheduler({arguments})", values)
    for key, (arguments, metrics) in PLATEAUS.items():
        optimizer, scheduler = made(arguments)
        values = []
        for metric in metrics:
            scheduler.step(metric)
            values.append(optimizer.param_groups[0]["lr"])
        yield case(key, f"get_scheduler({arguments})", values, metrics)


def made(arguments):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    optimizer.step()
    names = {"get_scheduler": get_scheduler, "optimizer": optimizer}
    return optimizer, eval(f"get_scheduler({arguments})", names)
