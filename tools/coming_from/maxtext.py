"""MaxText: a checkout of github.com/AI-Hypercomputer/maxtext."""

import enum
from pathlib import Path
from types import SimpleNamespace

from coming_from import case, definitions, revision

EPOCHS = 44
COMMON = {
    "learning_rate": 0.1,
    "learning_rate_final_fraction": 0.1,
    "learning_rate_schedule_steps": 40,
    "warmup_steps_fraction": 0.2,
    "steps": EPOCHS,
}
WSD = {"lr_schedule_type": "wsd", "wsd_decay_steps_fraction": 0.25}
CONFIGS = {
    "cosine": {"lr_schedule_type": "cosine"},
    "wsd_linear": {**WSD, "wsd_decay_style": "linear"},
    "wsd_cosine": {**WSD, "wsd_decay_style": "cosine"},
}


def version(checkout):
    return revision(checkout)


def cases(checkout):
    import jax.numpy as jnp
    import optax

    folder = Path(checkout, "src", "maxtext")
    types = definitions(
        folder / "configs" / "types.py",
        ["LearningRateScheduleType", "WsdDecayStyle"],
        **vars(enum),
    )
    name = "create_learning_rate_schedule"
    create = definitions(
        folder / "utils" / "maxtext_utils.py",
        [name],
        jnp=jnp,
        optax=optax,
        types=SimpleNamespace(**types),
    )[name]
    for key, given in CONFIGS.items():
        config = SimpleNamespace(**COMMON, **given)
        config.lr_schedule_type = types["LearningRateScheduleType"](config.lr_schedule_type)
        if "wsd_decay_style" in given:
            config.wsd_decay_style = types["WsdDecayStyle"](config.wsd_decay_style)
        text = ", ".join(f"{name}={value!r}" for name, value in {**COMMON, **given}.items())
        schedule = create(config)
        yield case(key, text, [schedule(t) for t in range(EPOCHS)])
