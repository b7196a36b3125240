"""scenic: a checkout of github.com/google-research/scenic, and ``pip install ml_collections``."""

from pathlib import Path

from coming_from import called, case, revision

EPOCHS = 48
CALLS = {
    "cosine": "factors='constant*linear_warmup*cosine_decay', warmup_steps=8, steps_per_cycle=40",
    "cosine_restarts": (
        "factors='constant*cosine_decay', steps_per_cycle=6, t_mul=2.0, m_mul=0.5, alpha=0.1"
    ),
    "rsqrt": "factors='constant*linear_warmup*rsqrt_decay', warmup_steps=8, timescale=20",
    "rsqrt_cooldown": (
        "factors='constant*linear_warmup*rsqrt_decay*linear_cooldown', warmup_steps=8, "
        "timescale=20, total_steps=40, cooldown_steps=10"
    ),
    "polynomial": (
        "factors='constant*polynomial*linear_warmup', decay_steps=40, end_factor=0.1, power=2, "
        "warmup_steps=8, warmup_alpha=0.2"
    ),
    "linear_decay": (
        "factors='constant*linear_warmup*linear_decay', warmup_steps=8, total_steps=40, "
        "end_learning_rate=0.01"
    ),
    "piecewise_constant": (
        "factors='constant*piecewise_constant', decay_events=[12, 24], decay_factors=[0.5, 0.1]"
    ),
    "piecewise_linear": (
        "factors='constant*piecewise_linear', decay_events=[12, 24], decay_factors=[0.5, 0.1]"
    ),
    "decay_every": "factors='constant*decay_every', steps_per_decay=6, decay_factor=0.5",
    "exponential": "factors='constant*exponential_decay', decay_steps=10, decay_rate=0.5",
    "exponential_stairs": (
        "factors='constant*exponential_decay', decay_steps=10, decay_rate=0.5, staircase=True"
    ),
}


def version(checkout):
    return revision(checkout)


def cases(checkout):
    import jax.numpy as jnp
    import ml_collections

    names = {}
    path = Path(checkout, "scenic", "train_lib", "lr_schedules.py")
    exec(compile(path.read_text(), str(path), "exec"), names)
    for key, text in CALLS.items():
        call = f"dict(base_learning_rate=0.1, {text})"
        schedule = names["compound_lr_scheduler"](ml_collections.ConfigDict(called(call)))
        values = [schedule(jnp.int32(t)) for t in range(EPOCHS)]
        yield case(key, f"compound_lr_scheduler({call})", values)
