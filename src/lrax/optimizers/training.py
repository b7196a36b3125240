"""What an optimizer trains: its weights, their groups and states, and the update of all of them."""

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import brainstate
import jax
import numpy as np
import optax
from brainstate.graph import Node

from .._transfers import meant
from .._types import Function, Leaf, PyTree, Rates
from ..states.internals import Bundle, tracing
from ..states.placement import given, place
from .arrangement import default, leaves_of
from .by_weight import Own
from .groups import Group
from .packing import Packed, layout_of, pack, unpack
from .recipe import Recipe
from .stacks import Stacks, numbers_of, stacks_of
from .transformations import (
    check_weights,
    fits,
    fresh_state,
    refuse_ascent,
    refuse_descent,
    refuse_kept,
    refuse_nan,
)
from .update import OBJECTIVES, Counting, Part, Places, Update
from .weights import Weight, as_registered, gradient_of, named_leaves, put_beside, units_of


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Stepped:
    """Which scheduler the optimizer steps, in the structure of its State: a compiled step is of one of them."""

    number: int | None


class Training(Node):
    """The weights of an optimizer, their groups, and one State of all that is learned beside them."""

    graph_invisible_attrs = ("_compiled", "_compiled_for")
    _compiled: tuple[Update, Function] | None = None
    _compiled_for: Mapping[Any, tuple[Part, ...]] = types.MappingProxyType({})
    """The parts that a step was compiled for, by the structure of the State."""

    def __init__(self, recipe: Recipe, clip_norm: Any, counting: Counting, descends: bool) -> None:
        self.weights: dict[str, Weight] = {}
        """All that are registered, the frozen ones too, by name."""
        self.added: tuple[Group, ...] = ()
        """The groups that no pattern has made."""
        self.update = Update(
            recipe, (default(recipe),), (), (), {}, Places(({},)), clip_norm, counting, descends
        )
        self.stepped: Stepped | None = None
        self.state = brainstate.LongTermState(pack([np.int32(0)], [], [], {}))

    def states_of(self, group: Group) -> dict[str, brainstate.State]:
        """The weights with a leaf in a group, by name."""
        own, paths = {*group.leaves}, self.update.leaves
        return {n: w.state for n, w in self.weights.items() if not own.isdisjoint(paths[n])}

    def own(self) -> Own:
        """What has been learned."""
        with meant():
            counters, states = unpack(self.state.value, self.update.layouts)
        pairs = zip(self.update.layouts, states, strict=True)
        states = [layout.split(state) for layout, state in pairs]
        return Own(counters, states, dict(self.state.value.beside), self.update.parts)

    # --- Groups ---------------------------------------------------------------------------------

    def regrouped(
        self,
        weights: Mapping[str, Weight],
        groups: Sequence[Group],
        places: Places,
        parts: tuple[Part, ...],
    ) -> Update:
        """The update of these weights in other groups, of which the first have these parts; nothing has changed yet."""
        leaves = {name: weight.leaf_keys() for name, weight in weights.items()}
        divided = {part.group for part in parts}
        parts += tuple(Part(i, group.leaves) for i, group in enumerate(groups) if i not in divided)
        return dataclasses.replace(
            self.update, groups=tuple(groups), parts=parts, leaves=leaves, places=places
        )

    def beginning(
        self,
        update: Update,
        weights: Mapping[str, Weight],
        before: Own,
        first_lrs: Rates | None = None,
    ) -> Own:
        """What was learned `before` of the parts that are the same, and a beginning for the others."""
        every = leaves_of(weights)
        leaves = {path: every[path] for part in update.parts for path in part.leaves}
        known = dict(zip((part.leaves for part in before.parts), before.states, strict=True))
        states = []
        for part in update.parts:
            own = {path: leaves[path] for path in part.leaves}
            transform = update.transform(part.group, update.any_columns)
            check_weights(own, transform, update.outside(part.group))
            state = known.get(part.leaves)
            if state is None or not fits(transform, own, state):
                if first_lrs is not None:
                    _try_out(update, part.group, own, first_lrs)
                state = fresh_state(transform, own)
            states.append(state)
        counters, beside = update.counting.begin(leaves)
        if before.parts:
            counters = [*before.counters]
            if before.beside.get("means", {}).keys() != beside.get("means", {}).keys():
                counters[1] = np.int32(0)  # other weights: their mean begins anew
                before = before._replace(beside={**before.beside, "means": beside["means"]})
            beside |= before.beside
        return Own(counters, states, beside, update.parts)

    def fresh(self, parts: tuple[Part, ...]) -> Own:
        """What a training of the same groups in these parts begins with."""
        update = dataclasses.replace(self.update, parts=parts)
        return self.beginning(update, self.weights, Own([], [], {}, ()))

    def replace(self, places: Places) -> None:
        """What the groups have published is elsewhere, and may be more."""
        update = self.regrouped(self.weights, self.update.groups, places, self.update.parts)
        self.install(update, self.beginning(update, self.weights, self.own()))

    def install(self, update: Update, own: Own) -> None:
        """From now on update so, from there; our numbers go where the weights live."""
        stacks = [self._stacks(update, part) for part in update.parts]
        layouts = tuple(map(layout_of, own.states, stacks))
        self.update = dataclasses.replace(update, layouts=layouts)
        put = self.put() or (lambda number: number)
        self.state.value = jax.tree.map(put, self._packed(own, numbers_of(stacks)))

    def load(self, own: Own) -> None:
        """Go on from what was learned there."""
        if own.parts != self.update.parts:
            self.install(dataclasses.replace(self.update, parts=own.parts), own)
            return
        # Not those that are there: a call that has failed may have lost them.
        numbers = numbers_of(layout.stacks for layout in self.update.layouts)
        opt = self._packed(own, numbers)
        self.state.value = jax.tree.map(place, opt, self.state.value)

    def _packed(self, own: Own, numbers: tuple[Leaf, ...]) -> Packed:
        """What was learned, as the State holds it."""
        layouts, parts = self.update.layouts, self.update.parts
        states = [layout.joined(state) for layout, state in zip(layouts, own.states, strict=True)]
        beside = {name: kept for name, kept in own.beside.items() if name != "parts"}
        opt = pack(own.counters, states, layouts, self._marked(beside), numbers)
        if self._compiled_for.get(_structure(opt), parts) == parts:
            return opt
        # Other weights have arrays of these shapes now, and a step must be compiled for them.
        return opt._replace(beside={**opt.beside, "parts": {repr(parts): None}})

    def _stacks(self, update: Update, part: Part) -> Stacks:
        """Which leaves of a part are updated together."""
        fewest = update.recipe.fewest_alike(update.groups[part.group].values)
        if fewest is None:
            return Stacks()
        leaves = leaves_of(self.weights)
        return stacks_of({path: leaves[path] for path in part.leaves}, fewest)

    def mark(self, number: int | None) -> None:
        """From now on a step has the scheduler of this number stepped."""
        self.stepped = Stepped(number)
        opt = self.state.value
        self.state.value = opt._replace(beside=self._marked(opt.beside))

    def _marked(self, beside: dict[str, Any]) -> dict[str, Any]:
        return beside if self.stepped is None else {**beside, "stepped": self.stepped}

    def units(self) -> dict[str, str]:
        """The units of the weights that have some, as they are described in a state dict."""
        weights = self.weights.values()
        return units_of(pair for w in weights for pair in named_leaves(w.state.value, w.path))

    def put(self) -> Callable[[Leaf], Leaf] | None:
        """What puts numbers where the weights live; None if they have not been put anywhere."""
        return put_beside(weight.state.value for weight in self.weights.values())

    # --- Updating -------------------------------------------------------------------------------

    def step(
        self,
        grads: PyTree,
        columns: Rates,
        extra_args: dict[str, Any],
        first: Callable[[Leaf | None], None] | None,
    ) -> None:
        """Update the weights, but `first` do what may fail; it is told whether there is an update: None is always."""
        names = self.update.trained_states
        states = Bundle([self.state, *(self.weights[name].state for name in names)])
        opt, *weights = states.read()
        values = dict(zip(names, weights, strict=True))
        found = {n: gradient_of(grads, n, self.weights, value) for n, value in values.items()}
        extra_args = self._by_name(extra_args, values)
        own: Any = (values, opt, columns)
        update: Function = self.update
        if tracing():
            self._compiled_for = {_structure(opt): self.update.parts, **self._compiled_for}
        elif not any(callable(leaf) for leaf in jax.tree.leaves(extra_args)):
            update = self._compiled_update()
            own = given(own)
        values, opt, columns = own
        try:
            new, opt, made = update(found, values, opt, columns, extra_args)
        except TypeError:  # jax shows all that the update is made of
            self.update(found, values, opt, columns, extra_args)
            raise
        if first is not None:
            first(made)
        states.write([opt, *(new[name] for name in names)])

    def _by_name(self, extra_args: dict[str, Any], values: dict[str, PyTree]) -> dict[str, Any]:
        """Arguments for optax, where trees like the registered one are such by the names of the weights."""
        unknown = extra_args.keys() - {"value", "grad", *OBJECTIVES}
        if unknown and not self.update.recipe.foreign:
            raise TypeError(
                f"step(...) must have arguments that the optimizer knows, got {', '.join(sorted(unknown))}. A metric is given to "
                "scheduler.step(metric=...), a learning rate to optimizer.current_lr, all others to the constructor."
            )
        changed = dict(extra_args)
        if "grad" in changed:
            grad, weights = changed["grad"], self.weights
            changed["grad"] = {n: gradient_of(grad, n, weights, v) for n, v in values.items()}
        for name in OBJECTIVES:
            if callable(objective := changed.get(name)):
                changed[name] = self._of_registered(objective)
        return changed

    def _of_registered(self, objective: Function) -> Function:
        """A function of weights by name, from one of a tree like the registered one."""
        return lambda values, *args, **more: objective(
            as_registered(values, self.weights), *args, **more
        )

    def _compiled_update(self) -> Function:
        """The update as a program of its own, which knows nothing of this optimizer."""
        if self._compiled is None or self._compiled[0] is not self.update:
            self._compiled = self.update, jax.jit(self.update)
        return self._compiled[1]


def _structure(opt: Packed) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(opt)
    return structure, *map(np.shape, leaves)


def _try_out(update: Update, group: int, weights: Mapping[str, Leaf], first_lrs: Rates) -> None:
    """Refuse a transformation of the user's that would not do what is meant."""

    def at(lr: float) -> optax.GradientTransformation:
        return update.with_column(group, group, lr)

    if update.recipe.foreign:
        read = {"lr": group} if update.recipe.takes_lr else {}
        for name, place in {**read, **update.places.groups[group]}.items():
            refuse_kept(name, lambda x, place=place: update.with_column(group, place, x), weights)
    if update.recipe.takes_lr:
        refuse_nan(at, weights, first_lrs[min(group, len(first_lrs) - 1)])
    elif update.recipe.foreign:
        (refuse_ascent if update.descends else refuse_descent)(at(0.5), weights)
