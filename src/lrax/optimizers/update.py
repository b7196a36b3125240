"""One update of all weights, as a pure function: it refers to no optimizer and no weight."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._transfers import meant
from .._types import Leaf, Number, PyTree, Rates
from ..states.clock import LAST_EPOCH
from ..states.saving import copied
from .groups import Group
from .packing import Layout, Packed, pack, unpack
from .weights import as_gradient, refuse_complex, widened


@dataclasses.dataclass(frozen=True, eq=False)
class Update:
    """New weights and new optax states, from old ones, gradients and learning rates."""

    groups: tuple[Group, ...]
    transforms: tuple[optax.GradientTransformationExtraArgs, ...]
    """The optax transformation of each group."""

    layouts: tuple[Layout, ...]
    clip_norm: Number | None
    clip_value: Number | None
    descends: bool
    """Whether the transformations are complete optimizers: their updates are used as they are."""

    def __call__(
        self, grads: PyTree, values: dict[str, PyTree], opt: Packed, lrs: Rates, extra_args: Any
    ) -> tuple[dict[str, PyTree], Packed]:
        grads = self._clipped({name: _checked(name, grads[name], v) for name, v in values.items()})
        step_count, states = unpack(opt, self.layouts)
        new: dict[str, PyTree] = {}
        for i, (group, transform) in enumerate(zip(self.groups, self.transforms, strict=True)):
            weights = widened({name: values[name] for name in group.names})
            own = {name: grads[name] for name in group.names}
            updates, state = transform.update(own, states[i], weights, **extra_args)
            states[i] = _kept(state, states[i])
            if not self.descends:
                updates = jax.tree.map(functools.partial(_descend, lrs[i]), updates)
            new.update(optax.apply_updates(weights, updates))  # pyright: ignore
        new = jax.tree.map(lambda w, old: w.astype(jnp.result_type(old)), new, values)
        return new, pack(jnp.minimum(step_count, LAST_EPOCH - 1) + 1, states, self.layouts)

    def _clipped(self, grads: dict[str, PyTree]) -> dict[str, PyTree]:
        if self.clip_norm is not None:
            clip = optax.clip_by_global_norm(self.clip_norm)
            grads, _ = clip.update(grads, optax.EmptyState())  # type: ignore[assignment]
        if self.clip_value is not None:
            grads, _ = optax.clip(self.clip_value).update(grads, optax.EmptyState())  # type: ignore[assignment]
        return grads


def _checked(name: str, gradient: PyTree, weight: PyTree) -> PyTree:
    structure = jax.tree.structure(weight)
    if jax.tree.structure(gradient) != structure:
        raise ValueError(
            f"The gradient of {name!r} must have the structure of the weight, {structure}, "
            f"got {jax.tree.structure(gradient)}."
        )
    return jax.tree.map(functools.partial(as_gradient, name), gradient, weight)


def _descend(lr: Leaf, update: Leaf) -> Leaf:
    """``-lr * update``, in at least float32."""
    wide = jnp.promote_types(update.dtype, jnp.float32)
    return -lr.astype(wide) * update.astype(wide)


def _kept(new: PyTree, old: PyTree) -> PyTree:
    """The new optax state in the dtypes of the old one, whatever the gradients or extra arguments were."""
    leaves, structure = jax.tree.flatten(new)
    before, wanted = jax.tree.flatten(old)
    if structure != wanted:
        raise ValueError(
            f"tx.update must return a state like the one of tx.init, {wanted}, got {structure}."
        )
    return structure.unflatten(map(_like, leaves, before))


def _like(new: Leaf, old: Leaf) -> Leaf:
    dtype, wanted = jnp.result_type(new), jnp.result_type(old)
    inexact = jnp.issubdtype(wanted, jnp.inexact)
    fits = dtype == wanted or np.can_cast(dtype, wanted, "same_kind" if inexact else "safe")
    if np.shape(new) != np.shape(old) or not fits:
        raise ValueError(
            f"tx.update must return {wanted} of shape {np.shape(old)} where tx.init does, "
            f"got {dtype} of shape {np.shape(new)}."
        )
    return new if dtype == wanted else new.astype(wanted)


def checked_transformation(tx: Any) -> optax.GradientTransformation:
    if isinstance(tx, optax.MultiSteps):
        raise TypeError(
            "tx must be an optax.GradientTransformation, got an optax.MultiSteps. Pass its gradient_transformation()."
        )
    if isinstance(tx, tuple) and hasattr(tx, "init") and hasattr(tx, "update"):
        return tx  # pyright: ignore[reportReturnType]
    raise TypeError(f"tx must be an optax.GradientTransformation, got {tx!r}.")


def transform_of(
    group: Group, direction: Callable[[optax.GradientTransformation], optax.GradientTransformation]
) -> optax.GradientTransformationExtraArgs:
    """The transformation of a group, of which `direction` says where its weight decay belongs."""
    decay = optax.add_decayed_weights(group.weight_decay) if group.decays else optax.identity()
    return optax.with_extra_args_support(direction(decay))


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
    weights: PyTree,
    group: Group,
    tx: optax.GradientTransformation | None,
    clips: dict[str, Number | None],
) -> None:
    """Refuse weights of a group that could not be clipped, or decayed, as they are asked to."""
    if clips["grad_clip_value"] is not None:
        refuse_complex(weights)
    outside = {"weight_decay": group.decays, **{k: v is not None for k, v in clips.items()}}
    if tx is not None:
        _refuse_outside(tx, weights, [name for name, given in outside.items() if given])


def _refuse_outside(tx: optax.GradientTransformation, weights: PyTree, names: list[str]) -> None:
    """Refuse arguments of these `names` around a `tx` that leaves steps out: they would act at every one."""
    kinds = tuple(_SKIPPING)
    state = jax.eval_shape(tx.init, widened(weights)) if names else ()
    for part in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(part, kinds):
            raise ValueError(
                f"{names[0]} must be inside of {_SKIPPING[type(part)]}, since outside it would act at every step, also at "
                f"one that is left out. Wrap {_INSIDE[names[0]]} instead."
            )


def refuse_descent(tx: optax.GradientTransformation, weights: PyTree) -> None:
    """Refuse a `tx` that already descends: scaled by minus the learning rate it would ascend."""
    small = jax.tree.map(
        lambda leaf: jnp.zeros((1,) * jnp.ndim(leaf), jnp.result_type(leaf)), weights
    )
    tx = optax.with_extra_args_support(tx)
    grads = jax.tree.map(jnp.ones_like, small)
    total = 0.0
    try:
        state = tx.init(small)
        for _ in range(3):  # a schedule may begin at 0
            updates, state = tx.update(grads, state, small)
            total += sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(updates))
    except Exception:  # a tx that wants more than gradients cannot be tried out
        return
    if total < 0:
        raise ValueError(
            "tx must be a direction when lr=... is given (for example optax.scale_by_adam()), but this one already "
            "descends, and would ascend when scaled by -lr. Pass it without lr to use it as it is."
        )
