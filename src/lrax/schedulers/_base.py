"""The scheduler: a formula plus a clock."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from brainstate.graph import Node

from .. import _checks
from .._checkpoint import (
    VERSION,
    as_dict,
    check_keys,
    check_number,
    check_version,
    differences,
    plain,
    single,
    unwrap,
)
from ..formulas.arithmetic import Arithmetic
from ..formulas.evaluate import evaluate, evaluate_host, is_concrete
from ..formulas.formula import Formula
from ..formulas.pieces import ratio
from ..states.clock import LAST_EPOCH, Clock
from ..states.internals import direct, refuse_foreign_trace
from ..states.memory import Memory
from ..states.published import LearningRates
from ..states.view import View

if TYPE_CHECKING:
    from ..optimizers._base import OptaxOptimizer


class Arguments:
    """What a scheduler was constructed from. Opaque, so that graph operations leave it alone."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


class _FixedClock:
    def __init__(self, value: Any) -> None:
        self.value = value


@dataclasses.dataclass(frozen=True)
class _FromGetLR(Formula):
    """The formula of a scheduler that only defines ``get_lr()``."""

    scheduler: "LRScheduler"
    group: int
    own: Any = 1.0

    def raw(self, t: Any, base: Any, x: Arithmetic) -> Any:
        return x.call(self._lr, t) * ratio(x, base, self.own)

    def _lr(self, epoch: Any) -> Any:
        clone = object.__new__(type(self.scheduler))
        vars(clone).update(vars(self.scheduler), last_epoch=_FixedClock(epoch))
        values = clone.get_lr()
        values = values if isinstance(values, (list, tuple)) else [values]
        return values[min(self.group, len(values) - 1)]


class ShowsArguments(type(Node)):
    """Shows the arguments of ``__init__`` to ``help()`` and editors; brainstate's metaclass hides them."""

    if not TYPE_CHECKING:

        @property
        def __signature__(cls) -> inspect.Signature:
            _, *parameters = inspect.signature(cls.__init__).parameters.values()
            return inspect.Signature(parameters)


def _numbers_of(formula: Formula) -> dict[str, Any]:
    """The numbers and strings among the fields of a user's formula."""
    values = {f.name: getattr(formula, f.name) for f in dataclasses.fields(formula)}
    return {k: plain(k, v) for k, v in values.items() if isinstance(v, (int, float, str))}


class _PublishAfterInit(ShowsArguments):
    """Publishes the first learning rate once the last line of ``__init__`` has run."""

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            scheduler = super().__call__(*args, **kwargs)
            bound = inspect.signature(cls.__init__).bind(scheduler, *args, **kwargs)
            bound.apply_defaults()
            values = {k: v for k, v in list(bound.arguments.items())[1:] if k != "last_epoch"}
            vars(scheduler)["_arguments"] = Arguments(values)
            scheduler._publish()
            return scheduler


class LRScheduler(Node, metaclass=_PublishAfterInit):
    """Base class of all schedulers: a formula, evaluated at the epoch that its clock shows.

    Use it directly with a formula of your own, or subclass it and define :meth:`get_lr`, which
    reads ``self.last_epoch.value`` and ``self.base_lrs`` and returns a list of learning rates.

    An epoch is what you count with :meth:`step`: epochs, batches, or anything else. At epoch 0,
    from construction on, a scheduler has its first learning rate. A boundary takes effect at its
    epoch, and past its end a schedule holds its last value. The learning rate is float32, at most
    one ulp off the exact value of the formula, and the same to the last bit whether it is called,
    stepped, compiled or vectorised.

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
    _arguments: Arguments | None = None
    _bound: tuple[Any, tuple[Formula, ...]] = (None, ())
    """The formulas with the last numbers of reductions that the host has seen filled in."""

    def __init__(
        self,
        base_lr: Any = 1e-3,
        last_epoch: int = 0,
        *,
        formula: Formula | Sequence[Formula] | None = None,
    ) -> None:
        bases = _checks.learning_rates("base_lr", base_lr)
        if formula is None:
            if type(self).get_lr is LRScheduler.get_lr:
                raise TypeError(
                    f"{type(self).__name__} has no schedule: pass formula=..., or define get_lr() in a subclass."
                )
            formulas: tuple[Formula, ...] = (Formula(),)
        else:
            formulas = tuple(formula) if isinstance(formula, (list, tuple)) else (formula,)  # type: ignore[assignment]
            if not formulas:
                raise ValueError(
                    "formula must be an lrax.Formula or a list of at least one, got []."
                )
            for f in formulas:
                if not isinstance(f, Formula) or type(f).raw is Formula.raw:
                    raise TypeError(f"formula must be an lrax.Formula with a raw(), got {f!r}.")
                if "__init__" in vars(type(f)) and "__dataclass_params__" not in vars(type(f)):
                    raise TypeError(
                        f"formula must be a frozen dataclass, but {type(f).__name__} has its own __init__. "
                        "Give it fields, and decorate it with @dataclasses.dataclass(frozen=True)."
                    )
        groups = _checks.group_count(base_lr=bases, formula=formulas)
        known = isinstance(last_epoch, (int, float, np.ndarray, np.generic, jax.Array))
        known = known and not _checks.is_traced(last_epoch) and np.ndim(last_epoch) == 0
        if known and last_epoch == -1:
            last_epoch = 0
        self._bases = bases
        self._formulas = formulas
        self._concrete = is_concrete((bases, formulas))
        follows_formula = type(self).get_lr is LRScheduler.get_lr
        self._on_host = self._concrete and follows_formula
        self.last_epoch = Clock(_checks.epoch("last_epoch", last_epoch))
        self._plateaus = tuple(
            (str(i), plateau, start) for i, (plateau, start) in enumerate(formulas[0].plateaus())
        )
        memories = {key: plateau.memory() for key, plateau, _ in self._plateaus}
        self._memory = Memory(memories) if memories else None
        self._targets: tuple[tuple[LearningRates, int | None], ...] = (
            (LearningRates(groups), None),
        )

    # --- Reading ------------------------------------------------------------------------------

    @property
    def base_lrs(self) -> list[Any]:
        """Base learning rate of each parameter group."""
        return list(self._group_bases(self._targets[0][0]))

    @property
    def current_lrs(self) -> View:
        """The published learning rates: ``current_lrs.value[i]``."""
        if isinstance(self.last_epoch, _FixedClock):
            raise TypeError(
                f"get_lr() of {type(self).__name__} must be a function of last_epoch, but reads the current learning rates. "
                "Work them out from self.base_lrs and self.last_epoch.value."
            )
        rates = self._targets[0][0]

        def put(values: Any) -> None:
            groups = len(rates.base_lrs)
            if np.shape(values) != (groups,):
                raise ValueError(
                    f"current_lrs must have {groups} entries, one a parameter group, got {values!r}."
                )
            if not isinstance(values, jax.Array):
                values = [_checks.non_negative("current_lrs", value) for value in values]
                values = np.array(values, np.float32)
            rates.value = {**rates.value, "lr": values}

        return View(lambda: rates.value["lr"], put)

    def get_last_lr(self) -> list[Any]:
        """The published learning rates, one for each parameter group."""
        return list(self.current_lrs.value)

    def get_lr(self) -> list[Any]:
        """The learning rates at the epoch of the clock, one for each parameter group."""
        rates = self._formula_lrs(self.last_epoch.value, self._targets[0][0])
        return (
            list(rates)
            if rates.ndim == 1
            else [rates[..., group] for group in range(rates.shape[-1])]
        )

    def lr_at(self, epoch: Any) -> Any:
        """Learning rates at `epoch`, without touching any State: float32, shape ``epoch.shape + (groups,)``."""
        if self._memory is not None:
            raise TypeError(
                f"{type(self).__name__} has no learning rate at a given epoch: it depends on the metrics it was given. "
                "Read get_last_lr() instead."
            )
        return self._lrs_at(_checks.epochs(epoch), self._targets[0][0])

    def __call__(self, epoch: Any) -> Any:
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

    def step(self, epoch: Any = None, *, metric: Any = None) -> None:
        """Advance the clock by one, or jump to the whole number `epoch`, and publish the new learning rates.

        `metric` reaches the plateaus inside a composite, and is refused where there is none. The
        clock stops at 2**31 - 1.
        """
        if self._on_host and epoch is None and self._step_on_host(metric):
            return
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.step()")
        if epoch is not None:
            epoch = _checks.epoch("epoch", epoch)
        if self._memory is not None:
            self._observe(metric)
        elif metric is not None:
            raise TypeError(
                f"{type(self).__name__} takes no metric, since its learning rate depends on the epoch alone, got metric={metric!r:.80}. "
                "Use ReduceLROnPlateau."
            )
        if epoch is None:
            self.last_epoch.advance()
        else:
            self.last_epoch.value = epoch
        self._publish()

    def step_epoch(self) -> None:
        """The same as ``step()``."""
        self.step()

    def apply(self, fn: Callable[[Any], Any]) -> None:
        """Map `fn` over the published learning rates of all groups; it lasts until the next ``step()``."""
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.apply()")
        if not callable(fn):
            raise TypeError(f"fn must be a function of a learning rate, got {fn!r}.")
        for rates, slot in self._targets:
            lrs = [_checks.non_negative("fn(lr)", fn(lr)) for lr in rates.value["lr"]]
            traced = any(map(_checks.is_traced, lrs))
            rates.publish(
                jnp.stack(list(map(jnp.asarray, lrs))) if traced else np.array(lrs, np.float32),
                slot,
            )

    def attach_optimizer(self, optimizer: "OptaxOptimizer") -> None:
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

    @property
    def config(self) -> dict[str, Any]:
        """``{class name: {argument: value}}`` as plain data, from which ``lrax.from_config`` makes the scheduler again."""
        return self._describe(rebuild=True)

    def _describe(self, *, rebuild: bool) -> dict[str, Any]:
        """The configuration; with `rebuild` everything must be in it, without it functions are left out."""
        kind = type(self).__name__
        ours = type(self).__module__.startswith("lrax.")
        if rebuild and not ours:
            raise TypeError(
                f"{kind} is a class of your own: a configuration cannot hold its code. Construct it yourself."
            )
        values = {} if self._arguments is None else self._arguments.values
        config: dict[str, Any] = {}
        for name, value in values.items():
            if name == "schedulers":
                config[name] = {str(i): s._describe(rebuild=rebuild) for i, s in enumerate(value)}
                continue
            functions = [
                v for v in (value if isinstance(value, (list, tuple)) else [value]) if callable(v)
            ]
            if rebuild and (functions or (name == "formula" and value is not None)):
                raise TypeError(
                    f"{name} of {kind} is your own: a configuration cannot hold its code. Construct it yourself."
                )
            if value is None or functions:
                continue
            if name == "formula" and ours:
                config[name] = {
                    str(i): {type(f).__name__: _numbers_of(f)} for i, f in enumerate(self._formulas)
                }
                continue
            if ours or isinstance(value, (int, float, str)):
                config[name] = plain(name, value)
        return {kind: config}

    def state_dict(self) -> dict[str, Any]:
        """Clock, memory and configuration: a nested dict of Python numbers with str keys."""
        state = {
            "version": VERSION,
            "last_epoch": single("last_epoch", self.last_epoch.value),
            **self._describe(rebuild=False),
        }
        if self._memory is not None:
            memory = self._memory.value
            state["plateaus"] = {
                key: plateau.as_numbers(memory[key]) for key, plateau, _ in self._plateaus
            }
        return state

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved schedule may be another one: the epoch is taken over and a warning says what differs.
        """
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.load_state_dict()")
        self._load(self._checked(state_dict, strict))

    def _checked(self, state_dict: Any, strict: bool) -> tuple[int, dict[str, Any] | None]:
        """Epoch and memory out of a state dict."""
        strict = _checks.flag("strict", strict)
        single("last_epoch", self.last_epoch.value)
        found = unwrap(state_dict)
        check_version("state_dict", found)
        own = self._describe(rebuild=False)
        saved = {
            key: value
            for key, value in found.items()
            if key not in ("version", "last_epoch", "plateaus")
        }
        different = differences(saved, own)
        if different and strict:
            raise ValueError(
                f"state_dict must be of this schedule, but differs: {'; '.join(different)}. Construct the scheduler with the saved "
                "arguments, or pass strict=False to take over the epoch only."
            )
        epoch = check_number(
            "last_epoch", found.get("last_epoch"), low=0, high=LAST_EPOCH, whole=True
        )
        memory = None
        if self._memory is not None and (not different or "plateaus" in found):
            check_keys("state_dict", found, {"version", "last_epoch", "plateaus", *saved})
            plateaus = as_dict(found["plateaus"])
            check_keys("plateaus", plateaus, self._memory.value)
            memory = {
                key: plateau.from_numbers(f"plateaus.{key}", plateaus[key])
                for key, plateau, _ in self._plateaus
            }
        elif strict:
            check_keys("state_dict", found, {"version", "last_epoch", *own})
        if different:
            warnings.warn(
                f"The schedule has changed, and goes on at epoch {epoch}: {'; '.join(different)}.",
                stacklevel=3,
            )
        return epoch, memory

    def _load(self, checked: tuple[int, dict[str, Any] | None]) -> None:
        epoch, memory = checked
        old = self.last_epoch.value, None if self._memory is None else self._memory.value
        try:
            self._put(epoch, memory)
        except Exception:
            self._put(*old)  # a function of the user's may fail at the saved epoch
            raise

    def _put(self, epoch: Any, memory: Any) -> None:
        self.last_epoch.value = epoch
        if self._memory is not None and memory is not None:
            self._memory.value = memory
        self._publish()

    # --- Inside -------------------------------------------------------------------------------

    def _step_on_host(self, metric: Any) -> bool:
        """``step()`` for the plain case, outside every trace: Python numbers, written straight to the States."""
        clock, memory, formulas = self.last_epoch, self._memory, self._formulas
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
        clock.poke(now)
        for rates, slot in self._targets:
            lr = evaluate_host(formulas, self._group_bases(rates), now)
            if rates.hooks.has_hooks():
                rates.publish(lr, slot)
            else:
                rates.poke(lr)
        return True

    def _group_bases(self, rates: LearningRates) -> tuple[Any, ...]:
        """The base learning rate of each group that `rates` serves."""
        own, groups = self._bases, rates.base_lrs
        if rates.no_own:
            if len(own) == len(groups):
                return own
            if len(own) == 1:
                return own * len(groups)
        last = len(own) - 1
        return tuple([own[min(g, last)] if lr is None else lr for g, lr in enumerate(groups)])

    def _reductions(self, memory: dict[str, Any]) -> list[Any]:
        """How often each plateau has reduced the learning rate."""
        return [memory[key]["reductions"] for key, _, _ in self._plateaus]

    def _bind(self, reductions: list[Any]) -> tuple[Formula, ...]:
        """The formulas with what was learned from metrics filled in."""
        return tuple([f.with_reductions(iter(reductions)) for f in self._formulas])

    def _formula_lrs(self, epoch: Any, rates: LearningRates) -> Any:
        bases, formulas, concrete = self._group_bases(rates), self._formulas, self._concrete
        if self._memory is not None:
            formulas = self._bind(self._reductions(self._memory.value))
            concrete = concrete and is_concrete(formulas)
        return evaluate(formulas, bases, epoch, concrete=concrete and is_concrete(bases))

    def _lrs_at(self, epoch: Any, rates: LearningRates) -> Any:
        if type(self).get_lr is LRScheduler.get_lr:
            return self._formula_lrs(epoch, rates)
        formulas = tuple(_FromGetLR(self, group) for group in range(len(rates.base_lrs)))
        return evaluate(formulas, (1.0,) * len(formulas), epoch, concrete=self._concrete)

    def pieces(self) -> tuple[tuple[Formula, Any], ...]:
        """Formula and base learning rate for each parameter group (one for all: a single pair)."""
        groups = _checks.group_count(base_lr=self._bases, formula=self._formulas)
        bases = [self._bases[min(group, len(self._bases) - 1)] for group in range(groups)]
        if type(self).get_lr is not LRScheduler.get_lr:
            return tuple((_FromGetLR(self, group, base), base) for group, base in enumerate(bases))
        return tuple(
            (self._formulas[min(group, len(self._formulas) - 1)], base)
            for group, base in enumerate(bases)
        )

    def _publish(self) -> None:
        epoch = self.last_epoch.read()
        for rates, slot in self._targets:
            rates.publish(self._lrs_at(epoch, rates), slot)

    def _observe(self, metric: Any) -> None:
        """Let the plateaus that have begun learn from `metric`."""
        assert self._memory is not None
        if metric is None:
            raise ValueError(
                f"{type(self).__name__} needs a metric: call step(metric=...), for example with the validation loss."
            )
        metric = _checks.metric(metric)
        now, memory = self.last_epoch.read(), self._memory.value
        self._memory.value = {
            key: plateau.observe(memory[key], metric, now >= start)
            for key, plateau, start in self._plateaus
        }

    def _release(self, rates: LearningRates) -> None:
        """Write no longer to `rates`."""
        self._targets = tuple(target for target in self._targets if target[0] is not rates)
        if not self._targets:
            self._targets = (
                (
                    LearningRates(_checks.group_count(base_lr=self._bases, formula=self._formulas)),
                    None,
                ),
            )
            self._publish()

    def _adopt(self, rates: LearningRates, slot: int) -> None:
        """Write to `rates` from now on."""
        attached = [target for target in self._targets if target[1] is not None]
        self._targets = (*attached, (rates, slot))
        rates.own(slot)
        self._publish()

    # --- Guarding -----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        arguments = self.__dict__.get("_arguments")
        if arguments is not None and name in arguments.values:
            return arguments.values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            name == "last_epoch"
            and "last_epoch" in self.__dict__
            and not isinstance(value, brainstate.State)
        ):
            self.last_epoch.value = value
            return
        arguments = self.__dict__.get("_arguments")
        if arguments is not None and (name in arguments.values or name in ("base_lr", "base_lrs")):
            raise AttributeError(
                f"{name} cannot be changed after construction: a compiled step would go on with the old value. "
                f"Construct a new {type(self).__name__} and hand the optimizer over with new.attach_optimizer(optimizer)."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = {} if self._arguments is None else self._arguments.values
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"
