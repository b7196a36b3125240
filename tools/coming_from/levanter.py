"""Levanter: ``pip install --pre --no-deps marin-levanter`` and ``pip install jax optax draccus``."""

import dataclasses

from coming_from import called, case, installed, module

EPOCHS = 44
SHELLS = [
    "equinox",
    "haliax",
    "levanter.tracker",
    "levanter.optim.clip_update_norm",
    "levanter.optim.skipstep",
    "levanter.optim.util",
    "levanter.utils.jax_utils",
]
BEGIN = "AdamConfig(learning_rate=0.1, warmup=8, "
CALLS = {
    "constant": BEGIN + "lr_schedule='constant')",
    "cosine": BEGIN + "lr_schedule='cosine')",
    "cosine_exponent": BEGIN + "lr_schedule=CosineLrSchedule(exponent=2.0))",
    "linear": BEGIN + "lr_schedule='linear')",
    "wsd": BEGIN + "lr_schedule='linear', decay=0.25, min_lr_ratio=0.0)",
    "polynomial": BEGIN + "lr_schedule=PolynomialLrSchedule(power=2.0))",
    "inv_sqrt": BEGIN + "lr_schedule=InvSqrtLrSchedule(timescale=12))",
    "inv_sqrt_decay": BEGIN + "lr_schedule=InvSqrtDecayLrSchedule(decay_constant=28.6))",
    "inv": BEGIN + "lr_schedule='inv')",
    "power": (
        "AdamConfig(learning_rate=0.1, warmup=8, "
        "lr_schedule=PowerLrSchedule(batch_size=4, seq_length=1024))"
    ),
    "cycles": BEGIN + "lr_schedule='cosine', cycles=2, rewarmup=4)",
    "cycle_lengths": BEGIN + "lr_schedule='linear', cycle_length=[16, 24], decay=4)",
}


def version(checkout):
    return installed("marin-levanter")


def cases(checkout):
    import numpy as np

    found = module("levanter.optim.config", SHELLS)
    for key, call in CALLS.items():
        config = called(call, found)
        assert dataclasses.is_dataclass(config)
        schedule = config.lr_scheduler(40)
        yield case(
            key, f"{call}.lr_scheduler(40)", [schedule(np.float32(t)) for t in range(EPOCHS)]
        )
