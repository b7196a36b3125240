"""nanotron: ``pip install torch`` and ``pip install --no-deps nanotron``."""

import math
from importlib import metadata
from types import SimpleNamespace

from coming_from import called, case, definitions, installed, sgd, stepped

EPOCHS, TOTAL = 48, 40
DEFAULTS = {"lr_decay_steps": None, "lr_decay_starting_step": None}
BEGIN = "LRSchedulerArgs(learning_rate=0.1, lr_warmup_steps=8, lr_warmup_style='linear', "
CALLS = {
    "linear": BEGIN + "lr_decay_style='linear', min_decay_lr=0.01)",
    "cosine": BEGIN + "lr_decay_style='cosine', min_decay_lr=0.01)",
    "wsd_linear": BEGIN
    + "lr_decay_style='linear', lr_decay_starting_step=28, lr_decay_steps=12, min_decay_lr=0.0)",
    "wsd_cosine": BEGIN
    + "lr_decay_style='cosine', lr_decay_starting_step=28, lr_decay_steps=12, min_decay_lr=0.01)",
    "constant_warmup": BEGIN.replace("linear", "constant")
    + "lr_decay_style='linear', min_decay_lr=0.01)",
}


def version(checkout):
    return installed("nanotron")


def cases(checkout):
    import torch

    # Its modules import each other in a circle: only the function itself.
    names = definitions(
        metadata.distribution("nanotron").locate_file("nanotron/helpers.py"),
        ["lr_scheduler_builder"],
        math=math,
        LambdaLR=torch.optim.lr_scheduler.LambdaLR,
        Optimizer=torch.optim.Optimizer,
        LRSchedulerArgs=object,
    )
    for key, call in CALLS.items():
        optimizer = sgd()
        given = called(call, {"LRSchedulerArgs": lambda **k: SimpleNamespace(**{**DEFAULTS, **k})})
        based = SimpleNamespace(get_base_optimizer=lambda optimizer=optimizer: optimizer)
        scheduler = names["lr_scheduler_builder"](based, given, TOTAL)
        values = stepped(scheduler, optimizer, EPOCHS)
        yield case(key, f"lr_scheduler_builder({call}, total_training_steps={TOTAL})", values)
