"""The optimizer: weights, parameter groups and one optax transformation for each, under one learning rate State."""

import functools
from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
from brainstate.graph import Node

from .. import _checks
from .._checkpoint import (
    VERSION,
    check_keys,
    check_number,
    check_version,
    copied,
    load_leaves,
    plain_key,
    saved_leaves,
    single,
    unwrap,
)
from ..formulas.arithmetic import LARGEST
from ..interop._braintools import register_with_braintools
from ..schedulers._base import LRScheduler, ShowsArguments
from ..schedulers.decay import ConstantLR
from ..states.clock import LAST_EPOCH
from ..states.internals import refuse_foreign_trace, tracing
from ..states.placement import place
from ..states.published import LearningRates
from ..states.view import View
from ._groups import Group, ParamGroup
from ._packing import Layout, layout_of, pack, unpack

Path = tuple[Any, ...]


class OptaxOptimizer(Node, metaclass=ShowsArguments):
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
    """

    graph_invisible_attrs = ("_compiled",)
    _compiled: Callable[..., Any] | None = None

    def __init__(
        self,
        tx: optax.GradientTransformation | None = None,
        lr: Any = None,
        weight_decay: float = 0.0,
        grad_clip_norm: float | None = None,
        grad_clip_value: float | None = None,
        *,
        clip_norm: float | None = None,
    ) -> None:
        if tx is not None and not (
            isinstance(tx, tuple) and hasattr(tx, "init") and hasattr(tx, "update")
        ):
            raise TypeError(f"tx must be an optax.GradientTransformation, got {tx!r}.")
        if grad_clip_norm is not None and clip_norm is not None:
            raise ValueError(
                "grad_clip_norm and clip_norm are two names for one thing; pass one of them."
            )
        norm = clip_norm if grad_clip_norm is None else grad_clip_norm
        self._tx = tx
        self.weight_decay = _checks.non_negative("weight_decay", weight_decay)
        self.grad_clip_norm, self.grad_clip_value = (
            None if value is None else _checks.positive(name, value)
            for name, value in (("grad_clip_norm", norm), ("grad_clip_value", grad_clip_value))
        )
        self._weights: dict[str, brainstate.State] = {}
        self._paths: dict[str, Path] = {}
        self._groups: tuple[Group, ...] = ()
        self._layouts: tuple[Layout, ...] = ()
        self.opt_state = brainstate.LongTermState(pack(np.int32(0), [], []))
        self._complete = lr is None and tx is not None
        if self._complete and not (isinstance(self.weight_decay, float) and self.weight_decay == 0):
            raise ValueError(
                "weight_decay needs lr=...: without it tx is used as it is, so build the decay into tx "
                "(optax.adamw, optax.add_decayed_weights)."
            )
        if not isinstance(lr, LRScheduler):
            lr = ConstantLR(
                _checks.non_negative("lr", 1e-3 if lr is None else lr), factor=1.0, total_iters=0
            )
        register_with_braintools(OptaxOptimizer)
        self._rates = LearningRates(1)
        self._attached: tuple[LRScheduler, ...] = ()
        self.add_scheduler(lr)

    # --- Learning rate ------------------------------------------------------------------------

    @property
    def lr(self) -> LRScheduler:
        """The scheduler."""
        return self._attached[self._slot]

    lr_scheduler = lr

    @property
    def base_lr(self) -> Any:
        """Base learning rate of the first group."""
        return self.lr._group_bases(self._rates)[0]

    @property
    def current_lr(self) -> Any:
        """Learning rate of the first group. Assigning sets it until the scheduler's next ``step()``."""
        self._refuse_complete("current_lr")
        return self._rates.value["lr"][0]

    @current_lr.setter
    def current_lr(self, value: Any) -> None:
        self._set_lr(0, value)

    def get_last_lr(self) -> list[Any]:
        """Learning rate of each group."""
        self._refuse_complete("get_last_lr()")
        return list(self._rates.value["lr"][: max(1, len(self._groups))])

    def lr_apply(self, apply_fn: Callable[[Any], Any]) -> None:
        """Map `apply_fn` over the learning rates of all groups; it lasts until the scheduler's next ``step()``."""
        self._refuse_complete("lr_apply()")
        if not callable(apply_fn):
            raise TypeError(f"apply_fn must be a function of a learning rate, got {apply_fn!r}.")
        self.lr.apply(apply_fn)

    def add_scheduler(self, scheduler: LRScheduler) -> None:
        """From now on follow `scheduler`, at its epoch, and no longer the one before."""
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.add_scheduler()")
        if not isinstance(scheduler, LRScheduler):
            raise TypeError(f"scheduler must be an lrax scheduler, got {scheduler!r}.")
        if self._attached:
            self.lr._release(self._rates)
        known = [s is scheduler for s in self._attached]
        if not any(known):
            self._attached += (scheduler,)
            known.append(True)
        self._slot = known.index(True)
        self._fit_rates()
        scheduler._adopt(self._rates, self._slot)

    def _fit_rates(self) -> None:
        """One learning rate a group, and room for the groups that a list of them announces."""
        groups = max(len(self._groups), len(self.lr.pieces()), 1)
        if groups != len(self._rates.base_lrs):
            own = self._rates.base_lrs[: max(len(self._groups), 1)]
            self._rates.resize(own, groups)

    def _set_lr(self, group: int, value: Any) -> None:
        refuse_foreign_trace(self.opt_state, "Setting the learning rate")
        self._refuse_complete("the learning rate")
        value = _checks.real("lr", value, low=0, high=LARGEST)
        old = self._rates.value
        if isinstance(old["lr"], np.ndarray) and not _checks.is_traced(value):
            lr = old["lr"].copy()
            lr[group] = value
        else:
            lr = jnp.asarray(old["lr"]).at[group].set(value)
        self._rates.value = {**old, "lr": lr}

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
        return dict(self._weights)

    @property
    def param_groups(self) -> list[ParamGroup]:
        """The parameter groups, in the order in which they were added."""
        return [ParamGroup(self, index) for index in range(len(self._groups))]

    @property
    def step_count(self) -> View:
        """Number of updates made."""
        return View(lambda: self.opt_state.value.counts[..., 0])

    def register_trainable_weights(self, param_states: Any) -> "OptaxOptimizer":
        """Train the weights in `param_states`, a pytree of States such as ``model.states(brainstate.ParamState)``.

        A weight that appears twice is updated once. Registering the same weights again changes nothing.
        """
        register_with_braintools(OptaxOptimizer)  # which may have come after this optimizer
        new = self._new_weights(param_states)
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
        self._remember(new)
        first = self._groups[0].names if self._groups else ()
        self._groups = (Group(first + tuple(new), self.weight_decay), *self._groups[1:])
        if not self._complete:
            self._refuse_descent(self._values(self._groups[0]))
        self._begin_group(0)
        return self

    def add_param_group(self, params: Any, *, lr: Any = None, weight_decay: Any = None) -> None:
        """Train further weights, with their own base learning rate `lr` and `weight_decay`.

        The group follows the same schedule and begins with fresh moments. None: as the first group.
        """
        if not self._groups:
            raise ValueError(
                "register_trainable_weights(...) must be called before add_param_group(...)."
            )
        new = self._new_weights(params)
        if not new:
            raise ValueError("params must hold at least one weight that is not registered yet.")
        if lr is not None:
            self._refuse_complete("a group's lr")
            lr = _checks.non_negative("lr", lr)
        if weight_decay is not None and self._complete:
            raise ValueError(
                "weight_decay of a group needs lr=... in the optimizer: without it tx is used as it is."
            )
        listed = len(self.lr.pieces())
        if listed > 1 and len(self._groups) >= listed and lr is None:
            raise ValueError(
                f"The scheduler has a list of {listed} learning rates, and this would be group {len(self._groups) + 1}. "
                "Make the list one longer, or pass lr=... for the group."
            )
        decay = (
            self.weight_decay
            if weight_decay is None
            else _checks.non_negative("weight_decay", weight_decay)
        )
        self._remember(new)
        bases = self._rates.base_lrs[: len(self._groups)]
        self._groups += (Group(tuple(new), decay),)
        groups = max(len(self._groups), listed)
        self._rates.resize((*bases, lr), groups)
        self.lr._publish()
        self._begin_group(len(self._groups) - 1)

    def _new_weights(self, tree: Any) -> dict[str, tuple[Path, brainstate.State]]:
        known = {id(state) for state in self._weights.values()}
        new: dict[str, tuple[Path, brainstate.State]] = {}
        is_state = lambda leaf: isinstance(leaf, brainstate.State)  # noqa: E731
        for keys, state in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_state)[0]:
            path = tuple(plain_key(key) for key in keys)
            name = (
                ".".join(
                    str(part)
                    for key in path
                    for part in (key if isinstance(key, tuple) else (key,))
                )
                or "weights"
            )
            if not is_state(state):
                raise TypeError(
                    f"param_states must hold brainstate.State objects, got {type(state).__name__} at {name!r}. "
                    "Of a model they are model.states(brainstate.ParamState)."
                )
            if id(state) in known:
                continue
            for leaf in jax.tree.leaves(state.value):
                if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
                    raise TypeError(
                        f"Weights must hold floating-point numbers, got {jnp.result_type(leaf)} in {name!r}. Leave it out."
                    )
            if name in self._weights or name in new:
                raise ValueError(
                    f"There is another weight named {name!r}. Register both in one nested dict."
                )
            known.add(id(state))
            new[name] = (path, state)
        return new

    def _remember(self, new: dict[str, tuple[Path, brainstate.State]]) -> None:
        self._paths = self._paths | {name: path for name, (path, _) in new.items()}
        self._weights = self._weights | {name: state for name, (_, state) in new.items()}

    def _values(self, group: Group) -> dict[str, Any]:
        return {name: self._weights[name].value for name in group.names}

    def _unpacked(self) -> tuple[Any, list[Any]]:
        """The number of steps, and the optax state of each group."""
        return unpack(self.opt_state.value, self._layouts)

    def _begin_group(self, index: int) -> None:
        """Fresh moments for a group, and our numbers where its weights live."""
        group = self._groups[index]
        values = self._values(group)
        step_count, states = self._unpacked()
        # Copies: what tx may need again must not be given away by a donating step.
        fresh, structure = jax.tree.flatten(self._transform(group).init(values))
        for i, leaf in enumerate(fresh):  # one by one, for the sake of memory
            fresh[i] = copied(leaf)
        states[index:] = [structure.unflatten(fresh), *states[index + 1 :]]
        self._layouts = tuple(map(layout_of, states))
        begun = pack(step_count, states, self._layouts)
        leaves = [
            leaf
            for leaf in jax.tree.leaves(values)
            if isinstance(leaf, jax.Array) and not _checks.is_traced(leaf)
        ]
        sharding = next((leaf.sharding for leaf in leaves if leaf.committed), None)
        if sharding is None:
            self.opt_state.value = begun
            return
        if isinstance(sharding, jax.sharding.NamedSharding):
            sharding = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())

        def put(leaf: Any) -> Any:
            # A scalar elsewhere would be moved, and compiled for, at every change of place.
            return leaf if getattr(leaf, "committed", False) else jax.device_put(leaf, sharding)

        self.opt_state.value = jax.tree.map(put, begun)
        self._rates.move(put)
        states: Any = brainstate.graph.states(self.lr)
        for state in states.values():
            if not isinstance(state, LearningRates):
                state.value = jax.tree.map(put, state.value)

    # --- Updating -----------------------------------------------------------------------------

    def _direction(
        self, weight_decay: optax.GradientTransformation
    ) -> optax.GradientTransformation:
        """The update before the learning rate, with `weight_decay` in its place."""
        if self._tx is None:
            return optax.chain(weight_decay, optax.scale_by_adam())
        return optax.chain(self._tx, weight_decay)

    def _transform(self, group: Group) -> optax.GradientTransformationExtraArgs:
        decay = group.weight_decay
        none = not _checks.is_traced(decay) and decay == 0
        return optax.with_extra_args_support(
            self._direction(optax.identity() if none else optax.add_decayed_weights(decay))
        )

    def step(self, grads: Any, **extra_args: Any) -> None:
        """Update the weights by `grads`, a pytree like the registered one; it may hold more.

        Outside a jitted function this runs one compiled program. `extra_args` go to optax.
        """
        if not self._weights:
            raise ValueError("register_trainable_weights(...) must be called before step(...).")
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.step()")
        listed = len(self.lr.pieces())
        if (
            1 < listed < len(self._groups) and None in self._rates.base_lrs[listed:]
        ) or listed > max(len(self._groups), 1):
            raise ValueError(
                f"The scheduler has a list of {listed} learning rates for {len(self._groups)} parameter groups. "
                "A list must have one entry a group; a single number serves every group."
            )
        found = {name: self._gradient(grads, name) for name in self._weights}
        values = {name: state.value for name, state in self._weights.items()}
        update = self._update
        if not tracing() and not any(callable(leaf) for leaf in jax.tree.leaves(extra_args)):
            update = self._compiled = self._compiled or jax.jit(self._update)
        new, self.opt_state.value = update(
            found, values, self.opt_state.value, self._rates.value["lr"], extra_args
        )
        for name, state in self._weights.items():
            state.value = new[name]

    def update(self, grads: Any, **extra_args: Any) -> None:
        """The same as ``step()``."""
        self.step(grads, **extra_args)

    def _gradient(self, grads: Any, name: str) -> Any:
        value = grads
        for key in self._paths[name]:
            try:
                value = (
                    getattr(value, key)
                    if isinstance(key, str) and hasattr(type(value), "_fields")
                    else value[key]
                )
            except (KeyError, IndexError, TypeError, AttributeError):
                raise ValueError(
                    f"grads must hold a gradient for every registered weight; {name!r} is missing. "
                    "Take the gradient with respect to the same states that were registered."
                ) from None
        return value

    def _update(
        self, grads: Any, values: Any, opt: Any, lrs: Any, extra_args: Any
    ) -> tuple[Any, Any]:
        """New weights and new optax states, from old ones."""
        for name, value in values.items():
            if jax.tree.structure(grads[name]) != jax.tree.structure(value):
                raise ValueError(
                    f"The gradient of {name!r} must have the structure of the weight, {jax.tree.structure(value)}, "
                    f"got {jax.tree.structure(grads[name])}."
                )
        grads = {
            name: jax.tree.map(functools.partial(_as_gradient, name), grads[name], value)
            for name, value in values.items()
        }
        if self.grad_clip_norm is not None:
            # The squares of a thousand float16 overflow, and their sum in bfloat16 stands still.
            wide = jax.tree.map(lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32)), grads)
            clip = optax.clip_by_global_norm(self.grad_clip_norm)
            wide, _ = clip.update(wide, optax.EmptyState())
            grads = jax.tree.map(lambda clipped, g: clipped.astype(g.dtype), wide, grads)
        if self.grad_clip_value is not None:
            grads, _ = optax.clip(self.grad_clip_value).update(grads, optax.EmptyState())
        step_count, states = unpack(opt, self._layouts)
        new = {}
        for i, group in enumerate(self._groups):
            weights = {name: values[name] for name in group.names}
            own = {name: grads[name] for name in group.names}
            updates, states[i] = self._transform(group).update(
                own, states[i], weights, **extra_args
            )
            if not self._complete:
                updates = jax.tree.map(functools.partial(_descend, lrs[i]), updates)
            new.update(optax.apply_updates(weights, updates))  # pyright: ignore
        return new, pack(step_count + np.int32(1), states, self._layouts)

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Moments, counts and the scheduler's state: a nested dict of numbers and arrays with str keys."""
        step_count, states = self._unpacked()
        return {
            "version": VERSION,
            "step_count": single("step_count", step_count),
            "lr": {str(i): float(lr) for i, lr in enumerate(np.asarray(self._rates.value["lr"]))},
            "opt_state": saved_leaves(states),
            "lr_scheduler": self.lr.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved schedule may be another one: its epoch is taken over and a warning says what differs.
        """
        refuse_foreign_trace(self.opt_state, f"{type(self).__name__}.load_state_dict()")
        strict = _checks.flag("strict", strict)
        check_version("state_dict", state_dict)
        if not self._weights and state_dict.get("opt_state"):
            raise ValueError(
                "register_trainable_weights(...) must be called before load_state_dict(...)."
            )
        check_keys(
            "state_dict", state_dict, ("version", "step_count", "lr", "opt_state", "lr_scheduler")
        )
        count = unwrap(state_dict["step_count"])
        check_number("step_count", count, low=0, high=LAST_EPOCH, whole=True)
        saved = unwrap(state_dict["lr"])
        groups = len(self._rates.base_lrs)
        check_keys("lr", saved, map(str, range(groups)))
        lrs = [check_number(f"lr.{i}", saved[str(i)], low=0, high=LARGEST) for i in range(groups)]
        _, states = self._unpacked()
        loaded = load_leaves(state_dict["opt_state"], states)
        checked = self.lr._checked(state_dict["lr_scheduler"], strict)

        self.lr._load(checked)
        opt = pack(count, loaded, self._layouts)
        counts = place(opt.counts, self.opt_state.value.counts)
        self.opt_state.value = opt._replace(counts=counts)
        if strict:
            self._rates.value = {**self._rates.value, "lr": np.array(lrs, np.float32)}

    def __setattr__(self, name: str, value: Any) -> None:
        taken = name in self.__dict__ or (name != "current_lr" and hasattr(type(self), name))
        taken = taken or name in (
            "tx",
            "clip_norm",
            "beta1",
            "beta2",
        )  # arguments that are no attributes
        if taken and not name.startswith("_"):
            raise AttributeError(
                f"{name} cannot be changed after construction: a compiled step would go on with the old value. "
                "Set current_lr, attach another scheduler with add_scheduler(...), or construct a new optimizer."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        hidden = ("opt_state",)
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in hidden}
        lr = {} if self._complete else {"lr": self.lr}
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in {**lr, **shown}.items())})"
        )

    # --- Refusing -----------------------------------------------------------------------------

    def _refuse_descent(self, values: Any) -> None:
        """Refuse a `tx` that already descends: scaled by minus the learning rate it would ascend."""
        if self._tx is None:
            return
        weights = jax.tree.map(
            lambda leaf: jnp.zeros((1,) * np.ndim(leaf), jnp.result_type(leaf)), values
        )
        tx = optax.with_extra_args_support(self._tx)
        grads = jax.tree.map(jnp.ones_like, weights)
        total = 0.0
        try:
            state = tx.init(weights)
            for _ in range(3):  # a schedule may begin at 0
                updates, state = tx.update(grads, state, weights)
                total += sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(updates))
        except Exception:  # a tx that wants more than gradients cannot be tried out
            return
        if total < 0:
            raise ValueError(
                "tx must be a direction when lr=... is given (for example optax.scale_by_adam()), but this one already "
                "descends, and would ascend when scaled by -lr. Pass it without lr to use it as it is."
            )


def _as_gradient(name: str, gradient: Any, weight: Any) -> Any:
    """A checked gradient as a floating-point array; one of whole numbers gets the dtype of the weight."""
    if not hasattr(gradient, "dtype") and not isinstance(gradient, (int, float)):
        raise TypeError(f"The gradient of {name!r} must be an array, got {gradient!r:.80}.")
    if np.shape(gradient) != np.shape(weight):
        raise ValueError(
            f"The gradient of {name!r} must have the weight's shape {np.shape(weight)}, got {np.shape(gradient)}."
        )
    if isinstance(gradient, (int, float)) or not jnp.issubdtype(gradient.dtype, jnp.inexact):
        return jnp.asarray(gradient, jnp.result_type(weight))
    return gradient


def _descend(lr: Any, update: Any) -> Any:
    """``-lr * update`` in at least float32, and back: a learning rate rounded to bfloat16 is 0.4 % off."""
    wide = jnp.promote_types(update.dtype, jnp.float32)
    return (-lr * update.astype(wide)).astype(update.dtype)
