"""What a train step costs with lrax, beside hand-written JAX and beside braintools."""

import itertools
from collections.abc import Iterator

import brainstate
import jax
from models import MANY_STATES, MLP, MODELS, Model, drawn, mlp
from report import Measurement, Row, number
from timing import interleaved
from two_ways import (
    OPTIMIZERS,
    PEER,
    SMALL,
    Step,
    by_hand,
    check_that_they_agree,
    held,
    lrax_parts,
    megabytes,
    optax_parts,
    state_step,
    states_of,
    with_rate,
    with_states,
)

import lrax

try:
    import braintools
except ImportError:
    braintools = None

WHERE = ("inside", "outside")


def small_models(seed: int) -> Iterator[Measurement]:
    for model, optimizer in itertools.product([*MODELS, *drawn(seed)], SMALL):
        yield beside_by_hand(model, optimizer, bound=1.05, extra=10e-6)


def many_states(seed: int) -> Iterator[Measurement]:
    for optimizer in OPTIMIZERS:
        yield beside_by_hand(MANY_STATES, optimizer, bound=0.7, extra=0, seconds=1.5, calls=10)


def beside_by_hand(
    model: Model,
    optimizer: str,
    *,
    bound: float,
    extra: float,
    seconds: float = 0.4,
    calls: int | None = None,
) -> Measurement:
    """Steps in a row, and steps whose losses are waited for one by one.

    Beside a scheduler that is stepped outside stands a step that is handed its learning rate.
    """
    steps = {
        ("by hand", "inside"): by_hand(model, optimizer),
        ("by hand", "outside"): with_rate(model, optimizer),
    }
    for where in WHERE:
        parts = lrax_parts(model, optimizer)
        steps["lrax", where] = with_states(model, parts, inside=where == "inside")
    check_that_they_agree(steps)

    def waiting(step: Step) -> Step:
        return lambda: step().block_until_ready()

    def measure() -> list[Row]:
        rows = []
        for way, functions in (
            ("in a row", steps),
            ("one by one", {name: waiting(step) for name, step in steps.items()}),
        ):
            found = interleaved(functions, seconds=seconds, turn=1e-2, calls=calls, block=True)
            for where in WHERE:
                times = found["lrax", where], found["by hand", where]
                how = f"{way}, scheduler stepped {where}"
                rows.append(Row(f"step of {model}, {optimizer}", *times, PEER, bound, extra, how))
        return rows

    return measure


def in_groups(model: Model, scheduled: bool) -> tuple:
    """States, optimizer and scheduler with four groups, and with a weight decay and a beta1 that are `scheduled`."""
    states = states_of(model)
    scheduler = lrax.WarmupCosineSchedule(1e-3, warmup_steps=100, total_steps=100_000)
    decay, beta1 = 1e-4, 0.9
    if scheduled:
        decay = lrax.CosineAnnealingLR(decay, T_max=100_000)
        beta1 = lrax.LinearLR(beta1, start_factor=0.9, end_factor=1.0, total_iters=100)
    groups = {p: {"lr_scale": 0.5 + 0.1 * i} for i, p in enumerate(("^w0", "^b0", "^b"))}
    optimizer = lrax.AdamW(lr=scheduler, betas=(beta1, 0.999), weight_decay=decay, groups=groups)
    optimizer.register_trainable_weights(states)
    return states, optimizer, scheduler


def hyperparameters(seed: int) -> Iterator[Measurement]:
    """Two hyper-parameters that follow schedules, in four groups, beside numbers in their place."""
    for model in (MLP, mlp("MLP", 25, 32)):
        functions = {
            (kind, where): with_states(
                model, in_groups(model, kind == "schedules"), inside=where == "inside"
            )
            for kind in ("numbers", "schedules")
            for where in WHERE
        }

        def measure(model=model, functions=functions) -> list[Row]:
            found = interleaved(functions, seconds=1.5, turn=1e-2, block=True)
            return [
                Row(
                    f"step of {model}, AdamW, 4 groups, 2 schedules",
                    found["schedules", where],
                    found["numbers", where],
                    "numbers in their place",
                    1.05,
                    way=f"scheduler stepped {where}",
                )
                for where in WHERE
            ]

        yield measure


def peak_memory(seed: int) -> Iterator[Measurement]:
    """Bytes that a step holds at once."""
    model = mlp("MLP", 4, 1024)
    step, carried = optax_parts(model, "AdamW")
    hand = jax.jit(step, donate_argnums=(0, 1)).lower(*carried, model.x, model.y)
    ours = {
        donate: lrax.jit(state_step(model, *lrax_parts(model, "AdamW")), donate=donate)
        for donate in (True, False)
    }
    peak = {donate: number(held(s.lower(model.x, model.y).compile())) for donate, s in ours.items()}
    by_hand = number(held(hand.compile()))
    size = sum(weight.nbytes for weight in carried[0].values())
    least = number(4 * size)
    what = f"peak memory of a step, {megabytes(size)} of weights"
    yield lambda: [
        Row(f"{what}: `lrax.jit`", peak[True], by_hand, PEER, 1.01, show=megabytes),
        Row(f"{what}: `lrax.jit`, least", peak[True], least, "weights, 2 moments, gradients", show=megabytes),
        Row(f"{what}: `donate=False`", peak[False], by_hand, PEER, show=megabytes),
    ]  # fmt: skip


def braintools_parts(model: Model) -> tuple:
    states, optim = states_of(model), braintools.optim
    scheduler = optim.WarmupCosineSchedule(1e-3, warmup_steps=100, total_steps=100_000)
    optimizer = optim.AdamW(lr=scheduler, weight_decay=1e-4)
    optimizer.register_trainable_weights(states)
    return states, optimizer, scheduler


def other_ways(seed: int) -> Iterator[Measurement]:
    """In brainstate's jit, and outside of any."""
    model, jit = mlp("MLP", 25, 32), brainstate.transform.jit
    grads = model.weights()
    jitted, eager = lrax_parts(model, "AdamW")[1], lrax_parts(model, "AdamW")[1]
    step = lrax.jit(jitted.step)
    eagerly = {"lrax": lambda: eager.step(grads), "jitted": lambda: step(grads)}
    compiled = {"lrax": with_states(model, lrax_parts(model, "AdamW"), jit)}
    if braintools is not None:
        other = braintools_parts(model)[1]
        eagerly["braintools"] = lambda: other.step(grads)
        compiled["braintools"] = with_states(model, braintools_parts(model), jit)

    def measure() -> list[Row]:
        found = interleaved(eagerly, seconds=2, block=True)
        what = f"`optimizer.step(grads)` of {model} outside jit"
        rows = [Row(what, found["lrax"], found["jitted"], "the same in `lrax.jit`", 2)]
        if braintools is not None:
            what += ", beside braintools"
            rows.append(Row(what, found["lrax"], found["braintools"], "braintools", 1))
            found = interleaved(compiled, seconds=1, turn=1e-2, block=True)
            what = f"step of {model}, AdamW, in `brainstate.transform.jit`"
            rows.append(Row(what, found["lrax"], found["braintools"], "braintools", 1))
        return rows

    yield measure
