"""t5x: a checkout of github.com/google-research/t5x."""

from pathlib import Path

from coming_from import called, case, definitions, revision

EPOCHS = 48
BEGIN = "create_learning_rate_scheduler(base_learning_rate=0.5, "
CALLS = {
    "rsqrt": BEGIN + "factors='constant * linear_warmup * rsqrt_decay', warmup_steps=8)",
    "rsqrt_normalized": (
        BEGIN + "factors='constant * linear_warmup * rsqrt_normalized_decay', warmup_steps=8)"
    ),
    "linear_decay": BEGIN + "factors='linear_decay', warmup_steps=8, decay_factor=0.03125)",
    "decay_every": BEGIN + "factors='constant * decay_every', steps_per_decay=6)",
    "cosine": (
        BEGIN + "factors='constant * linear_warmup * cosine_decay', warmup_steps=8, "
        "steps_per_cycle=20)"
    ),
    "constant_offset": (
        BEGIN + "factors='constant * linear_warmup', warmup_steps=8, step_offset=10)"
    ),
}


def version(checkout):
    return revision(checkout)


def cases(checkout):
    import jax.numpy as jnp

    path = Path(checkout, "t5x", "utils.py")
    names = ["create_learning_rate_scheduler"]
    found = definitions(path, names, jnp=jnp, LearningRateCallable=object)
    for key, call in CALLS.items():
        schedule = called(call, found)
        yield case(key, call, [schedule(jnp.int32(t)) for t in range(EPOCHS)])
