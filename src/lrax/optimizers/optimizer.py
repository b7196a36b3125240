"""The optimizer: weights, parameter groups and one optax transformation for each, under one State of learning rates."""

import sys
from typing import Any

import brainstate
import optax

from .. import _checks
from .._names import other_names
from .._transfers import fetched
from .._types import Leaf, PyTree, Scalar, StateDict
from ..schedulers.linear import constant
from ..schedulers.scheduler import LRScheduler
from ..states.internals import refuse_foreign_trace, refuse_inside, tracing
from ..states.placement import room_for_all, unchanged_by_errors
from ..states.view import View
from . import checkpoint
from .arrangement import arranged, check_options, frozen, shown, sizes_of
from .following import Following
from .groups import (
    Group,
    ParamGroup,
    check_list_of_rates,
    group_of,
    table,
)
from .packing import counter
from .patterns import Patterns, patterns_of
from .rates import ShowsRates
from .recipe import (
    ADDED,
    Build,
    Hyperparameter,
    Recipe,
    check_scheduled,
    check_together,
    checked,
    recipe_of,
)
from .training import Training
from .update import Counting
from .weights import Weight, trainable_weights


class OptaxOptimizer(ShowsRates):
    """Any optax optimizer, for brainstate weights.

    ``step(grads)`` with the clipped gradient g does, for each weight w::

        w = w - lr * (tx(g) + weight_decay * w)        tx, a transformation, and lr
            w - lr * adam(g + weight_decay * w)        without tx
            w + tx(g)                                  tx without lr: it is complete
            w + tx(..., learning_rate=lr)(g)           tx, a factory that takes one
            w - lr * tx(...)(g)                        tx, a factory that takes none

    A number below may be a scheduler or a function of the epoch, too. All of them are read at the
    clock of `lr`, whose ``step()`` publishes them; known ones that are out of range are refused,
    later ones become the nearest number in it (negative ones are errors where they are known).

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
    grad_clip_norm : float, optional
        Largest norm of the gradients of all groups together, > 0.
    grad_clip_value : float, optional
        Largest absolute value of each gradient entry, > 0.
    clip_norm : float, optional
        Another name for `grad_clip_norm`.
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
        Step the scheduler, which must be its own, once for each update; nobody else may.
    log_grad_norm : bool, default False
        Keep the norm of the gradients in ``grad_norm`` also if nothing is clipped by it.
    **arguments
        Those of a factory; functions are schedules where its default is a number.

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
        norm = _one_of("grad_clip_norm", grad_clip_norm, "clip_norm", clip_norm)
        self.grad_clip_norm = checked("grad_clip_norm", norm)
        self.grad_clip_value = checked("grad_clip_value", grad_clip_value)
        recipe = recipe_of(type(self), tx, lr, weight_decay, arguments)
        self._recipe = recipe.clipped(self.grad_clip_value)
        if not (isinstance(lr, LRScheduler) and lr.momentum_schedule()):
            check_together(recipe.values)
        check_scheduled({**self._recipe.values, "grad_clip_norm": self.grad_clip_norm})
        self.weight_decay = recipe.values.get("weight_decay")
        self.accumulate_steps = _checks.counted("accumulate_steps", accumulate_steps)
        self.skip_nonfinite = _checks.flag("skip_nonfinite", skip_nonfinite)
        self.auto_step = _checks.flag("auto_step", auto_step)
        self.log_grad_norm = _checks.flag("log_grad_norm", log_grad_norm)
        self._patterns, self._complete = patterns_of(groups), lr is None and tx is not None
        check_options(self._recipe, self._patterns)
        self._check_complete({name for pattern in self._patterns for name in pattern.options})
        norms = self.log_grad_norm or self.grad_clip_norm is not None
        counting = Counting(self.accumulate_steps, self.skip_nonfinite, norms)
        descends = self._complete or recipe.takes_lr
        self._training = Training(self._recipe, self.grad_clip_norm, counting, descends)
        self._following = Following(self._recipe.momentum, self.grad_clip_norm, self.auto_step)
        _register_with_braintools()
        self.add_scheduler(lr if isinstance(lr, LRScheduler) else constant(lr))
        self._ready = True

    def __del__(self) -> None:
        # Not weakref.finalize: a copy comes into being without a constructor that could ask for it.
        following = vars(self).get("_following")
        if following is not None:
            following.forget()

    def add_scheduler(self, scheduler: LRScheduler) -> None:
        """From now on follow `scheduler`, at its epoch, and no longer the one before."""
        refuse_inside(self.opt_state, f"{type(self).__name__}.add_scheduler()")
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"scheduler must be an lrax scheduler, got {scheduler!r}.")
        if "scheduler" in vars(self._following) and not self._published.more:
            self._refuse_complete("What a scheduler would change")
        self._following.follow(scheduler, self._groups)
        if self.auto_step:
            self._training.mark(self._following.follower.number)
        if self._following.places != self._training.update.places:
            self._training.replace(self._following.places)  # it drives the momentum from now on
        self._put_rates_beside_weights()

    # --- Weights ------------------------------------------------------------------------------

    @property
    def opt_state(self) -> brainstate.State:
        """The State of all that is learned beside the weights."""
        return self._training.state

    @property
    def param_states(self) -> dict[str, brainstate.State]:
        """The registered weights by name."""
        return {name: weight.state for name, weight in self._training.weights.items()}

    @property
    def param_groups(self) -> list[ParamGroup]:
        """The parameter groups: what no pattern matches, the patterns in order, then those that were added."""
        training, following = self._training, self._following
        sizes = sizes_of(training.weights)
        check = lambda: self._refuse_complete("the learning rate")  # noqa: E731
        return [
            shown(group, training.states_of(group), sizes, following.views(i, check))
            for i, group in enumerate(self._groups if sizes else ())
        ]

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
        """The state of optax's transformation for each group: with weights by path, in that of a `tx` as they were registered.

        Where a load has put weights of different age into a group, it is a tuple of states.
        """
        own = self._training.own()
        found: list[list[PyTree]] = [[] for _ in self._groups]
        for part, state in zip(own.parts, own.states, strict=True):
            found[part.group].append(state)
        return [states[0] if len(states) == 1 else tuple(states) for states in found]

    def register_trainable_weights(self, param_states: PyTree) -> "OptaxOptimizer":
        """Train the weights in `param_states`, a pytree of States such as ``model.states(brainstate.ParamState)``.

        A weight that appears twice is updated once. Registering the same weights again changes nothing.
        """
        refuse_inside(self.opt_state, "register_trainable_weights(...)")
        _register_with_braintools()  # which may have been imported after this optimizer was made
        training = self._training
        new = trainable_weights(param_states, training.weights)
        if not new and not training.weights:
            raise ValueError(
                f"param_states must hold at least one brainstate.State, got {param_states!r}."
            )
        if not new:
            return self
        if training.weights and int(self.step_count) > 0:
            raise ValueError(
                "Training has begun, and registering further weights would reset the moments of the first group. "
                "Use add_param_group(...) for them."
            )
        weights = {**training.weights, **new}
        self._begin(weights, arranged(self._recipe, self._patterns, weights, training.added))
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

        The group follows the same schedule and begins with fresh moments; a mean of gradients that was
        begun (`accumulate_steps`) begins anew. None: as the optimizer was given.
        A group with ``lr=0`` is no frozen one where the schedule has an end of its own
        (``eta_min > 0``): weights are frozen by leaving them out.
        """
        refuse_inside(self.opt_state, "add_param_group(...)")
        training = self._training
        if not training.weights:
            raise ValueError(
                "register_trainable_weights(...) must be called before add_param_group(...)."
            )
        new = trainable_weights(params, training.weights)
        if not new:
            raise ValueError("params must hold at least one weight that is not registered yet.")
        given = {"lr": lr, "weight_decay": weight_decay}
        options |= {name: value for name, value in given.items() if value is not None}
        self._check_complete(options)
        listed = len(self.lr.base_lrs)
        if listed > 1 and len(self._groups) >= listed and lr is None:
            raise ValueError(
                f"The scheduler has a list of {listed} learning rates, and this would be group {len(self._groups) + 1}. "
                "Make the list one longer, or pass lr=... for the group."
            )
        leaves = tuple(path for weight in new.values() for path in weight.leaf_names())
        name = f"added {len(training.added) + 1}"
        group = group_of(ADDED, name, leaves, self._recipe, options)
        self._begin({**training.weights, **new}, (*self._groups, group), group)

    def _begin(self, weights: dict[str, Weight], groups: tuple[Group, ...], *added: Group) -> None:
        """Other weights, in other groups; an error changes nothing."""
        self._following.check_groups(self.lr, groups)
        training, following = self._training, self._following
        _, places, _ = following.planned(groups, self.lr)
        parts = training.update.parts if added else ()
        update = training.regrouped(weights, groups, places, parts)
        own = training.beginning(update, weights, training.own(), self._published.rates)
        following.regroup(groups, self._groups)
        training.weights, training.added = weights, (*training.added, *added)
        training.install(update, own)
        self._put_rates_beside_weights()

    def _put_rates_beside_weights(self) -> None:
        """The learning rates, and what the scheduler holds."""
        put = self._training.put()
        if put is not None:
            self._following.move(put)

    # --- Updating -----------------------------------------------------------------------------

    def step(self, grads: PyTree, **extra_args: Any) -> None:
        """Update the weights by `grads`, a pytree like the registered one; it may hold more.

        Outside a jitted function this runs one compiled program. `extra_args` go to optax; a
        ``grad`` among them is a pytree like `grads`, and ``value_fn`` is called with one.
        """
        if not self._training.weights:
            raise ValueError("register_trainable_weights(...) must be called before step(...).")
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.step()")
        check_list_of_rates(self.lr.base_lrs, self._groups)
        first = self._step_scheduler if self.auto_step else None
        self._training.step(grads, self._published.columns, extra_args, first)

    def update(self, grads: PyTree, **extra_args: Any) -> None:
        """The same as ``step()``."""
        self.step(grads, **extra_args)

    def _step_scheduler(self, made: Leaf | None) -> None:
        """Step the scheduler if there was an update; None: there always is."""
        if made is None:
            self.lr.step_for_follower()
        elif tracing():  # vmap tries a function out with zeros, and must see what it may write
            brainstate.transform.cond(made, self.lr.step_for_follower, lambda: None)
        elif fetched(made):
            self.lr.step_for_follower()

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Moments by the path of their weight, counts and the scheduler's state: numbers and arrays in nested dicts."""
        return checkpoint.saved(
            self._training.own(),
            self._published,
            self._following.learning,
            self._following.driven,
            self._described(),
            self.lr.state_dict(),
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
        states = [self._published, *self._following.memories]
        # What the dict has nothing for goes on, which must not be from 0.
        with room_for_all([*states, self.opt_state] if strict else states):
            self._load_or_stay(state_dict, strict)

    def _load_or_stay(self, state_dict: StateDict, strict: bool) -> None:
        training, following = self._training, self._following
        before = training.update, self.opt_state.value
        try:
            with following.unchanged_by_errors():
                if following.drive(checkpoint.was_driven(state_dict), self._groups):
                    training.replace(following.places)
                self._load(state_dict, strict)
        except Exception:
            training.update, self.opt_state.value = before
            raise

    def _load(self, state_dict: StateDict, strict: bool) -> None:
        training, learning = self._training, self._following.learning
        found = checkpoint.checked(
            state_dict,
            training.own(),
            training.fresh,
            learning,
            self._described(),
            self._published.groups,
            strict,
        )
        with unchanged_by_errors(self._following.memories):
            if learning is not None and found.memory is not None:
                learning.memory.value = found.memory
            self.lr.load_state_dict(found.scheduler, strict)  # the last that may fail
        training.load(found.own)
        if strict:
            self._published.write_rates(found.rates)

    def _described(self) -> StateDict:
        """Its hyper-parameters, as a state dict holds them."""
        names = {*self.parameters, *self.fixed} & vars(self).keys()
        arguments = {name: vars(self)[name] for name in sorted(names)} | self._recipe.foreign_values
        arguments |= self._recipe.factory | self._training.units()
        return checkpoint.described(type(self).__name__, arguments, self._groups)

    # --- Guarding -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        ours = name[0] == "_" and (name in self.__dict__ or hasattr(type(self), name))
        settable = not self._ready or ours or name == "current_lr"
        if not settable and (
            name in self.fixed or isinstance(getattr(type(self), name, None), property)
        ):
            remedy = (
                "Set current_lr, attach another scheduler with add_scheduler(...), or construct a new optimizer."
                if name == "lr"
                else "Construct a new optimizer. A number that is to change follows a schedule from the start, as in "
                "weight_decay=CosineAnnealingLR(0.1, T_max=100)."
            )
            raise AttributeError(
                f"{name} cannot be changed after construction: a compiled step would go on with the old value. {remedy}"
            )
        if not settable and self.ours:
            meant = "It is called current_lr here." if name in other_names("lr") else ""
            raise AttributeError(
                f"{name!r} of {type(self).__name__} cannot be set. {meant or 'Attributes of your own belong in a subclass.'}"
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        own = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        lr = {} if self._complete else {"lr": self.lr}
        more = self._recipe.foreign_values
        pairs = (f"{name}={value!r}" for name, value in {**lr, **own, **more}.items())
        return f"{type(self).__name__}({', '.join(pairs)})"

    def __str__(self) -> str:
        if not (weights := self._training.weights):
            return repr(self)
        groups = [*self.param_groups, *frozen(self._groups, sizes_of(weights))]
        return f"{self!r}\n{table(groups, self._unknown)}"


def _register_with_braintools() -> None:
    """Make ours optimizers of braintools to ``isinstance``, before a program that has imported braintools can check."""
    theirs = getattr(sys.modules.get("braintools.optim"), "OptaxOptimizer", None)
    if theirs is not None and not issubclass(OptaxOptimizer, theirs):
        theirs.register(OptaxOptimizer)


def _one_of(name: str, value: Any, other: str, same: Any) -> Any:
    """The value of an argument that has two names."""
    if value is not None and same is not None:
        raise ValueError(f"{name} and {other} are two names for one thing; pass one of them.")
    return same if value is None else value
