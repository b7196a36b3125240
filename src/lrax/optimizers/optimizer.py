"""The optimizer: weights, parameter groups and one optax transformation for each, under one State of learning rates."""

from collections.abc import Callable, Sequence
from typing import Any

import brainstate
import jax
import numpy as np
import optax

from .. import _checks
from .._transfers import meant
from .._types import Epochs, Function, Leaf, Number, PyTree, Rates, Scalar, StateDict
from ..formulas.evaluate import evaluate
from ..schedulers.decay import constant
from ..schedulers.scheduler import LRScheduler
from ..states.internals import refuse_foreign_trace, refuse_inside, tracing
from ..states.node import GuardedNode
from ..states.placement import given, held_states, move, place
from ..states.published import Plan, Published
from ..states.view import View
from . import checkpoint
from .groups import Group, ParamGroup, check_list_of_rates, check_own_bases
from .packing import layout_of, pack, steps_made, unpack
from .update import (
    Update,
    check_weights,
    checked_transformation,
    fresh_state,
    refuse_descent,
    transform_of,
)
from .weights import Weight, gradient_of, named_weights, put_beside

announce: list[Callable[[type], None]] = []
"""Called with the class whenever an optimizer is made or given weights, before a program can look at it."""


class OptaxOptimizer(GuardedNode):
    """Any optax transformation as an optimizer of brainstate weights.

    ``step(grads)`` with the clipped gradient g does, for each weight w::

        w = w - lr * (tx(g) + weight_decay * w)        tx and lr
            w - lr * adam(g + weight_decay * w)        without tx
            w + tx(g)                                  without lr: tx is complete

    Parameters
    ----------
    tx : optax.GradientTransformation, optional
        With `lr`, a direction such as ``optax.scale_by_lion()``. Without, a complete optimizer such
        as ``optax.adam(1e-3)``, used as it is. None: Adam.
    lr : float or LRScheduler, optional
        Learning rate, >= 0, or the scheduler that gives it. None: 1e-3 without `tx`.
    weight_decay : float, default 0.0
        Decay of the weights, >= 0; needs `lr` if there is a `tx`.
    grad_clip_norm : float, optional
        Largest norm of the gradients of all groups together, > 0.
    grad_clip_value : float, optional
        Largest absolute value of each gradient entry, > 0.
    clip_norm : float, optional
        Another name for `grad_clip_norm`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax, optax
    >>> weight = brainstate.ParamState(1.0)
    >>> optimizer = lrax.OptaxOptimizer(optax.scale_by_lion(), lr=0.1)
    >>> optimizer = optimizer.register_trainable_weights({"weight": weight})
    >>> optimizer.step({"weight": 2.0})
    >>> print(f"{weight.value:.2f}")
    0.90

    Notes
    -----
    - Weights of half precision (bfloat16, float16) have float32 moments, since an average of many
      numbers stands still in fewer bits; update and weight are added in float32 and rounded once.
      In optax and torch moments have the dtype of the weight. Gradients of any real dtype are
      taken; the state keeps its dtypes.
    - What acts at every step cannot be around a `tx` that leaves some out (``optax.MultiSteps``,
      ``apply_if_finite``): weight decay and clipping belong inside of it.
    """

    graph_invisible_attrs = ("_compiled",)
    _compiled: tuple[Update, Function] | None = None
    _ready: bool = False
    fixed = frozenset({"opt_state"})

    def __init__(
        self,
        tx: optax.GradientTransformation | None = None,
        lr: Scalar | LRScheduler | None = None,
        weight_decay: float = 0.0,
        grad_clip_norm: float | None = None,
        grad_clip_value: float | None = None,
        *,
        clip_norm: float | None = None,
    ) -> None:
        if grad_clip_norm is not None and clip_norm is not None:
            raise ValueError(
                "grad_clip_norm and clip_norm are two names for one thing; pass one of them."
            )
        norm = clip_norm if grad_clip_norm is None else grad_clip_norm
        self._tx = None if tx is None else checked_transformation(tx)
        self.weight_decay = _checks.non_negative("weight_decay", weight_decay)
        self.grad_clip_norm, self.grad_clip_value = (
            None if value is None else _checks.positive(name, value)
            for name, value in (("grad_clip_norm", norm), ("grad_clip_value", grad_clip_value))
        )
        self._complete = lr is None and tx is not None
        if self._complete and not (isinstance(self.weight_decay, float) and self.weight_decay == 0):
            raise ValueError(
                "weight_decay needs lr=...: without it tx is used as it is, so build the decay into tx "
                "(optax.adamw, optax.add_decayed_weights)."
            )
        self._weights: dict[str, Weight] = {}
        self._update = self._update_of(())
        self.opt_state = brainstate.LongTermState(pack(np.int32(0), [], []))
        self._published = Published(1)
        self._announce()
        self.add_scheduler(lr if isinstance(lr, LRScheduler) else constant(lr))
        self._ready = True

    def __del__(self) -> None:
        # Not weakref.finalize: a copy comes into being without a constructor that could ask for it.
        scheduler, published = (vars(self).get(name) for name in ("_scheduler", "_published"))
        if scheduler is not None and published is not None:
            scheduler.publishing.forget(published)

    # --- Learning rate ------------------------------------------------------------------------

    @property
    def lr(self) -> LRScheduler:
        """The scheduler."""
        return self._scheduler

    lr_scheduler = lr

    @property
    def base_lr(self) -> Number:
        """Base learning rate of the first group."""
        return self._scheduler.publishing.of(self._published).bases[0]

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
        return list(self._published.rates[: max(1, len(self._groups))])

    def lr_at(self, epoch: Epochs) -> Rates:
        """What each group gets at `epoch`: float32, shape ``epoch.shape + (groups,)``."""
        self._refuse_complete("lr_at()")
        self.lr.refuse_memory()
        bases = self.lr.publishing.of(self._published).bases[: max(1, len(self._groups))]
        return evaluate(self.lr.formulas, bases, _checks.epochs(epoch), type(self.lr))

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
        check_own_bases(scheduler.formulas, self._own_bases())
        before: LRScheduler = vars(self).get("_scheduler", scheduler)
        if before is not scheduler and before.publishing.release(self._published):
            before.publish()
        scheduler.publishing.adopt(self._published, Plan(tuple(self._own_bases())))
        try:
            scheduler.publish()
        except Exception:  # a function of the user's may fail, or give no learning rate
            scheduler.publishing.release(self._published)
            before.publishing.adopt(self._published, Plan(tuple(self._own_bases())))
            raise
        self._scheduler = scheduler
        self._put_rates_beside_weights()

    def _own_bases(self) -> list[Number | None]:
        return [group.lr for group in self._groups]

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
        """The parameter groups, in the order in which they were added."""
        return [self._param_group(index) for index in range(len(self._groups))]

    def _param_group(self, index: int) -> ParamGroup:
        group = self._groups[index]
        rate = View(lambda: self._published.column(index), lambda value: self._set_lr(index, value))
        weights = {name: self._weights[name].state for name in group.names}
        return ParamGroup(weights, rate, group.weight_decay)

    @property
    def step_count(self) -> View:
        """Number of updates made."""
        return View(lambda: steps_made(self.opt_state.value))

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
        if self._groups and int(self.step_count) > 0:
            raise ValueError(
                "Training has begun, and registering further weights would reset the moments of the first group. "
                "Use add_param_group(...) for them."
            )
        first = self._groups[0].names if self._groups else ()
        group = Group((*first, *new), self.weight_decay)
        if self._tx is not None and not self._complete:
            weights = {**self._weights, **new}
            refuse_descent(self._tx, {name: weights[name].state.value for name in group.names})
        self._begin_group(0, new, group)
        return self

    def add_param_group(
        self, params: PyTree, *, lr: Scalar | None = None, weight_decay: Scalar | None = None
    ) -> None:
        """Train further weights, with their own base learning rate `lr` and `weight_decay`.

        The group follows the same schedule and begins with fresh moments. None: as the first group.
        A group with ``lr=0`` is no frozen one where the schedule has an end of its own
        (``eta_min > 0``): weights are frozen by leaving them out.
        """
        refuse_inside(self.opt_state, "add_param_group(...)")
        if not self._groups:
            raise ValueError(
                "register_trainable_weights(...) must be called before add_param_group(...)."
            )
        new = named_weights(params, self._weights)
        if not new:
            raise ValueError("params must hold at least one weight that is not registered yet.")
        if lr is not None:
            self._refuse_complete("a group's lr")
            lr = _checks.non_negative("lr", lr)
        if weight_decay is not None and self._complete:
            raise ValueError(
                "weight_decay of a group needs lr=... in the optimizer: without it tx is used as it is."
            )
        listed = len(self.lr.base_lrs)
        if listed > 1 and len(self._groups) >= listed and lr is None:
            raise ValueError(
                f"The scheduler has a list of {listed} learning rates, and this would be group {len(self._groups) + 1}. "
                "Make the list one longer, or pass lr=... for the group."
            )
        decay = self.weight_decay
        if weight_decay is not None:
            decay = _checks.non_negative("weight_decay", weight_decay)
        check_own_bases(self.lr.formulas, [*self._own_bases(), lr])
        self._begin_group(len(self._groups), new, Group(tuple(new), decay, lr))
        self.lr.publishing.change(self._published, Plan(tuple(self._own_bases())))
        self.lr.publish()

    @property
    def _groups(self) -> tuple[Group, ...]:
        return self._update.groups

    def _unpacked(self) -> tuple[Leaf, list[PyTree]]:
        """The number of steps, and the optax state of each group."""
        with meant():
            return unpack(self.opt_state.value, self._update.layouts)

    def _begin_group(self, index: int, new: dict[str, Weight], group: Group) -> None:
        """A group, with new weights, and fresh moments; our numbers where its weights live."""
        weights = {**self._weights, **new}
        values = {name: weights[name].state.value for name in group.names}
        clips = {"grad_clip_norm": self.grad_clip_norm, "grad_clip_value": self.grad_clip_value}
        check_weights(values, group, self._tx, clips)
        self._weights = weights
        step_count, states = self._unpacked()
        states[index:] = [
            fresh_state(transform_of(group, self.direction), values),
            *states[index + 1 :],
        ]
        groups = (*self._groups[:index], group, *self._groups[index + 1 :])
        self._update = self._update_of(groups, states)
        put = put_beside(values.values()) or (lambda number: number)
        self.opt_state.value = jax.tree.map(put, pack(step_count, states, self._update.layouts))
        self._put_rates_beside_weights()

    def _put_rates_beside_weights(self) -> None:
        """The learning rates, and what the scheduler holds."""
        put = put_beside(weight.state.value for weight in self._weights.values())
        if put is not None:
            self._published.move(put)
            held = held_states(self.lr).values()
            move((state for state in held if not isinstance(state, Published)), put)

    def _announce(self) -> None:
        for tell in announce:
            tell(OptaxOptimizer)

    # --- Updating -----------------------------------------------------------------------------

    def direction(self, weight_decay: optax.GradientTransformation) -> optax.GradientTransformation:
        """The update before the learning rate, with `weight_decay` in its place."""
        if self._tx is None:
            return optax.chain(weight_decay, optax.scale_by_adam())
        return optax.chain(self._tx, weight_decay)

    def _update_of(self, groups: tuple[Group, ...], states: Sequence[PyTree] = ()) -> Update:
        return Update(
            groups,
            tuple(transform_of(group, self.direction) for group in groups),
            tuple(map(layout_of, states)),
            self.grad_clip_norm,
            self.grad_clip_value,
            self._complete,
        )

    def step(self, grads: PyTree, **extra_args: Any) -> None:
        """Update the weights by `grads`, a pytree like the registered one; it may hold more.

        Outside a jitted function this runs one compiled program. `extra_args` go to optax.
        """
        if not self._weights:
            raise ValueError("register_trainable_weights(...) must be called before step(...).")
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.step()")
        check_list_of_rates(self.lr.base_lrs, self._own_bases())
        found = {name: gradient_of(grads, name, self._weights) for name in self._weights}
        values = {name: weight.state.value for name, weight in self._weights.items()}
        own: Any = (values, self.opt_state.value, self._published.rates)
        update: Function = self._update
        if not tracing() and not any(callable(leaf) for leaf in jax.tree.leaves(extra_args)):
            update = self._compiled_update()
            own = given(own)
        values, opt, rates = own
        new, self.opt_state.value = update(found, values, opt, rates, extra_args)
        for name, weight in self._weights.items():
            weight.state.value = new[name]

    def update(self, grads: PyTree, **extra_args: Any) -> None:
        """The same as ``step()``."""
        self.step(grads, **extra_args)

    def _compiled_update(self) -> Function:
        """The update as a program of its own, which knows nothing of this optimizer."""
        if self._compiled is None or self._compiled[0] is not self._update:
            self._compiled = self._update, jax.jit(self._update)
        return self._compiled[1]

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Moments, counts and the scheduler's state: a nested dict of numbers and arrays with str keys."""
        return checkpoint.saved(
            *self._unpacked(), self._published, self._described(), self.lr.state_dict()
        )

    def load_state_dict(self, state_dict: StateDict, strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved schedule and hyper-parameters may be other ones: those here go on, from the saved
        epoch, and a warning says what differs. What is inside of a `tx` cannot be compared.
        """
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.load_state_dict()")
        strict = _checks.flag("strict", strict)
        _, states = self._unpacked()
        found = checkpoint.checked(
            state_dict, strict, states, self._described(), self._published.groups
        )
        self.lr.load_state_dict(found.scheduler, strict)  # the last that may fail
        opt = pack(found.step_count, found.states, self._update.layouts)
        counts = place(opt.counts, self.opt_state.value.counts)
        self.opt_state.value = opt._replace(counts=counts)
        if strict:
            self._published.write(found.rates)

    def _described(self) -> StateDict:
        """Its hyper-parameters, as a state dict holds them."""
        names = {*self.parameters, *self.fixed} & vars(self).keys() - {"opt_state"}
        arguments = {name: vars(self)[name] for name in sorted(names)}
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
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in hidden}
        lr = {} if self._complete else {"lr": self.lr}
        pairs = (f"{name}={value!r}" for name, value in {**lr, **shown}.items())
        return f"{type(self).__name__}({', '.join(pairs)})"
