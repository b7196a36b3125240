"""The scheduler: a formula plus a clock."""

import dataclasses
import inspect
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
    check_keys,
    check_number,
    check_version,
    differences,
    numbers,
    plain,
    unwrap,
)
from .._formula import Formula, evaluate
from .._numerics import LARGEST, Arithmetic, is_concrete, ratio
from .._state import LAST_EPOCH, Clock, LearningRates, Memory, View, refuse_foreign_trace

if TYPE_CHECKING:
    from ..optimizers._base import OptaxOptimizer

EPOCH_KINDS = "iuf"


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


class _PublishAfterInit(type(Node)):
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

    Use it directly with a formula of your own, or subclass it and define :meth:`get_lr`, which reads
    ``self.last_epoch.value`` and ``self.base_lrs`` and returns a list of learning rates.

    Parameters
    ----------
    base_lr : float or list of float
        Base learning rate, for all parameter groups or one for each.
    last_epoch : int
        Epoch to start at. -1 means 0.
    formula : Formula, optional
        The learning rate as a function of the epoch; a list for one formula a parameter group.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it must be; the message says what it must be.

    Examples
    --------
    >>> import lrax
    >>> class Halving(lrax.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr * 0.5**self.last_epoch.value for lr in self.base_lrs]
    >>> scheduler = Halving(base_lr=0.1)
    >>> scheduler.step()
    >>> float(scheduler.get_last_lr()[0])
    0.05000000074505806
    """

    _arguments: Arguments | None = None

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
            for f in formulas:
                if not isinstance(f, Formula):
                    raise TypeError(f"formula must be an lrax.Formula, got {f!r}.")
        groups = _checks.group_count(base_lr=bases, formula=formulas)
        if not (_checks.is_traced(last_epoch) or last_epoch != -1):
            last_epoch = 0
        self._bases = bases
        self._formulas = formulas
        self._concrete = is_concrete((bases, formulas))
        self.last_epoch = Clock(_checks.epoch("last_epoch", last_epoch))
        memories = {
            str(i): plateau.memory() for i, (plateau, _) in enumerate(formulas[0].plateaus())
        }
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
        rates = self._targets[0][0]

        def put(values: Any) -> None:
            rates.value = {**rates.value, "lr": values}

        return View(lambda: rates.value["lr"], put)

    def get_last_lr(self) -> list[Any]:
        """The published learning rates, one for each parameter group."""
        return list(self.current_lrs.value)

    def get_lr(self) -> list[Any]:
        """The learning rates at the epoch of the clock, one for each parameter group."""
        rates = self._formula_lrs(
            self._bound_formulas(), self.last_epoch.value, self._targets[0][0]
        )
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
        return self._lrs_at(self._epochs(epoch), self._targets[0][0])

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

    @staticmethod
    def _epochs(epoch: Any) -> Any:
        """A checked scalar or array of epochs; lists are read as arrays."""
        if isinstance(epoch, bool) or isinstance(epoch, str) or callable(epoch):
            raise TypeError(f"epoch must be a number or an array of numbers, got {epoch!r}.")
        if not isinstance(epoch, jax.Array):
            epoch = epoch if isinstance(epoch, (int, float)) else np.asarray(epoch)
        kind = (
            "f" if isinstance(epoch, float) else "i" if isinstance(epoch, int) else epoch.dtype.kind
        )
        if kind not in EPOCH_KINDS and not jnp.issubdtype(epoch.dtype, jnp.floating):
            raise TypeError(
                f"epoch must be a number or an array of numbers, got dtype {epoch.dtype}."
            )
        if not _checks.is_traced(epoch) and not (
            epoch >= 0 if isinstance(epoch, (int, float)) else np.all(np.asarray(epoch) >= 0)
        ):
            raise ValueError(f"epoch must be >= 0, got {epoch!r}.")
        return epoch

    # --- Stepping -----------------------------------------------------------------------------

    def step(self, epoch: Any = None, *, metric: Any = None) -> None:
        """Advance the clock by one, or jump to the whole number `epoch`, and publish the new learning rates.

        `metric` reaches the plateaus inside a composite, and is refused where there is none. The
        clock stops at 2**31 - 1.
        """
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.step()")
        if self._memory is not None:
            self._observe(metric)
        elif metric is not None:
            raise TypeError(
                f"{type(self).__name__} takes no metric: its learning rate depends on the epoch alone. Use ReduceLROnPlateau."
            )
        if epoch is None:
            self.last_epoch.advance()
        else:
            self.last_epoch.value = _checks.epoch("epoch", epoch)
        self._publish()

    def step_epoch(self) -> None:
        """The same as ``step()``."""
        self.step()

    def apply(self, fn: Callable[[Any], Any]) -> None:
        """Map `fn` over the published learning rates of all groups; it lasts until the next ``step()``."""
        for rates, _ in self._targets:
            value = rates.value
            rates.value = {**value, "lr": jnp.stack([jnp.asarray(fn(lr)) for lr in value["lr"]])}

    def attach_optimizer(self, optimizer: "OptaxOptimizer") -> None:
        """From now on `optimizer` follows this scheduler, and no longer the one before."""
        optimizer.add_scheduler(self)

    # --- Checkpoints --------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """What the scheduler was constructed from: ``{class name: {argument: value}}``."""
        values = {} if self._arguments is None else self._arguments.values
        config = {}
        for name, value in values.items():
            if name == "schedulers":
                value = {str(i): member.config for i, member in enumerate(value)}
            elif value is None or any(
                map(callable, value if isinstance(value, (list, tuple)) else [value])
            ):
                continue
            config[name] = plain(name, value)
        return {type(self).__name__: config}

    def state_dict(self) -> dict[str, Any]:
        """Clock, published learning rates and configuration: a nested dict of Python numbers with str keys."""
        state = {
            "version": VERSION,
            "last_epoch": numbers(self.last_epoch.value),
            "lr": {str(i): float(lr) for i, lr in enumerate(np.asarray(self.current_lrs.value))},
            **self.config,
        }
        if self._memory is not None:
            memory = self._memory.value
            state["plateaus"] = {
                key: plateau.as_numbers(memory[key]) for key, plateau in self._plateaus()
            }
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where ``state_dict()`` was taken; a dict that does not fit raises ValueError and changes nothing."""
        found = unwrap(state_dict)
        check_version("state_dict", found)
        ((name, own),) = self.config.items()
        expected = {"version", "last_epoch", "lr", name} | (
            {"plateaus"} if self._memory is not None else set()
        )
        check_keys("state_dict", found, expected)
        different = differences(found[name], own)
        if different:
            raise ValueError(
                f"The state dict is from a {name} with other arguments: {'; '.join(different)}. "
                "Construct the scheduler with the saved ones."
            )
        epoch = check_number("last_epoch", found["last_epoch"], low=0, high=LAST_EPOCH, whole=True)
        groups = len(self._targets[0][0].base_lrs)
        check_keys("lr", found["lr"], map(str, range(groups)))
        rates = [
            check_number(f"lr[{i}]", found["lr"][str(i)], low=0, high=LARGEST)
            for i in range(groups)
        ]
        memory: dict[str, Any] = {}
        if self._memory is not None:
            check_keys("plateaus", found["plateaus"], self._memory.value)
            for key, plateau in self._plateaus():
                memory[key] = plateau.from_numbers(f"plateaus.{key}", found["plateaus"][key])
            self._memory.value = memory
        self.last_epoch.value = epoch
        self.current_lrs.value = np.array(rates, np.float32)

    # --- Inside -------------------------------------------------------------------------------

    def _group_bases(self, rates: LearningRates) -> tuple[Any, ...]:
        own, last = self._bases, len(self._bases) - 1
        return tuple(own[min(g, last)] if lr is None else lr for g, lr in enumerate(rates.base_lrs))

    def _bound_formulas(self) -> tuple[Formula, ...]:
        """The formulas with what was learned from metrics filled in."""
        if self._memory is None:
            return self._formulas
        memory = self._memory.value
        return tuple(
            f.with_reductions(memory[str(i)]["reductions"] for i in range(len(memory)))
            for f in self._formulas
        )

    def _formula_lrs(self, formulas: tuple[Formula, ...], epoch: Any, rates: LearningRates) -> Any:
        bases = self._group_bases(rates)
        if len(formulas) > 1 and len(formulas) != len(bases):
            formulas = tuple(formulas[min(g, len(formulas) - 1)] for g in range(len(bases)))
        concrete = self._concrete and (self._memory is None or is_concrete(formulas))
        return evaluate(formulas, bases, epoch, concrete=concrete and is_concrete(bases))

    def _lrs_at(self, epoch: Any, rates: LearningRates) -> Any:
        if type(self).get_lr is LRScheduler.get_lr:
            return self._formula_lrs(self._bound_formulas(), epoch, rates)
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
        starts = [start for _, start in self._formulas[0].plateaus()]
        self._memory.value = {
            key: plateau.observe(memory[key], metric, now >= start)
            for (key, plateau), start in zip(self._plateaus(), starts, strict=True)
        }

    def _plateaus(self) -> list[tuple[str, Any]]:
        return [(str(i), plateau) for i, (plateau, _) in enumerate(self._formulas[0].plateaus())]

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
        self._targets = tuple(target for target in self._targets if target[1] is not None) + (
            (rates, slot),
        )
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
