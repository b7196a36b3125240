"""The optimizer: weights, parameter groups and one optax transformation for each, under one State of learning rates."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import brainstate
import jax
import numpy as np
import optax

from .. import _checks
from .._checks import is_known
from .._transfers import fetched, meant
from .._types import Epochs, Function, Leaf, Number, PyTree, Rates, Scalar, StateDict
from ..schedulers.decay import constant
from ..schedulers.scheduler import LRScheduler
from ..states.internals import refuse_foreign_trace, refuse_inside, tracing
from ..states.node import GuardedNode
from ..states.placement import given, place, unchanged_by_errors
from ..states.published import Published
from ..states.view import View
from . import checkpoint
from .arrangement import arranged, check_options, default, leaves_of, shown
from .following import Following
from .groups import (
    Group,
    ParamGroup,
    betas_too,
    check_list_of_rates,
    check_own_bases,
    group_of,
    table,
)
from .packing import counter, layout_of, pack, unpack
from .patterns import Patterns, patterns_of
from .recipe import (
    Build,
    Hyperparameter,
    Recipe,
    check_scheduled,
    check_together,
    checked,
    recipe_of,
)
from .transformations import check_weights, fits, fresh_state, refuse_descent, refuse_nan
from .update import Counting, Part, Places, Update
from .weights import Weight, as_registered, gradient_of, named_weights, put_beside

announce: list[Callable[[type], None]] = []
"""Called with the class whenever an optimizer is made or given weights, before a program can look at it."""


class OptaxOptimizer(GuardedNode):
    """Any optax optimizer, for brainstate weights.

    ``step(grads)`` with the clipped gradient g does, for each weight w::

        w = w - lr * (tx(g) + weight_decay * w)        tx, a transformation, and lr
            w - lr * adam(g + weight_decay * w)        without tx
            w + tx(g)                                  tx without lr: it is complete
            w + tx(..., learning_rate=lr)(g)           tx, a factory that takes one
            w - lr * tx(...)(g)                        tx, a factory that takes none

    A number below may be a scheduler or a function of the epoch, too. All of them are read at the
    clock of `lr`, whose ``step()`` publishes them; of known ones those out of range are refused,
    others become the nearest number in it.

    Parameters
    ----------
    tx : optax.GradientTransformation or function, optional
        With `lr`, a direction such as ``optax.scale_by_lion()``. Without, a complete optimizer such
        as ``optax.adam(1e-3)``. Or a factory such as ``optax.lion``, with its arguments by name:
        ``b1=0.9``. None: Adam.
    lr : float or LRScheduler, optional
        Learning rate, >= 0, or the scheduler that gives it. None: 1e-3 without `tx`.
    weight_decay : float, optional
        Decay of the weights, >= 0. None: 0, or the factory's.
    grad_clip_norm, clip_norm : float, optional
        Largest norm of the gradients of all groups together, > 0.
    grad_clip_value : float, optional
        Largest absolute value of each gradient entry, > 0.
    groups : dict or list of pairs, optional
        ``{pattern: options}``: a regular expression searched in the path of a weight, such as
        ``layers.0.weight.bias``, or a function ``(path, leaf) -> bool``. The first that matches
        decides. Options are ``lr`` (base learning rate, or a scheduler), ``lr_scale``, ``frozen``
        and the hyper-parameters.
    accumulate_steps : int, default 1
        Number of gradients that are averaged for one update, >= 1.
    skip_nonfinite : bool, default False
        Leave out a gradient with NaN or inf, and count it in ``skipped``.
    auto_step : bool, default False
        Step the scheduler once for each update.
    log_grad_norm : bool, default False
        Keep the norm of the gradients in ``grad_norm`` also if nothing is clipped by it.
    **arguments
        Those of a factory. A function is a schedule where the factory's default is a number.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax, optax
    >>> weight = brainstate.ParamState(1.0)
    >>> optimizer = lrax.OptaxOptimizer(optax.lion, lr=0.1, b1=0.9, weight_decay=0.0)
    >>> optimizer = optimizer.register_trainable_weights({"weight": weight})
    >>> optimizer.step({"weight": 2.0})
    >>> print(f"{weight.value:.2f}")
    0.90
    """

    graph_invisible_attrs = ("_compiled",)
    _compiled: tuple[Update, Function] | None = None
    _ready: bool = False
    fixed = frozenset({"opt_state"})

    def __init__(
        self,
        tx: optax.GradientTransformation | Build | Recipe | None = None,
        lr: Scalar | LRScheduler | None = None,
        weight_decay: Hyperparameter | None = None,
        grad_clip_norm: Hyperparameter | None = None,
        grad_clip_value: Hyperparameter | None = None,
        *,
        clip_norm: Hyperparameter | None = None,
        groups: Patterns | None = None,
        accumulate_steps: int = 1,
        skip_nonfinite: bool = False,
        auto_step: bool = False,
        log_grad_norm: bool = False,
        **arguments: Any,
    ) -> None:
        if grad_clip_norm is not None and clip_norm is not None:
            raise ValueError(
                "grad_clip_norm and clip_norm are two names for one thing; pass one of them."
            )
        norm = clip_norm if grad_clip_norm is None else grad_clip_norm
        self.grad_clip_norm = checked("grad_clip_norm", norm)
        self.grad_clip_value = checked("grad_clip_value", grad_clip_value)
        self._recipe = recipe_of(type(self), tx, lr, weight_decay, arguments)
        self._recipe = self._recipe.clipped(self.grad_clip_value)
        if not (isinstance(lr, LRScheduler) and lr.momentum_schedule()):
            check_together(self._recipe.values)
        check_scheduled({**self._recipe.values, "grad_clip_norm": self.grad_clip_norm})
        self.weight_decay = self._recipe.values.get("weight_decay")
        self._complete = lr is None and tx is not None
        self.accumulate_steps = _checks.integer("accumulate_steps", accumulate_steps, low=1)
        self.skip_nonfinite = _checks.flag("skip_nonfinite", skip_nonfinite)
        self.auto_step = _checks.flag("auto_step", auto_step)
        self.log_grad_norm = _checks.flag("log_grad_norm", log_grad_norm)
        self._patterns = patterns_of(groups)
        check_options(self._recipe, self._patterns)
        self._weights: dict[str, Weight] = {}
        self._added: tuple[Group, ...] = ()
        self._update = self._update_for((default(self._recipe),), (), {}, Places(({},)))
        self.opt_state = brainstate.LongTermState(pack([np.int32(0)], [], [], {}))
        self._following = Following(self._recipe.momentum, self.grad_clip_norm, self.auto_step)
        self._announce()
        self.add_scheduler(lr if isinstance(lr, LRScheduler) else constant(lr))
        self._ready = True

    def __del__(self) -> None:
        # Not weakref.finalize: a copy comes into being without a constructor that could ask for it.
        following = vars(self).get("_following")
        if following is not None:
            following.forget()

    # --- Learning rate and other hyper-parameters ---------------------------------------------

    @property
    def lr(self) -> LRScheduler:
        """The scheduler."""
        return self._following.scheduler

    lr_scheduler = lr

    @property
    def base_lr(self) -> Number:
        """Base learning rate of the first group."""
        return self._following.follower.bases[0]

    @property
    def current_lr(self) -> Scalar:
        """Learning rate of the first group. Assigning sets it until the scheduler's next ``step()``.

        Inside a plain ``jax.jit`` it is a constant, read once while tracing.
        """
        self._refuse_complete("current_lr")
        return self._published.column(0)

    @current_lr.setter
    def current_lr(self, value: Scalar) -> None:
        self._set_lr(0, value)

    def get_last_lr(self) -> list[Scalar]:
        """Learning rate of each group; inside a plain ``jax.jit`` a constant, read once while tracing."""
        self._refuse_complete("get_last_lr()")
        return list(self._published.rates[: len(self._groups)])

    @property
    def hyperparams(self) -> list[dict[str, Any]]:
        """What the next update uses: one dict for each parameter group, in their order."""
        return [self._hyperparams(i) for i, _ in enumerate(self._groups)]

    def _hyperparams(self, index: int) -> dict[str, Any]:
        column, places = self._published.column, self._following.places
        lr = {} if self._complete else {"lr": column(index)}
        own = {**self._groups[index].numbers(), **places.groups[index]}
        own |= {name: column(place) for name, place in places.groups[index].items()}
        if self.grad_clip_norm is not None:
            place = places.clip_norm
            own["grad_clip_norm"] = self.grad_clip_norm if place is None else column(place)
        return betas_too({**lr, **own})

    def lr_at(self, epoch: Epochs) -> Rates:
        """What each group gets at `epoch`: float32, shape ``epoch.shape + (groups,)``."""
        self._refuse_complete("lr_at()")
        return self._following.at(_checks.epochs(epoch), len(self._groups))

    def lr_apply(self, apply_fn: Callable[[Any], Scalar]) -> None:
        """Map `apply_fn` over the learning rates of all groups; it lasts until the scheduler's next ``step()``."""
        self._refuse_complete("lr_apply()")
        if not callable(apply_fn):
            raise TypeError(f"apply_fn must be a function of a learning rate, got {apply_fn!r}.")
        self.lr.apply(apply_fn)

    def add_scheduler(self, scheduler: LRScheduler) -> None:
        """From now on follow `scheduler`, at its epoch, and no longer the one before."""
        refuse_inside(self.opt_state, f"{type(self).__name__}.add_scheduler()")
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"scheduler must be an lrax scheduler, got {scheduler!r}.")
        self._following.follow(scheduler, self._groups)
        if self._following.places != self._update.places:  # it drives the momentum from now on
            self._begin(self._weights, self._groups, self._added, self._update.parts)
        self._put_rates_beside_weights()

    @property
    def _published(self) -> Published:
        return self._following.published

    def _set_lr(self, group: int, value: Scalar) -> None:
        self._refuse_complete("the learning rate")
        self._published.write_one(group, value)

    def _refuse_complete(self, what: str) -> None:
        if self._complete:
            raise ValueError(
                f"{what} is unknown: tx was given without lr=..., so the learning rate is inside it. "
                "Pass a direction (optax.scale_by_adam()) and lr=... instead."
            )

    # --- Weights ------------------------------------------------------------------------------

    @property
    def param_states(self) -> dict[str, brainstate.State]:
        """The registered weights by name."""
        return {name: weight.state for name, weight in self._weights.items()}

    @property
    def param_groups(self) -> list[ParamGroup]:
        """The parameter groups: what no pattern matches, the patterns in order, then those that were added."""
        return [self._param_group(i) for i, _ in enumerate(self._groups if self._weights else ())]

    def _param_group(self, index: int) -> ParamGroup:
        lr = View(lambda: self._published.column(index), lambda value: self._set_lr(index, value))
        places = self._following.places.groups[index]
        scheduled = {
            k: View(lambda place=v: self._published.column(place)) for k, v in places.items()
        }
        return shown(self._groups[index], self._weights, lr, scheduled)

    @property
    def step_count(self) -> View:
        """Number of updates made."""
        return View(lambda: counter(self.opt_state.value, 0))

    @property
    def skipped(self) -> View:
        """Number of gradients with NaN or inf that were left out."""
        if not self.skip_nonfinite:
            raise AttributeError("skipped is counted with skip_nonfinite=True only.")
        return View(lambda: counter(self.opt_state.value, 2))

    @property
    def grad_norm(self) -> Scalar:
        """Global norm of the last update's gradients, before clipping; 0 before the first."""
        if "norm" not in self.opt_state.value.beside:
            raise AttributeError("grad_norm is kept with grad_clip_norm=... or log_grad_norm=True.")
        return self.opt_state.value.beside["norm"]

    def optax_states(self) -> list[PyTree]:
        """The state of optax's transformation for each group, with its weights by path.

        Where a load has put weights of different age into a group, it is a tuple of states.
        """
        _, states = self._unpacked()
        found: list[list[PyTree]] = [[] for _ in self._groups]
        for part, state in zip(self._update.parts, states, strict=True):
            found[part.group].append(state)
        return [states[0] if len(states) == 1 else tuple(states) for states in found]

    def register_trainable_weights(self, param_states: PyTree) -> "OptaxOptimizer":
        """Train the weights in `param_states`, a pytree of States such as ``model.states(brainstate.ParamState)``.

        A weight that appears twice is updated once. Registering the same weights again changes nothing.
        """
        refuse_inside(self.opt_state, "register_trainable_weights(...)")
        self._announce()  # who wants to know may have come after this optimizer
        new = named_weights(param_states, self._weights)
        if not new and not self._weights:
            raise ValueError(
                f"param_states must hold at least one brainstate.State, got {param_states!r}."
            )
        if not new:
            return self
        if self._weights and int(self.step_count) > 0:
            raise ValueError(
                "Training has begun, and registering further weights would reset the moments of the first group. "
                "Use add_param_group(...) for them."
            )
        weights = {**self._weights, **new}
        groups = arranged(self._recipe, self._patterns, weights, self._added)
        self._begin(weights, groups, self._added)
        return self

    def add_param_group(
        self,
        params: PyTree,
        *,
        lr: Scalar | LRScheduler | None = None,
        weight_decay: Hyperparameter | None = None,
        **options: Any,
    ) -> None:
        """Train further weights, with options of their own: those of `groups`, but for ``frozen``.

        The group follows the same schedule and begins with fresh moments. None: as the first group.
        A group with ``lr=0`` is no frozen one where the schedule has an end of its own
        (``eta_min > 0``): weights are frozen by leaving them out.
        """
        refuse_inside(self.opt_state, "add_param_group(...)")
        if not self._weights:
            raise ValueError(
                "register_trainable_weights(...) must be called before add_param_group(...)."
            )
        new = named_weights(params, self._weights)
        if not new:
            raise ValueError("params must hold at least one weight that is not registered yet.")
        if lr is not None:
            self._refuse_complete("a group's lr")
        if weight_decay is not None and self._complete:
            raise ValueError(
                "weight_decay of a group needs lr=... in the optimizer: without it tx is used as it is."
            )
        given = {"lr": lr, "weight_decay": weight_decay}
        options |= {name: value for name, value in given.items() if value is not None}
        listed = len(self.lr.base_lrs)
        if listed > 1 and len(self._groups) >= listed and lr is None:
            raise ValueError(
                f"The scheduler has a list of {listed} learning rates, and this would be group {len(self._groups) + 1}. "
                "Make the list one longer, or pass lr=... for the group."
            )
        leaves = tuple(path for weight in new.values() for path in weight.leaf_names())
        name = f"added {len(self._added) + 1}"
        group = group_of("add_param_group(...)", name, leaves, self._recipe, options)
        self._begin({**self._weights, **new}, (*self._groups, group), (*self._added, group))

    @property
    def _groups(self) -> tuple[Group, ...]:
        return self._update.groups

    def _unpacked(self) -> tuple[list[Any], list[PyTree]]:
        """The counters, and the optax state of each part."""
        with meant():
            return unpack(self.opt_state.value, self._update.layouts)

    def _begin(
        self,
        weights: dict[str, Weight],
        groups: tuple[Group, ...],
        added: tuple[Group, ...],
        parts: tuple[Part, ...] | None = None,
    ) -> None:
        """Other groups: fresh moments for those that are new, and our numbers where the weights live."""
        check_own_bases(self.lr.formulas, groups)
        parts = tuple(Part(i, g.leaves) for i, g in enumerate(groups)) if parts is None else parts
        _, places, _ = self._following.planned(groups, self.lr)
        update = self._update_for(groups, parts, weights, places)
        leaves = {path: leaf for path, leaf in leaves_of(weights).items() if path in update.trained}
        states = self._states_for(update, leaves)
        self._following.regroup(groups, self._groups)
        counters, beside = update.counting.begin(leaves)
        if self._update.parts:
            counters, _ = self._unpacked()
        for key, kept in self.opt_state.value.beside.items():
            beside[key] = {**beside[key], **kept} if isinstance(kept, dict) else kept
        self._weights, self._added = weights, added
        self._install(update, counters, states, beside)

    def _install(
        self, update: Update, counters: list[Leaf], states: list[PyTree], beside: dict[str, Any]
    ) -> None:
        """From now on update so, from these states; our numbers go where the weights live."""
        self._update = dataclasses.replace(update, layouts=tuple(map(layout_of, states)))
        put = put_beside(w.state.value for w in self._weights.values()) or (lambda number: number)
        packed = pack(counters, states, self._update.layouts, beside)
        self.opt_state.value = jax.tree.map(put, packed)
        self._put_rates_beside_weights()

    def _states_for(self, update: Update, leaves: Mapping[str, Leaf]) -> list[PyTree]:
        """The optax state of each part: that of a part which has not changed, or a fresh one."""
        known = zip(self._update.parts, self._unpacked()[1], strict=True)
        before = {part.leaves: state for part, state in known}
        found = []
        for part in update.parts:
            own = {path: leaves[path] for path in part.leaves}
            transform, group = update.transform(part.group, update.any_columns), part.group
            check_weights(own, transform, self._outside(update.groups[group]))
            state = before.get(part.leaves)
            if state is None or not fits(transform, own, state):
                self._try_out(update, group, own)
                state = fresh_state(transform, own)
            found.append(state)
        return found

    def _outside(self, group: Group) -> dict[str, bool]:
        """What is done to the gradients of a group around the transformation."""
        return {
            "weight_decay": group.decays and self._recipe.ours,
            "grad_clip_norm": self.grad_clip_norm is not None,
            "grad_clip_value": group.clips,
        }

    def _try_out(self, update: Update, group: int, weights: Mapping[str, Leaf]) -> None:
        """Refuse a transformation of the user's that would not do what is meant."""
        if self._recipe.takes_lr:
            rates, columns = self._published.rates, update.any_columns

            def at(lr: float) -> optax.GradientTransformation:
                columns[group] = lr
                return update.transform(group, columns)

            refuse_nan(at, weights, rates[min(group, len(rates) - 1)])
        elif self._recipe.foreign and not self._complete:
            refuse_descent(update.transform(group, update.any_columns), weights)

    def _update_for(
        self,
        groups: tuple[Group, ...],
        parts: tuple[Part, ...],
        weights: Mapping[str, Weight],
        places: Places,
    ) -> Update:
        """The update of these weights, whose states are not known yet."""
        return Update(
            self._recipe,
            groups,
            parts,
            (),
            {name: tuple(weight.leaf_names()) for name, weight in weights.items()},
            places,
            self.grad_clip_norm,
            Counting(
                int(self.accumulate_steps),
                self.skip_nonfinite,
                self.log_grad_norm or self.grad_clip_norm is not None,
            ),
            self._complete or self._recipe.takes_lr,
        )

    def _put_rates_beside_weights(self) -> None:
        """The learning rates, and what the scheduler holds."""
        put = put_beside(weight.state.value for weight in self._weights.values())
        if put is not None:
            self._following.move(put)

    def _announce(self) -> None:
        for tell in announce:
            tell(OptaxOptimizer)

    # --- Updating -----------------------------------------------------------------------------

    def step(self, grads: PyTree, **extra_args: Any) -> None:
        """Update the weights by `grads`, a pytree like the registered one; it may hold more.

        Outside a jitted function this runs one compiled program. `extra_args` go to optax; a
        ``grad`` among them is a pytree like `grads`, and ``value_fn`` is called with one.
        """
        if not self._weights:
            raise ValueError("register_trainable_weights(...) must be called before step(...).")
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.step()")
        check_list_of_rates(self.lr.base_lrs, self._groups)
        names = self._update.trained_states
        found = {name: gradient_of(grads, name, self._weights) for name in names}
        values = {name: self._weights[name].state.value for name in names}
        extra_args = self._by_name(extra_args)
        own: Any = (values, self.opt_state.value, self._published.columns)
        update: Function = self._update
        if not tracing() and not any(callable(leaf) for leaf in jax.tree.leaves(extra_args)):
            update = self._compiled_update()
            own = given(own)
        values, opt, columns = own
        new, self.opt_state.value, made = update(found, values, opt, columns, extra_args)
        for name in names:
            self._weights[name].state.value = new[name]
        if self.auto_step:
            self._step_scheduler(made)

    def update(self, grads: PyTree, **extra_args: Any) -> None:
        """The same as ``step()``."""
        self.step(grads, **extra_args)

    def _by_name(self, extra_args: dict[str, Any]) -> dict[str, Any]:
        """Arguments for optax with trees like the registered one by the names of the weights."""
        changed = dict(extra_args)
        if "grad" in changed:
            names = self._update.trained_states
            changed["grad"] = {n: gradient_of(changed["grad"], n, self._weights) for n in names}
        if callable(value_fn := changed.get("value_fn")):
            changed["value_fn"] = lambda values, *args, **more: value_fn(
                as_registered(values, self._weights), *args, **more
            )
        return changed

    def _step_scheduler(self, made: Leaf | None) -> None:
        """Step the scheduler if there was an update; None: there always is."""
        if made is None or (is_known(made) and fetched(made)):
            self.lr.step_for_follower()
        elif not is_known(made):
            brainstate.transform.cond(made, self.lr.step_for_follower, lambda: None)

    def _compiled_update(self) -> Function:
        """The update as a program of its own, which knows nothing of this optimizer."""
        if self._compiled is None or self._compiled[0] is not self._update:
            self._compiled = self._update, jax.jit(self._update)
        return self._compiled[1]

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Moments by the path of their weight, counts and the scheduler's state: numbers and arrays in nested dicts."""
        counters, states = self._unpacked()
        own = checkpoint.Own(counters, states, self.opt_state.value.beside, self._update.parts)
        return checkpoint.saved(
            own, self._published, self._following.learning, self._described(), self.lr.state_dict()
        )

    def load_state_dict(self, state_dict: StateDict, strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved schedule, hyper-parameters and groups may be other ones: those here go on, from the
        saved epoch. Weights that are new begin with fresh moments, those that are gone are left
        out, and a warning says what differs. What is inside of a `tx` cannot be compared.
        """
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.load_state_dict()")
        strict = _checks.flag("strict", strict)
        counters, states = self._unpacked()
        own = checkpoint.Own(counters, states, self.opt_state.value.beside, self._update.parts)
        fresh = None if strict else self._fresh
        learning, groups = self._following.learning, self._published.groups
        found = checkpoint.checked(state_dict, own, fresh, learning, self._described(), groups)
        with unchanged_by_errors([] if learning is None else [learning.memory]):
            if learning is not None and found.memory is not None:
                learning.memory.value = found.memory
            self.lr.load_state_dict(found.scheduler, strict)  # the last that may fail
        new = found.own
        if new.parts != self._update.parts:
            update = dataclasses.replace(self._update, parts=new.parts)
            self._install(update, new.counters, new.states, new.beside)
        else:
            opt = pack(new.counters, new.states, self._update.layouts, new.beside)
            counts = place(opt.counts, self.opt_state.value.counts)
            self.opt_state.value = opt._replace(counts=counts)
        if strict:
            self._published.write_rates(found.rates)

    def _fresh(self, parts: tuple[Part, ...]) -> checkpoint.Own:
        """What a training with these parts begins with."""
        update = dataclasses.replace(self._update, parts=parts)
        every = leaves_of(self._weights)
        leaves = {path: every[path] for part in parts for path in part.leaves}
        own = [{path: leaves[path] for path in part.leaves} for part in parts]
        transforms = [update.transform(part.group, update.any_columns) for part in parts]
        states = list(map(fresh_state, transforms, own))
        counters, beside = update.counting.begin(leaves)
        return checkpoint.Own(counters, states, beside, parts)

    def _described(self) -> StateDict:
        """Its hyper-parameters, as a state dict holds them."""
        names = {*self.parameters, *self.fixed} & vars(self).keys() - {"opt_state"}
        arguments = {name: vars(self)[name] for name in sorted(names)} | self._recipe.foreign_values
        return checkpoint.described(type(self).__name__, arguments, self._groups)

    # --- Guarding -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        ours = name[0] == "_" and (name in self.__dict__ or hasattr(type(self), name))
        settable = not self._ready or ours or name == "current_lr"
        if not settable and (
            name in self.fixed or isinstance(getattr(type(self), name, None), property)
        ):
            raise AttributeError(
                f"{name} cannot be changed after construction: a compiled step would go on with the old value. "
                "Set current_lr, attach another scheduler with add_scheduler(...), or construct a new optimizer."
            )
        if not settable and self.ours:
            raise AttributeError(
                f"{name!r} of {type(self).__name__} cannot be set. Attributes of your own belong in a subclass."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        hidden = ("opt_state",)
        own = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in hidden}
        lr = {} if self._complete else {"lr": self.lr}
        more = self._recipe.foreign_values
        pairs = (f"{name}={value!r}" for name, value in {**lr, **own, **more}.items())
        return f"{type(self).__name__}({', '.join(pairs)})"

    def __str__(self) -> str:
        return f"{self!r}\n{table(self.param_groups)}" if self._weights else repr(self)
