"""One update of all weights, as a pure function: it refers to no optimizer and no weight."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._transfers import meant
from .._types import Function, Leaf, PyTree, Rates
from ..states.clock import LAST_EPOCH
from .groups import Group
from .nested import Keys, on_nested
from .packing import Layout, Packed, pack, unpack
from .recipe import OUTSIDE, Recipe
from .weights import as_gradient, widened

OBJECTIVES = ("value_fn", "obj_fn")
"""The arguments of an optax update that are functions of the weights."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Weights of one group whose states began at the same time."""

    group: int
    leaves: tuple[str, ...]
    """Their paths."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where what is scheduled is published, behind the learning rates."""

    groups: tuple[Mapping[str, int], ...] = ()
    """For each group, by the name of the hyper-parameter."""

    clip_norm: int | None = None

    def used(self, name: str, group: int, own: Any, columns: Rates) -> Any:
        """What is published of a hyper-parameter of a group; its own number if nothing is."""
        place = self.groups[group].get(name)
        return own if place is None else columns[place]


@dataclasses.dataclass(frozen=True, eq=False)
class Counting:
    """Which gradients make an update, and what is kept of them."""

    every: int = 1
    """The number of gradients that are averaged."""

    skips: bool = False
    """Whether one with NaN or inf is left out."""

    norm: bool = False
    """Whether the global norm is kept."""

    @property
    def always(self) -> bool:
        """Whether each gradient makes an update."""
        return self.every == 1 and not self.skips

    def begin(self, weights: Mapping[str, Leaf]) -> tuple[list[Leaf], dict[str, Any]]:
        """The counters, and what is kept beside the states, for a training that begins."""
        beside: dict[str, Any] = {}
        if self.every > 1:
            with meant():
                beside["means"] = jax.tree.map(jnp.zeros_like, widened(weights))
        if self.norm:
            beside["norm"] = np.float32(0)
        return [np.int32(0)] * (1 if self.always else 3), beside


@dataclasses.dataclass(frozen=True, eq=False)
class Update:
    """New weights and new optax states, from old ones, gradients and what is published."""

    recipe: Recipe
    groups: tuple[Group, ...]
    parts: tuple[Part, ...]
    layouts: tuple[Layout, ...]
    """Those of the optax state of each part."""

    leaves: Mapping[str, Keys]
    """Those of each State: the keys that lead to each, by its path."""

    places: Places
    clip_norm: Any
    counting: Counting
    descends: bool
    """Whether the transformations are complete optimizers: their updates are used as they are."""

    @functools.cached_property
    def trained_states(self) -> tuple[str, ...]:
        """The names of the States with a trained leaf."""
        return tuple(name for name, own in self.leaves.items() if self.trained & {*own})

    @property
    def any_columns(self) -> np.ndarray:
        """In place of what is published where it does not matter: numbers in all ranges."""
        behind = [place for own in self.places.groups for place in own.values()]
        last = max([len(self.groups) - 1, self.places.clip_norm or 0, *behind])
        return np.full(last + 1, 0.5, np.float32)

    @functools.cached_property
    def keys(self) -> Keys:
        return {path: keys for own in self.leaves.values() for path, keys in own.items()}

    @functools.cached_property
    def trained(self) -> frozenset[str]:
        return frozenset(path for group in self.groups for path in group.leaves)

    def outside(self, group: int) -> dict[str, bool]:
        """What is done to the gradients of a group around the transformation."""
        own = self.groups[group]
        return {
            "weight_decay": own.decays and self.recipe.ours,
            "grad_clip_norm": self.clip_norm is not None,
            "grad_clip_value": own.clips,
        }

    def transform(self, group: int, columns: Rates) -> optax.GradientTransformationExtraArgs:
        """The transformation of a group."""
        own = self.groups[group].values
        arguments = {k: v for k, v in own.items() if k not in OUTSIDE}
        arguments |= {
            k: columns[place] for k, place in self.places.groups[group].items() if k not in OUTSIDE
        }
        if self.recipe.takes_lr:
            arguments["learning_rate"] = columns[group]
        tx = optax.with_extra_args_support(self.recipe.build(**arguments))
        return on_nested(tx, self.keys, OBJECTIVES) if self.recipe.foreign else tx

    def with_column(
        self, group: int, place: int, value: float
    ) -> optax.GradientTransformationExtraArgs:
        """The transformation of a group with one published number that is known, as an array like those of a step."""
        columns = self.any_columns
        columns[place] = value
        return self.transform(group, jnp.asarray(columns))

    def __call__(
        self,
        grads: PyTree,
        values: dict[str, PyTree],
        opt: Packed,
        columns: Rates,
        extra_args: dict[str, Any],
    ) -> tuple[dict[str, PyTree], Packed, Leaf | None]:
        """Weights and states afterwards, and whether there was an update; None: always."""
        found = self.flat(values)
        gradients = self._gradients(grads, values)
        extras = self._extras(extra_args, values)
        if self.counting.always:
            new, opt = self._made(found, gradients, opt, columns, extras)
            return self._in_states(values, new), opt, None
        new, opt, made = self._counted(found, gradients, opt, columns, extras)
        return self._in_states(values, new), opt, made

    # --- Weights --------------------------------------------------------------------------------

    def flat(self, values: dict[str, PyTree]) -> dict[str, Leaf]:
        """The trained leaves of all States, by path."""
        return {
            path: leaf
            for name, tree in values.items()
            for path, leaf in zip(self.leaves[name], jax.tree.leaves(tree), strict=True)
            if path in self.trained
        }

    def _in_states(self, values: dict[str, PyTree], new: dict[str, Leaf]) -> dict[str, PyTree]:
        """The weights of all States, with these leaves in place of the old ones."""
        found = {}
        for name, tree in values.items():
            leaves, structure = jax.tree.flatten(tree)
            pairs = zip(self.leaves[name], leaves, strict=True)
            found[name] = structure.unflatten([new.get(path, old) for path, old in pairs])
        return found

    def _gradients(self, grads: PyTree, values: dict[str, PyTree]) -> dict[str, Leaf]:
        for name, tree in values.items():
            _check_structure(name, grads[name], tree)
        weights = self.flat(values)
        return {path: as_gradient(path, g, weights[path]) for path, g in self.flat(grads).items()}

    def _extras(self, extra_args: dict[str, Any], values: dict[str, PyTree]) -> dict[str, Any]:
        """Arguments for optax, of which two are trees like the weights: all leaves by path."""
        extras = dict(extra_args)
        if isinstance(extras.get("grad"), dict):
            extras["grad"] = self.flat(extras["grad"])
        for name in OBJECTIVES:
            if callable(objective := extras.get(name)):
                extras[name] = self._of_leaves(objective, values)
        return extras

    def _of_leaves(self, objective: Function, values: dict[str, PyTree]) -> Function:
        """A function of the leaves of one group, where the others are as they were."""
        found = self.flat(values)
        return lambda own, *args, **more: objective(
            self._in_states(values, {**found, **own}), *args, **more
        )

    # --- One update -----------------------------------------------------------------------------

    def _made(
        self,
        found: dict[str, Leaf],
        gradients: dict[str, Leaf],
        opt: Packed,
        columns: Rates,
        extras: dict[str, Any],
    ) -> tuple[dict[str, Leaf], Packed]:
        counters, states = unpack(opt, self.layouts)
        beside = dict(opt.beside)
        if self.counting.norm:
            beside["norm"] = _norm(gradients).astype(np.float32)
        gradients = self._clipped(gradients, columns)
        new: dict[str, Leaf] = {}
        for i, part in enumerate(self.parts):
            stacks, more = self.layouts[i].stacks, extras
            for path, shape in stacks.shapes():
                _check_shape(path, shape, found[path])
            own, weights = (
                stacks.joined(widened({path: tree[path] for path in part.leaves}))
                for tree in (gradients, found)
            )
            if isinstance(extras.get("grad"), dict):
                more = {**extras, "grad": {path: extras["grad"][path] for path in part.leaves}}
            update: Any = self.transform(part.group, columns).update
            updates, state = update(own, states[i], weights, **more)
            states[i] = _kept(state, states[i])
            updates = {path: _fitting(path, updates[path], w) for path, w in weights.items()}
            if not self.descends:
                updates = jax.tree.map(functools.partial(_descend, columns[part.group]), updates)
            new |= stacks.taken(optax.apply_updates(weights, updates), opt.numbers)  # pyright: ignore
        new = {path: w.astype(jnp.result_type(found[path])) for path, w in new.items()}
        counters[0] = jnp.minimum(counters[0], LAST_EPOCH - 1) + 1
        return new, pack(counters, states, self.layouts, beside, opt.numbers)

    def _clipped(self, gradients: dict[str, Leaf], columns: Rates) -> dict[str, Leaf]:
        if self.clip_norm is not None:
            place = self.places.clip_norm
            largest = self.clip_norm if place is None else columns[place]
            clip = optax.clip_by_global_norm(largest)
            gradients, _ = clip.update(gradients, optax.EmptyState())  # type: ignore[assignment]
        gradients = dict(gradients)
        for i, group in enumerate(self.groups):
            if group.clips:
                own = {path: gradients[path] for path in group.leaves}
                value = group.values["grad_clip_value"]
                clip = optax.clip(self.places.used("grad_clip_value", i, value, columns))
                gradients |= clip.update(own, optax.EmptyState())[0]  # type: ignore[operator]
        return gradients

    # --- Several gradients for one update -------------------------------------------------------

    def _counted(
        self,
        found: dict[str, Leaf],
        gradients: dict[str, Leaf],
        opt: Packed,
        columns: Rates,
        extras: dict[str, Any],
    ) -> tuple[dict[str, Leaf], Packed, Leaf]:
        (count, micro, skipped), states = unpack(opt, self.layouts)
        finite = _all_finite(gradients) if self.counting.skips else jnp.bool_(True)
        made = finite & (micro + 1 >= self.counting.every)
        micro = jnp.where(finite, micro + 1, micro)
        beside, mean = dict(opt.beside), gradients
        if self.counting.every > 1:  # outside of the condition, where they keep their memory
            before = beside.pop("means")
            mean = {
                path: _averaged(m, gradients[path], micro, finite) for path, m in before.items()
            }
        skipped = jnp.where(finite, skipped, jnp.minimum(skipped, LAST_EPOCH - 1) + 1)
        counters = [count, jnp.where(made, 0, micro), skipped]
        ready = pack(counters, states, self.layouts, beside, opt.numbers)
        numbers = opt.numbers
        new, opt = jax.lax.cond(
            made,
            lambda: self._made(found, mean, ready, columns, extras),
            lambda: (found, ready),
        )
        opt = opt._replace(numbers=numbers)  # not those that come out of the condition
        if self.counting.every > 1:
            means = {path: jnp.where(made, 0, m) for path, m in mean.items()}
            opt = opt._replace(beside={**opt.beside, "means": means})
        return new, opt, made


def without_waiting(opt: Packed) -> Packed:
    """With no gradient that waits for others to make an update."""
    means = opt.beside.get("means")
    if means is None:
        return opt
    counts = jnp.asarray(opt.counts).at[..., 1].set(0)
    zeros = jax.tree.map(jnp.zeros_like, means)
    return opt._replace(counts=counts, beside={**opt.beside, "means": zeros})


def _averaged(mean: Leaf, gradient: Leaf, count: Leaf, finite: Leaf) -> Leaf:
    """The mean of so many gradients, by the formula of ``optax.MultiSteps``; as it was unless `finite`."""
    so_many = count.astype(jnp.finfo(mean.dtype).dtype)
    return jnp.where(finite, mean + (gradient - mean) / so_many, mean)


def _all_finite(gradients: dict[str, Leaf]) -> Leaf:
    every = (jnp.all(jnp.isfinite(leaf)) for leaf in gradients.values())
    return functools.reduce(jnp.logical_and, every)


def _norm(gradients: dict[str, Leaf]) -> Leaf:
    squares = (jnp.sum(jnp.square(jnp.abs(leaf))) for leaf in gradients.values())
    return jnp.sqrt(functools.reduce(jnp.add, squares))


def _check_structure(name: str, gradient: PyTree, weight: PyTree) -> None:
    structure = jax.tree.structure(weight)
    if jax.tree.structure(gradient) != structure:
        raise ValueError(
            f"The gradient of {name!r} must have the structure of the weight, {structure}, "
            f"got {jax.tree.structure(gradient)}."
        )


def _check_shape(path: str, shape: tuple[int, ...], weight: Leaf) -> None:
    """Raise ValueError where an update would change the shape of its weight."""
    own = np.shape(weight)
    try:
        after = np.broadcast_shapes(shape, own)
    except ValueError:
        after = shape
    if after != own:
        raise ValueError(
            f"The update of {path!r} must have the weight's shape {own}, got {shape}. Give the weight the shape back with which "
            "it was registered, or register it with another optimizer; or mend the tx, if that is its update."
        )


def _fitting(path: str, update: Leaf, weight: Leaf) -> Leaf:
    """An update that leaves its weight the shape it has, and real."""
    _check_shape(path, np.shape(update), weight)
    if jnp.iscomplexobj(update) and not jnp.iscomplexobj(weight):
        raise TypeError(
            f"The update of {path!r} must be real, as the weight is, got {jnp.result_type(update)}."
        )
    return update


def _descend(lr: Leaf, update: Leaf) -> Leaf:
    """``-lr * update``, in at least float32."""
    wide = jnp.promote_types(update.dtype, jnp.float32)
    return -lr.astype(wide) * update.astype(wide)


def _kept(new: PyTree, old: PyTree) -> PyTree:
    """The new optax state in the dtypes of the old one, whatever the gradients or extra arguments were."""
    leaves, structure = jax.tree.flatten(new)
    before, wanted = jax.tree.flatten(old)
    if structure != wanted:
        paths = [path for path, _ in jax.tree.leaves_with_path(old)]
        found = dict(jax.tree.leaves_with_path(new))
        if found.keys() != {*paths}:
            raise ValueError(
                f"tx.update must return a state like the one of tx.init, {wanted}, got {structure}."
            )
        leaves = [found[path] for path in paths]  # as of optax.named_chain, in another kind of dict
    return wanted.unflatten(map(_like, leaves, before))


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
