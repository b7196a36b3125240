"""Averages of weights, exponential or equal, under one State."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._transfers import meant
from .._types import Function, Leaf, Number, PyTree, Scalar, StateDict, Unchecked, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic
from ..formulas.description import differences, named
from ..formulas.evaluate import evaluate_traced, is_concrete
from ..formulas.formula import Formula
from ..formulas.schedule import Member
from ..schedulers.scheduler import LRScheduler
from ..states.clock import LAST_EPOCH
from ..states.internals import refuse_foreign_trace, tracing
from ..states.node import OfNetwork
from ..states.placement import given, place
from ..states.saving import (
    VERSION,
    check_keys,
    check_number,
    check_version,
    copied,
    load_leaves,
    saved_leaves,
    single,
    unwrap,
    warn,
)
from ..states.view import View
from .scheduled import as_schedule
from .weights import UNIT_OF, Weight, named_leaves, named_weights, put_beside, units_of, widened


@dataclasses.dataclass(frozen=True)
class _Share(Formula):
    """The share of the weights in the next average: ``1 - decay``, taken in float64, or that of an equal average."""

    decay: Number | Member | Function | None

    def decay_at(self, t: Value, x: Arithmetic) -> Value:
        if isinstance(self.decay, Member):
            return self.decay.raw(t, self.decay.base, x)
        return x.call(self.decay, t) if callable(self.decay) else self.decay

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        if self.decay is None:
            return 1 / (t + 1)
        return x.minimum(x.maximum(1 - self.decay_at(t, x), 0.0), 1.0)


def _share_of(decay: Unchecked) -> _Share:
    """The share that follows from a checked decay."""
    if decay is None:
        return _Share(None)
    if isinstance(decay, LRScheduler):
        _refuse_learning(decay)
        decay = as_schedule("decay", decay)
    elif not callable(decay) or isinstance(decay, type):
        decay = _checks.non_negative("decay", decay)
    share = _Share(decay)
    if is_concrete(share):
        first = share.decay_at(0, host)
        if not 0 <= first < 1:
            at = "" if first is decay else f" at epoch 0, from {decay!r:.80}"
            raise ValueError(
                f"decay must be a number in [0, 1), got {first}{at}. It is the share of the average that is kept, such as 0.999."
            )
    return share


def _refuse_learning(scheduler: LRScheduler) -> None:
    if scheduler.learning is not None:
        raise TypeError(
            f"decay must be a function of the epoch, which a scheduler with a memory is not, got {scheduler!r:.80}. "
            "Pass a number, or a scheduler such as CosineAnnealingLR(0.99, T_max=1000, eta_min=1.0)."
        )


def _checked_clock(scheduler: Unchecked, share: _Share) -> LRScheduler | None:
    if scheduler is None:
        return None
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(
            f"scheduler must be an lrax scheduler, whose clock is read, got {scheduler!r:.80}."
        )
    if not (isinstance(share.decay, Member) or callable(share.decay)):
        raise ValueError(
            f"scheduler must be left out unless decay depends on its clock, got {scheduler!r:.80} and decay={share.decay!r}."
        )
    return scheduler


def _averaged(
    share: _Share, kind: type, held: PyTree, values: dict[str, PyTree], epoch: Leaf | None
) -> PyTree:
    """The next average and count, as a pure function of those before; the `epoch` may be the count."""
    count = held["updates"]
    part = evaluate_traced((share,), (1.0,), count if epoch is None else epoch, kind)[..., 0]
    average = {name: _moved(name, part, held["average"][name], w) for name, w in values.items()}
    return {"average": average, "updates": jnp.minimum(count, LAST_EPOCH - 1) + np.int32(1)}


def _moved(name: str, part: Leaf, average: PyTree, weight: PyTree) -> PyTree:
    """The average, moved by a part of the way to the weight; by all of it, without rounding, if that is 1."""

    def moved(old: Leaf, new: Leaf) -> Leaf:
        new = jnp.asarray(new, old.dtype)
        return jnp.where(part == 1, new, old + part.astype(old.dtype) * (new - old))

    _check_alike(name, average, weight)
    return jax.tree.map(moved, average, weight)


def _check_alike(name: str, average: PyTree, weight: PyTree) -> None:
    """A weight must still be what it was when its average began."""
    wanted, found = (
        (jax.tree.structure(tree), [*map(np.shape, jax.tree.leaves(tree))])
        for tree in (average, weight)
    )
    if wanted != found:
        raise ValueError(
            f"The weight {name!r} must have the structure and the shapes of its average, {wanted[0]} of {wanted[1]}, "
            f"got {found[0]} of {found[1]}. Construct a new AveragedWeights(...)."
        )


class AveragedWeights(OfNetwork):
    """An average of weights over the updates of a training: exponential (EMA) or equal (SWA).

    To evaluate a model with, and to keep: it is less noisy than the last weights. It begins as a
    copy of the weights. ``update()``, after each step of the optimizer, does for each weight w::

        average = average + (1 - decay) * (w - average)       = decay * average + (1 - decay) * w
        average = average + (w - average) / n                 decay=None, the n-th update

    Parameters
    ----------
    params : pytree of State
        The weights, such as ``model.states(brainstate.ParamState)``.
    decay : float, LRScheduler, callable or None, default 0.999
        Share of the average that is kept, in [0, 1), or a function of the epoch that gives it, such
        as a scheduler or an optax schedule. None: the mean of all weights that were seen by
        ``update()``; for SWA call it once an epoch, from where the average shall begin.
    scheduler : LRScheduler, optional
        The scheduler whose clock is the epoch for `decay`, usually that of the learning rate. None:
        the epoch is the number of updates before this one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax
    >>> weight = brainstate.ParamState(1.0)
    >>> averaged = lrax.AveragedWeights({"weight": weight}, decay=0.75)
    >>> weight.value = 3.0
    >>> averaged.update()
    >>> with averaged.swapped():
    ...     print(weight.value)
    1.5
    >>> print(weight.value)
    3.0

    Notes
    -----
    - The clock of a scheduler that is the decay is neither read nor moved. A function is called as
      LambdaLR says, and checked at epoch 0 only: what it gives later is clamped to [0, 1]. The
      share 1 - decay is float32, rounded once.
    - The average is at least float32, and complex, nested or sharded as the weight is.
    - torch: ``AveragedModel`` copies the weights at its first update, here at construction, which
      for decay=None is the same; its averages have the dtype of the weight. What BatchNorm holds
      is no ParamState: hand it over with `params`, and it is averaged. There is no ``update_bn``.
    - optax: ``ema(decay, debias=False)`` of the weights, which begins at 0.

    References
    ----------
    P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    https://arxiv.org/abs/1803.05407
    """

    graph_invisible_attrs = ("_compiled", "_swapped", "_kept")
    _compiled: Function | None = None
    _swapped: bool = False
    _kept: PyTree = None
    """What the State holds, while the weights are swapped."""

    _ready: bool = False
    fixed = frozenset({"state"})

    def __init__(
        self,
        params: PyTree,
        decay: Scalar | LRScheduler | Callable[[Scalar], Scalar] | None = 0.999,
        *,
        scheduler: LRScheduler | None = None,
    ) -> None:
        self._share = _share_of(decay)
        self.decay = self._share.decay
        self.scheduler = _checked_clock(scheduler, self._share)
        self._weights: dict[str, Weight] = named_weights(params, {})
        if not self._weights:
            raise ValueError(f"params must hold at least one brainstate.State, got {params!r:.80}.")
        with meant():
            average = jax.tree.map(copied, widened(self._values()))
        put = put_beside(self._values().values()) or (lambda number: number)
        self.state = brainstate.LongTermState({"average": average, "updates": put(np.int32(0))})
        self._ready = True

    def _values(self) -> dict[str, PyTree]:
        return {name: weight.state.value for name, weight in self._weights.items()}

    # --- Reading ------------------------------------------------------------------------------

    @property
    def param_states(self) -> dict[str, brainstate.State]:
        """The weights that are averaged, by name."""
        return {name: weight.state for name, weight in self._weights.items()}

    @property
    def value(self) -> dict[str, PyTree]:
        """The average of each weight, by name."""
        return self.state.value["average"]

    @property
    def updates(self) -> View:
        """Number of updates made."""
        return View(lambda: self.state.value["updates"])

    # --- Averaging ----------------------------------------------------------------------------

    def update(self) -> None:
        """Let the weights, as they are now, into the average.

        Outside a jitted function this runs one compiled program.
        """
        self._refuse_swapped("update()")
        refuse_foreign_trace(self.state, f"{type(self).__name__}.update()")
        epoch = None if self.scheduler is None else self.scheduler.last_epoch.value
        held: Any = (self.state.value, self._values(), epoch)
        if tracing():
            self.state.value = _averaged(self._share, type(self), *held)
            return
        if self._compiled is None:
            # A program of its own, which knows nothing of this object.
            self._compiled = jax.jit(functools.partial(_averaged, self._share, type(self)))
        self.state.value = self._compiled(*given(held))

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Have the weights be their average inside of a ``with`` block, and afterwards what they were before.

        Whatever ends the block, they are put back. Inside of it they are only to be read: if they
        have been written (by a training step, say), they are put back all the same, and a
        RuntimeError says so. ``update()`` and a second ``swapped()`` are refused there; one that is
        in a compiled function is undone, with the same error, when the block ends.
        """
        self._refuse_swapped("swapped()")
        refuse_foreign_trace(self.state, f"{type(self).__name__}.swapped()")
        before = self._values()
        for name, average in self.value.items():
            _check_alike(name, average, before[name])
        with meant():
            averages = jax.tree.map(lambda a, w: a.astype(jnp.result_type(w)), self.value, before)
        self._swapped, self._kept = True, self.state.value
        try:
            self._put(averages)
            inside = jax.tree.leaves(self._values())
            yield
            left = jax.tree.leaves(self._values())
        finally:
            self._swapped, kept, self._kept = False, self._kept, None
            self._put(before)
            updated = self.state.value["updates"] is not kept["updates"]
            if updated:  # by what was compiled before
                self.state.value = kept
        if updated:
            self._refuse("update()")
        if [*map(id, left)] != [*map(id, inside)]:
            raise RuntimeError(
                "The weights must only be read inside of swapped(), but were written there. They are again what they were "
                "before it, and what was written is dropped. Train outside of the block."
            )

    def _put(self, values: dict[str, PyTree]) -> None:
        for name, weight in self._weights.items():
            weight.state.value = values[name]

    def _refuse_swapped(self, what: str) -> None:
        if self._swapped:
            self._refuse(what)

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(
            f"{what} needs the weights, but inside of swapped() they are their average. Call it outside of the block."
        )

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """The average and the number of updates: a nested dict of numbers and arrays with str keys.

        The clock of `scheduler` is saved by the scheduler, or by the optimizer that follows it.
        """
        return {
            "version": VERSION,
            "updates": single("updates", self.state.value["updates"]),
            **self._described(),
            "average": saved_leaves(self.value),
        }

    def load_state_dict(self, state_dict: StateDict, strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved decay may be another one: the one here goes on, and a warning says what differs.
        """
        refuse_foreign_trace(self.state, f"{type(self).__name__}.load_state_dict()")
        strict = _checks.flag("strict", strict)
        check_version("state_dict", state_dict)
        own = self._described()
        check_keys("state_dict", state_dict, ("version", "updates", "average", *own))
        different = differences(unwrap({kind: state_dict[kind] for kind in own}), own)
        if units := [line for line in different if UNIT_OF in line]:
            raise ValueError(
                f"state_dict must be of weights in the same units, but differs: {'; '.join(units)}. Convert the weights first."
            )
        if different and strict:
            raise ValueError(
                f"state_dict must be of this average, but differs: {'; '.join(different)}. Construct it with the saved "
                "arguments, or pass strict=False to go on with these."
            )
        count = unwrap(state_dict["updates"])
        check_number("updates", count, low=0, high=LAST_EPOCH, whole=True)
        average = load_leaves("average", state_dict["average"], self.value)
        if different:
            warn(f"The decay has changed, and goes on as it is here: {'; '.join(different)}.")
        updates = place(np.int32(count), self.state.value["updates"])
        self.state.value = {"average": average, "updates": updates}
        if self._swapped:
            self._kept = self.state.value

    def _described(self) -> StateDict:
        own = {"decay": self.decay, **units_of(named_leaves(self.value))}
        return named(type(self).__name__, own.items(), whole=False)

    # --- Guarding -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        derived = isinstance(getattr(type(self), name, None), property)
        hidden = name in self.graph_invisible_attrs
        if self._ready and not hidden and (self.ours or derived or name in self.fixed):
            kind = type(self).__name__
            raise AttributeError(
                f"{name!r} of {kind} cannot be set: what is averaged, and how, is fixed at construction. "
                f"Construct a new {kind}(...); attributes of your own belong in a subclass."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        clock = "" if self.scheduler is None else f", scheduler={self.scheduler!r}"
        return f"{type(self).__name__}({len(self._weights)} weights, decay={self.decay!r}{clock})"
