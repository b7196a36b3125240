"""The scheduler: a formula plus a clock."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._types import Array, Epochs, Number, Plain, Rates, RatesLike, Scalar, StateDict
from ..formulas.description import described, differences
from ..formulas.evaluate import evaluate, evaluate_host, is_concrete
from ..formulas.formula import Formula
from ..formulas.schedule import Member, Schedule, frozen, spread
from ..states.clock import LAST_EPOCH, Clock
from ..states.internals import direct, refuse_foreign_trace
from ..states.memory import Memory
from ..states.node import GuardedNode
from ..states.published import Published, Publishing
from ..states.saving import (
    VERSION,
    check_keys,
    check_number,
    check_version,
    entries,
    load_leaves,
    saved_leaves,
    single,
    unwrap,
    warn,
)
from ..states.view import View
from .construction import Argument, Constructs
from .get_lr import FromGetLR


class TakesSchedulers(Protocol):
    """An optimizer that follows schedulers."""

    def add_scheduler(self, scheduler: "LRScheduler") -> None: ...


class LRScheduler(GuardedNode, metaclass=Constructs):
    """Base class of all schedulers: a formula, evaluated at the epoch that its clock shows.

    Use it directly with a formula of your own, or subclass it and define :meth:`get_lr`, which
    reads ``self.last_epoch.value`` and ``self.base_lrs`` and returns a list of learning rates.

    An epoch is what you count with :meth:`step`: epochs, batches, or anything else. At epoch 0,
    from construction on, a scheduler has its first learning rate. A boundary takes effect at its
    epoch, and past its end a schedule holds its last value. The learning rate is float32, at most
    one ulp off the exact value of the formula, and the same to the last bit whether it is called,
    stepped, compiled or vectorised.

    Two schedulers are equal if they are the same function of the epoch, whatever their clocks show.
    One that defines :meth:`get_lr` or holds States of its own equals itself only. A subclass is
    described, in checkpoints and in `config`, by the arguments of its constructor.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        Base learning rate, >= 0; a list has one entry for each parameter group.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.
    formula : Formula or list of Formula, optional
        The learning rate as a function of the epoch; a list has one for each parameter group.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> class Halving(lrax.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr * 0.5**self.last_epoch.value for lr in self.base_lrs]
    >>> scheduler = Halving(base_lr=0.1)
    >>> scheduler.step()
    >>> print(scheduler.current_lrs.value)
    [0.05]

    Notes
    -----
    - torch: most of its schedulers multiply the learning rate that they find, so that a change by
      hand lasts. Here, as in braintools, it lasts until the next ``step()``. Constructing one here
      changes no optimizer.
    """

    graph_invisible_attrs = ("_bound",)
    base_argument: ClassVar[str | None] = "base_lr"

    _bound: tuple[Any, tuple[Formula, ...]] = (None, ())
    """The formulas with the last numbers of reductions that the host has seen filled in."""

    base_lr = Argument("base_lr")
    formula = Argument("formula")
    _arguments: tuple[tuple[str, Any], ...] | None = None
    _ready: bool = False
    _own_states: bool = False
    _by_get_lr: ClassVar[bool] = False
    """Whether a subclass works its learning rates out in a ``get_lr()`` of its own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._by_get_lr = cls.get_lr is not LRScheduler.get_lr
        for name in cls.parameters:
            if not hasattr(cls, name) and name != "last_epoch":
                setattr(cls, name, Argument(name))

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        last_epoch: int = 0,
        *,
        formula: Formula | Sequence[Formula] | None = None,
    ) -> None:
        bases = _checks.learning_rates("base_lr", base_lr)
        formulas: tuple[Formula, ...] = ()
        if formula is not None or not self._by_get_lr:
            formulas = _checked_formulas(formula, type(self).__name__)
        groups = _checks.group_count(base_lr=bases, formula=formulas)
        self._bases = spread(bases, groups)
        self._formulas = formulas
        self._concrete = is_concrete((self._bases, formulas))
        self._on_host = self._concrete and not self._by_get_lr
        self.last_epoch = Clock(_checks.first_epoch(last_epoch))
        self._plateaus = tuple(
            (str(i), *found) for i, found in enumerate(formulas[0].plateaus() if formulas else ())
        )
        memories = {key: plateau.memory() for key, plateau, _ in self._plateaus}
        self.memory = Memory(memories) if memories else None
        self.publishing = Publishing(self._bases)

    def __constructed__(self, arguments: tuple[tuple[str, Any], ...] | None) -> None:
        """The last step of construction: what a user's class was constructed with, and the guards."""
        self._arguments = arguments
        held = self._states_of_users().values()
        self._own_states = not all(isinstance(state, (Clock, Memory)) for state in held)
        self._ready = True

    # --- What it is ---------------------------------------------------------------------------

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The formula of each parameter group; a single one serves all."""
        if self._by_get_lr:
            return tuple(FromGetLR(self, group, base) for group, base in enumerate(self._bases))
        return self._formulas

    def pieces(self) -> tuple[tuple[Member, Number], ...]:
        """Formula and base learning rate for each parameter group, to be used in another formula."""
        return self.schedule.pieces()

    @property
    def schedule(self) -> Schedule:
        """What it is without its clock."""
        formulas = spread(self.formulas, len(self._bases))
        members = (
            Member(type(self), base, formula, self._arguments)
            for base, formula in zip(self._bases, formulas, strict=True)
        )
        return Schedule(tuple(members))

    @property
    def config(self) -> dict[str, Plain]:
        """``{class name: {argument: value}}`` as plain data, from which ``lrax.from_config`` makes the scheduler again."""
        return described(self.schedule, whole=True)

    def _is_its_schedule(self) -> bool:
        return self._concrete and not self._by_get_lr and not self._own_states

    def __eq__(self, other: object) -> bool:
        if not (isinstance(other, LRScheduler) and self._is_its_schedule()):
            return self is other
        return self is other or (other._is_its_schedule() and self.schedule == other.schedule)

    def __hash__(self) -> int:
        return hash(self.schedule) if self._is_its_schedule() else id(self)

    def __repr__(self) -> str:
        return repr(self.schedule)

    # --- Reading ------------------------------------------------------------------------------

    @property
    def base_lrs(self) -> list[Number]:
        """The base learning rates that it was given, one for each parameter group."""
        return list(self._bases)

    @property
    def current_lrs(self) -> View:
        """The published learning rates: ``current_lrs.value[i]``."""
        follower = self.publishing.first

        def put(values: Any) -> None:
            groups = follower.published.groups
            if np.shape(values) != (groups,):
                raise ValueError(
                    f"current_lrs must have {groups} entries, one a parameter group, got {values!r}."
                )
            if not isinstance(values, jax.Array):
                values = [_checks.non_negative("current_lrs", value) for value in values]
                values = np.array(values, np.float32)
            follower.write(values)

        return View(lambda: follower.published.rates, put)

    def get_last_lr(self) -> list[Scalar]:
        """The published learning rates, one for each parameter group of the optimizer."""
        return list(self.current_lrs.value)

    def get_lr(self) -> list[Scalar]:
        """The learning rates at the epoch of the clock, one for each parameter group."""
        if not self._formulas:
            raise TypeError(
                f"{type(self).__name__} has no formula, so its get_lr() cannot use super().get_lr()."
            )
        rates = self._rates_of(self._learned_formulas(), self._bases, self.last_epoch.value)
        return [rates[..., group] for group in range(rates.shape[-1])]

    def lr_at(self, epoch: Epochs) -> Rates:
        """Learning rates at `epoch`, without touching any State: float32, shape ``epoch.shape + (groups,)``.

        The groups are those of the scheduler's own arguments, whatever optimizer follows it; what
        each group of an optimizer gets is ``optimizer.lr_at(epoch)``.
        """
        self.refuse_memory()
        return self._rates_for(self._bases, _checks.epochs(epoch))

    def refuse_memory(self) -> None:
        """Raise TypeError where the learning rate depends on metrics, and not on the epoch alone."""
        if self.memory is not None:
            raise TypeError(
                f"{type(self).__name__} has no learning rate at a given epoch: it depends on the metrics it was given. "
                "Read get_last_lr() instead."
            )

    def __call__(self, epoch: Epochs) -> Rates:
        """Learning rate at `epoch`, without touching any State: float32, shape ``epoch.shape``.

        `epoch` may be a number or an array, of Python, NumPy or jax, traced, and fractional. Host
        numbers give NumPy, jax arrays give jax. A scheduler is thereby an optax schedule.
        """
        rates = self.lr_at(epoch)
        if rates.shape[-1] != 1:
            raise ValueError(
                f"scheduler(epoch) gives one learning rate, but there are {rates.shape[-1]} parameter groups. "
                "Use scheduler.lr_at(epoch), which gives one for each."
            )
        return rates[..., 0]

    # --- Stepping -----------------------------------------------------------------------------

    def step(self, epoch: Scalar | None = None, *, metric: Scalar | None = None) -> None:
        """Advance the clock by one, or jump to the whole number `epoch`, and publish the new learning rates.

        `metric` reaches the plateaus inside a composite, and is refused where there is none. The
        clock stops at 2**31 - 1.
        """
        if self._on_host and epoch is None and self._step_on_host(metric):
            return
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.step()")
        if epoch is not None:
            epoch = _checks.epoch("epoch", epoch)
        if self.memory is not None:
            self._observe(self.memory, metric)
        elif metric is not None:
            raise TypeError(
                f"{type(self).__name__} takes no metric, since its learning rate depends on the epoch alone, got metric={metric!r:.80}. "
                "Use ReduceLROnPlateau."
            )
        if epoch is None:
            self.last_epoch.advance()
        else:
            self.last_epoch.value = epoch
        self.publish()

    def step_epoch(self) -> None:
        """The same as ``step()``."""
        self.step()

    def publish(self) -> None:
        """Write the learning rates at the epoch of the clock to whoever follows, as ``step()`` does."""
        epoch = self.last_epoch.read()
        self.publishing.publish(lambda bases: self._rates_for(bases, epoch))

    def apply(self, fn: Callable[[Any], Scalar]) -> None:
        """Map `fn` over the published learning rates of all groups; it lasts until the next ``step()``."""
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.apply()")
        if not callable(fn):
            raise TypeError(f"fn must be a function of a learning rate, got {fn!r}.")

        def change(rates: Rates) -> Array:
            lrs = [_checks.non_negative("fn(lr)", fn(lr)) for lr in rates]
            traced = any(map(_checks.is_traced, lrs))
            return jnp.stack(list(map(jnp.asarray, lrs))) if traced else np.array(lrs, np.float32)

        self.publishing.apply(change)

    def attach_optimizer(self, optimizer: TakesSchedulers) -> None:
        """From now on `optimizer` follows this scheduler, and no longer the one before.

        A compiled function that calls ``step()`` of the one before goes on doing so: step this one
        outside of the function, or compile it again.
        """
        if isinstance(optimizer, type) or not hasattr(optimizer, "add_scheduler"):
            raise TypeError(
                f"optimizer must be an lrax optimizer, got {optimizer!r:.80}. "
                "An optax optimizer takes the scheduler itself: optax.adam(scheduler)."
            )
        optimizer.add_scheduler(self)

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Clock, memory, description and a subclass's own States: a nested dict with str keys."""
        state = {
            "version": VERSION,
            "last_epoch": single("last_epoch", self.last_epoch.value),
            **described(self.schedule, whole=False),
        }
        if self.memory is not None:
            memory = self.memory.value
            state["plateaus"] = {
                key: plateau.as_numbers(memory[key]) for key, plateau, _ in self._plateaus
            }
        own = self._states_of_users()
        if own:
            state["states"] = unwrap(saved_leaves({name: s.value for name, s in own.items()}))
        return state

    def load_state_dict(self, state_dict: StateDict, strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved schedule may be another one: the epoch is taken over and a warning says what differs.
        """
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.load_state_dict()")
        self._put(self._checked_state(state_dict, strict))

    def _checked_state(
        self, state_dict: StateDict, strict: bool
    ) -> list[tuple[brainstate.State, Any]]:
        """The States that a state dict is about, and what it puts into them."""
        strict = _checks.flag("strict", strict)
        single("last_epoch", self.last_epoch.value)
        found = unwrap(state_dict)
        check_version("state_dict", found)
        own = described(self.schedule, whole=False)
        others = {"version", "last_epoch", "plateaus", "states"}
        saved = {key: value for key, value in found.items() if key not in others}
        different = differences(saved, own)
        if different and strict:
            raise ValueError(
                f"state_dict must be of this schedule, but differs: {'; '.join(different)}. Construct the scheduler with the saved "
                "arguments, or pass strict=False to take over the epoch only."
            )
        epoch = check_number(
            "last_epoch", found.get("last_epoch"), low=0, high=LAST_EPOCH, whole=True
        )
        values: list[tuple[brainstate.State, Any]] = [(self.last_epoch, epoch)]
        expected = {"version", "last_epoch", *saved}
        if self.memory is not None and (not different or "plateaus" in found):
            expected.add("plateaus")
            memory = self._loaded_memory(self.memory, found.get("plateaus", {}))
            values.append((self.memory, memory))
        states = self._states_of_users()
        if states and (not different or "states" in found):
            expected.add("states")
            olds = {name: state.value for name, state in states.items()}
            new = load_leaves("states", found.get("states", {}), olds)
            values += [(state, new[name]) for name, state in states.items()]
        if strict or expected - {"version", "last_epoch", *saved}:
            check_keys("state_dict", found, expected)
        if different:
            warn(f"The schedule has changed, and goes on at epoch {epoch}: {'; '.join(different)}.")
        return values

    def _loaded_memory(self, memory: Memory, found: Any) -> dict[str, Any]:
        plateaus = entries(found)
        check_keys("plateaus", plateaus, memory.value)
        return {
            key: plateau.from_numbers(f"plateaus.{key}", plateaus[key])
            for key, plateau, _ in self._plateaus
        }

    def _put(self, values: list[tuple[brainstate.State, Any]]) -> None:
        old = [(state, state.value) for state, _ in values]
        try:
            self._write(values)
        except Exception:  # a function of the user's may fail at the saved epoch
            self._write(old)
            raise

    def _write(self, values: list[tuple[brainstate.State, Any]]) -> None:
        for state, value in values:
            state.value = value
        self.publish()

    def _states_of_users(self) -> dict[str, brainstate.State]:
        """The States that a user's subclass holds, by the names of its attributes."""
        if self.ours:
            return {}
        own = (self.last_epoch, self.memory)
        states: Any = brainstate.graph.states(self)
        return {
            ".".join(map(str, path)): state
            for path, state in states.items()
            if not isinstance(state, Published) and not any(state is mine for mine in own)
        }

    # --- Inside -------------------------------------------------------------------------------

    def _step_on_host(self, metric: Any) -> bool:
        """``step()`` for the plain case, outside every trace: Python numbers, written straight to the States."""
        clock, memory, formulas = self.last_epoch, self.memory, self._formulas
        if (metric is None) != (memory is None) or not direct(clock):
            return False
        now = clock.peek()
        if now is None:
            return False
        if memory is not None:
            known = memory.peek()
            if known is None or type(metric) not in (float, int):
                return False
            learned = {
                key: plateau.observe_on_host(known[key], metric) if now >= start else known[key]
                for key, plateau, start in self._plateaus
            }
            memory.poke(learned)
            counts = self._reductions(learned)
            if counts != self._bound[0]:
                vars(self)["_bound"] = counts, self._bind(counts)
            formulas = self._bound[1]
        now += now < LAST_EPOCH
        clock.set(now)
        self.publishing.publish_on_host(lambda bases: evaluate_host(formulas, bases, now))
        return True

    def _rates_for(self, bases: tuple[Number, ...], epoch: Any) -> Rates:
        """Learning rates at a checked epoch for groups with these base learning rates."""
        formulas = self.formulas if self._by_get_lr else self._learned_formulas()
        return self._rates_of(formulas, bases, epoch)

    def _rates_of(
        self, formulas: tuple[Formula, ...], bases: tuple[Number, ...], epoch: Any
    ) -> Rates:
        known = self._concrete and is_concrete(bases)
        known = known and (self.memory is None or is_concrete(formulas))
        return evaluate(formulas, bases, epoch, known)

    def _learned_formulas(self) -> tuple[Formula, ...]:
        if self.memory is None:
            return self._formulas
        return self._bind(self._reductions(self.memory.value))

    def _reductions(self, memory: dict[str, Any]) -> list[Any]:
        """How often each plateau has reduced the learning rate."""
        return [memory[key]["reductions"] for key, _, _ in self._plateaus]

    def _bind(self, reductions: list[Any]) -> tuple[Formula, ...]:
        """The formulas with what was learned from metrics filled in."""
        return tuple([f.with_reductions(iter(reductions)) for f in self._formulas])

    def _observe(self, memory: Memory, metric: Any) -> None:
        """Let the plateaus that have begun learn from `metric`."""
        if metric is None:
            raise ValueError(
                f"{type(self).__name__} needs a metric: call step(metric=...), for example with the validation loss."
            )
        metric = _checks.metric(metric)
        now, known = self.last_epoch.read(), memory.value
        memory.value = {
            key: plateau.observe(known[key], metric, now >= start)
            for key, plateau, start in self._plateaus
        }

    # --- Guarding -----------------------------------------------------------------------------

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The arguments of the constructor are attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "last_epoch" and "last_epoch" in self.__dict__:
            self.last_epoch.value = value
            return
        kind = type(self).__name__
        if self._ready and (name in self.parameters or name in ("base_lr", "base_lrs")):
            raise AttributeError(
                f"{name} cannot be changed after construction: a compiled step would go on with the old value. "
                f"Construct a new {kind} and hand the optimizer over with new.attach_optimizer(optimizer)."
            )
        if self._ready and self.ours and not hasattr(type(self), name):
            raise AttributeError(
                f"A {kind} has no attribute {name!r} to be set. Attributes of your own belong in a subclass."
            )
        object.__setattr__(self, name, value)


def _checked_formulas(formula: Any, kind: str) -> tuple[Formula, ...]:
    """The formulas of the groups; one if all are the same."""
    if formula is None:
        raise TypeError(
            f"{kind} has no schedule: pass formula=..., or define get_lr() in a subclass."
        )
    formulas = tuple(formula) if isinstance(formula, (list, tuple)) else (formula,)
    if not formulas:
        raise ValueError("formula must be an lrax.Formula or a list of at least one, got [].")
    for f in formulas:
        if not isinstance(f, Formula):
            raise TypeError(f"formula must be an lrax.Formula with a raw(), got {f!r}.")
        if "__init__" in vars(type(f)) and "__dataclass_params__" not in vars(type(f)):
            raise TypeError(
                f"formula must be a frozen dataclass, but {type(f).__name__} has its own __init__. "
                "Give it fields, and decorate it with @dataclasses.dataclass(frozen=True)."
            )
    return tuple(frozen("formula", f) for f in formulas)
