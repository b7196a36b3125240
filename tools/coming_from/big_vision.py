"""big_vision: a checkout of github.com/google-research/big_vision."""

from pathlib import Path

from coming_from import called, case, definitions, revision

EPOCHS = 40
BEGIN = f"create_learning_rate_schedule({EPOCHS}, base=0.1, "
CALLS = {
    "cosine": BEGIN + "decay_type='cosine', warmup_steps=8)",
    "linear": BEGIN + "decay_type='linear', linear_end=0.01, warmup_steps=8)",
    "polynomial": BEGIN + "decay_type='polynomial', power=2, end=0.01, warmup_steps=8)",
    "rsqrt": BEGIN + "decay_type='rsqrt', timescale=10, warmup_steps=8)",
    "rsqrt_shift": BEGIN + "decay_type='rsqrt', timescale=10, shift=5, warmup_steps=8)",
    "rsqrt_cooldown": BEGIN
    + "decay_type='rsqrt', timescale=10, warmup_steps=8, cooldown_steps=10)",
    "stair": BEGIN + "decay_type='stair', steps=[12, 24], mults=[0.1, 0.01], warmup_steps=8)",
    "batch_size": BEGIN
    + "decay_type='cosine', warmup_steps=8, batch_size=1024, scale_with_batchsize=True)",
}


def version(checkout):
    return revision(checkout)


def cases(checkout):
    import jax.numpy as jnp

    path = Path(checkout, "big_vision", "utils.py")
    found = definitions(path, ["create_learning_rate_schedule", "steps"], jnp=jnp)
    for key, call in CALLS.items():
        schedule = called(call, found)
        yield case(key, call, [schedule(t) for t in range(EPOCHS + 1)])
