"""Transformations of optax: their states, and which of them cannot be used so."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .._checks import is_known, is_of_optax
from .._transfers import fetched, meant
from .._types import Leaf, PyTree, Scalar
from ..states.saving import copied
from .weights import refuse_complex, widened


def checked_transformation(tx: Any) -> optax.GradientTransformation:
    if isinstance(tx, optax.MultiSteps):
        raise TypeError(
            "tx must be an optax.GradientTransformation, got an optax.MultiSteps. Pass its gradient_transformation()."
        )
    if isinstance(tx, tuple) and is_of_optax(tx):
        return tx  # pyright: ignore[reportReturnType]
    remedy = " Pass the function itself: optax.lion." if isinstance(tx, str) else ""
    raise TypeError(f"tx must be an optax.GradientTransformation, got {tx!r:.200}.{remedy}")


def fits(transform: optax.GradientTransformation, weights: PyTree, state: PyTree) -> bool:
    """Whether that is how a state for these weights is built."""
    wanted = jax.eval_shape(transform.init, widened(weights))
    return jax.tree.structure(wanted) == jax.tree.structure(state)


def fresh_state(transform: optax.GradientTransformation, weights: PyTree) -> PyTree:
    """An optax state for these weights, of copies: a donating step must not give away what is needed again."""
    with meant():
        leaves, structure = jax.tree.flatten(transform.init(widened(weights)))
    for i, leaf in enumerate(leaves):  # one by one, for the sake of memory
        leaves[i] = copied(leaf)
    return structure.unflatten(leaves)


_SKIPPING = {
    optax.MultiStepsState: "optax.MultiSteps",
    optax.ApplyEvery: "optax.apply_every",
    optax.ApplyIfFiniteState: "optax.apply_if_finite",
    optax.ConditionallyTransformState: "optax.conditionally_transform",
    optax.ConditionallyMaskState: "optax.conditionally_mask",
}
"""What leaves out updates, by the state that shows it."""


_INSIDE = {
    "weight_decay": "optax.chain(direction, optax.add_decayed_weights(...))",
    "grad_clip_norm": "optax.chain(optax.clip_by_global_norm(...), direction)",
    "grad_clip_value": "optax.chain(optax.clip(...), direction)",
}


def check_weights(
    weights: dict[str, Leaf], transform: optax.GradientTransformation, outside: dict[str, bool]
) -> None:
    """Refuse weights that could not be clipped, or decayed, as they are asked to from `outside` of the transformation."""
    if outside["grad_clip_value"]:
        refuse_complex(weights)
    names = [name for name, given in outside.items() if given]
    kinds = tuple(_SKIPPING)
    state = jax.eval_shape(transform.init, widened(weights)) if names else ()
    for part in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(part, kinds):
            raise ValueError(
                f"{names[0]} must be inside of {_SKIPPING[type(part)]}, since outside it would act at every step, also at "
                f"one that is left out. Wrap {_INSIDE[names[0]]} instead."
            )


def refuse_descent(tx: optax.GradientTransformation, weights: PyTree) -> None:
    """Refuse a `tx` that already descends: scaled by minus the learning rate it would ascend."""
    there, back = _moved(tx, weights, 1.0), _moved(tx, weights, -1.0)
    if sum(there) < sum(back):  # by more than its noise
        raise ValueError(
            "tx must be a direction when lr=... is given (for example optax.scale_by_adam()), but this one already "
            "descends, and would ascend when scaled by -lr. Pass it without lr to use it as it is."
        )


def refuse_ascent(tx: optax.GradientTransformation, weights: PyTree) -> None:
    """Refuse a `tx` that is used as it is, and goes where gradients point: both ways, so not by its noise, and with all weights."""
    up = [way for way in _moved(tx, weights, 1.0) if way]
    if up and min(up) > 0 and max(_moved(tx, weights, -1.0)) <= 0:
        raise ValueError(
            "tx must descend when lr is left out, and then is used as it is, but this one ascends. Pass lr=... with a "
            "direction such as optax.scale_by_adam(); or negate the gradients, if something is to grow."
        )


def _moved(tx: optax.GradientTransformation, weights: PyTree, gradient: float) -> list[float]:
    """How far a transformation moves each weight, from 0 and by a few gradients of one number; 0 if that is unknown."""
    small = _small(jnp.zeros, weights)
    tx = optax.with_extra_args_support(tx)
    grads = jax.tree.map(lambda w: jnp.full_like(w, gradient), small)
    totals = [0.0] * len(jax.tree.leaves(small))
    try:
        state = tx.init(small)
        for _ in range(3):  # a schedule may begin at 0
            updates, state = tx.update(grads, state, small, **_sum_of(small))
            moves = [float(jnp.sum(leaf)) for leaf in jax.tree.leaves(updates)]
            totals = [total + move for total, move in zip(totals, moves, strict=True)]
    except Exception:  # a tx that wants more than gradients cannot be tried out
        return [0.0]
    return totals


def refuse_kept(
    name: str, transform: Callable[[float], optax.GradientTransformation], weights: PyTree
) -> None:
    """Refuse a transformation whose state begins with what a schedule gives, and keeps it."""
    small = _small(jnp.ones, weights)
    try:
        states = [jax.tree.leaves(transform(value).init(small)) for value in (0.5, 0.25)]
    except Exception:  # a tx that wants other weights cannot be tried out
        return
    if any(bool(jnp.any(a != b)) for a, b in zip(*states, strict=True)):  # keys cannot be fetched
        raise ValueError(
            f"{name} must be read by tx at every update, but this one keeps what it has at first. Pass the factory itself, "
            f"not optax.inject_hyperparams(factory); or, if it is the factory that reads it once (optax.rprop), what "
            f"it makes of a number, without {name}."
        )


def refuse_nan(
    transform: Callable[[float], optax.GradientTransformation], weights: PyTree, rate: Scalar
) -> None:
    """Refuse a first learning rate of 0 with which a transformation gives NaN, and with others not."""
    if not is_known(rate) or float(fetched(rate)) != 0:
        return
    small = _small(jnp.ones, weights)
    if _gives_nan(transform(0.0), small) and not _gives_nan(transform(1e-3), small):
        raise ValueError(
            "lr must not begin at 0 with this tx, which would give NaN. Begin the warmup above 0, for example with "
            "warmup_start_lr=1e-6."
        )


def _small(filled: Callable[..., Leaf], weights: PyTree) -> PyTree:
    """One number for each weight, to try a transformation out."""
    return jax.tree.map(lambda w: filled((1,) * jnp.ndim(w), jnp.result_type(w)), weights)


def _sum_of(weights: PyTree) -> dict[str, Any]:
    """What some transformations want beside gradients of ones."""

    def value_fn(tree: PyTree) -> Leaf:
        return sum((jnp.sum(jnp.real(leaf)) for leaf in jax.tree.leaves(tree)), jnp.float32(1))

    grad = jax.tree.map(jnp.ones_like, weights)
    return {"value": value_fn(weights), "grad": grad, "value_fn": value_fn}


def _gives_nan(transform: optax.GradientTransformation, weights: PyTree) -> bool:
    transform = optax.with_extra_args_support(transform)
    grads = jax.tree.map(jnp.ones_like, weights)
    try:
        state = transform.init(weights)
        for _ in range(2):
            updates, state = transform.update(grads, state, weights, **_sum_of(weights))
            weights = optax.apply_updates(weights, updates)
    except Exception:  # a tx that wants more than gradients cannot be tried out
        return False
    leaves: list[Any] = jax.tree.leaves(weights)
    return any(bool(jnp.any(jnp.isnan(leaf))) for leaf in leaves)
