"""What an optimizer uses, and the object between it and the scheduler that it follows."""

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from brainstate.graph import Node

from .._checks import is_list, is_traced, non_negative
from .._transfers import meant
from .._types import Number, Rates, Scalar, Value
from ..formulas.arithmetic import LARGEST, SMALLEST
from ..formulas.evaluate import evaluate, evaluate_host, is_concrete, side_by_side
from ..formulas.formula import Formula
from ..formulas.schedule import spread
from .internals import TypedState, has_hooks, refuse_foreign_trace, tracing
from .memory import Memory
from .owners import Owners
from .placement import in_front, place, strong


class _Listeners:
    """Who is told of new learning rates; a copy of the State is another State, and tells nobody."""

    any = False

    def __init__(self) -> None:
        self.by_state: weakref.WeakKeyDictionary[Any, Callable[[Rates], None]] = (
            weakref.WeakKeyDictionary()
        )


def publishable(name: str, values: Iterable[Scalar]) -> Rates:
    """Learning rates of a user's as they can be published: known ones are checked, traced ones clamped; NaN stays there."""
    rates = [_publishable(name, value) for value in values]
    traced = any(map(is_traced, rates))
    return side_by_side(jnp, rates) if traced else np.array(rates, np.float32)


def _publishable(name: str, value: Scalar) -> Number:
    rate = non_negative(name, value)
    if is_traced(rate):
        return jnp.clip(rate.astype(np.float32), 0, LARGEST)
    if rate > LARGEST:
        raise ValueError(
            f"{name} must be at most {LARGEST:g}, the largest float32, got {value!r:.80}."
        )
    return np.float32(rate if rate >= SMALLEST else 0.0)


class Published(TypedState):
    """The learning rate of each parameter group, and `more` behind them, float32, beside the number of their owner.

    The owner is the one scheduler that may write. A compiled step that still calls another one finds
    another number there and leaves the learning rates alone. Python keeps it, never a checkpoint.
    """

    owners: Owners
    listeners: _Listeners
    more: int
    """The number of scheduled hyper-parameters, of all groups."""

    def __init__(self, groups: int, told: Callable[[Rates], None] | None = None) -> None:
        value = {"lr": np.zeros(groups, np.float32), "owner": np.int32(0)}
        super().__init__(value, owners=Owners(), listeners=_Listeners(), more=0)
        if told is not None:
            self.listeners.any, self.listeners.by_state[self] = True, told

    def converted(self, new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        owner, kept = new["owner"], old["owner"]
        if not (is_traced(owner) or is_traced(kept)) and np.shape(owner) == np.shape(kept):
            owner = kept
        return {"lr": strong(new["lr"], np.dtype(np.float32), old["lr"]), "owner": owner}

    @property
    def columns(self) -> Rates:
        """The learning rates, and the hyper-parameters behind them."""
        return self.value["lr"]

    @property
    def rates(self) -> Rates:
        """The learning rates."""
        with meant():
            return self.columns[..., : self.groups] if self.more else self.columns

    def column(self, place: int) -> Scalar:
        """One of all."""
        columns = self.columns
        with meant():  # the index goes to where the learning rates are
            return columns[place] if columns.ndim == 1 else columns[..., place]

    def by_group(self) -> list[Scalar]:
        """The learning rate of each group."""
        return [self.column(group) for group in range(self.groups)]

    @property
    def groups(self) -> int:
        return self.held()["lr"].shape[-1] - self.more

    def write(self, columns: Rates, number: int | None = None) -> None:
        """Write all, if the scheduler of this number may; None is the one and only writer."""
        refuse_foreign_trace(self, "Writing learning rates")
        old = self.value
        if number is not None and tracing():
            columns = jnp.where(old["owner"] == number, columns, old["lr"])
        self.value = {"lr": columns, "owner": old["owner"]}

    def write_rates(self, rates: Rates, number: int | None = None) -> None:
        """Write the learning rates, and leave what is behind them."""
        self.write(in_front(rates, self.columns) if self.more else rates, number)

    def put_back(self, rates: Rates) -> None:
        """Write the learning rates of the first groups as they were, whatever they were."""
        columns = self.columns
        if rates.ndim == columns.ndim:  # not of many trainings
            self.write(in_front(rates, columns))

    def write_one(self, group: int, value: Scalar) -> None:
        """Write the learning rate of one group."""
        columns, rate = self.columns, _publishable("lr", value)
        if isinstance(columns, np.ndarray) and not is_traced(rate):
            columns = columns.copy()
            columns[..., group] = rate
        else:
            with meant():
                columns = jnp.asarray(columns).at[..., group].set(rate)
        self.write(columns)

    def write_on_host(self, columns: np.ndarray) -> None:
        """Write all that the owner may, where ``direct(self)``."""
        old = self.held()
        if type(old["lr"]) is not np.ndarray:
            columns = place(columns, old["lr"])
        self.poke({"lr": columns, "owner": old["owner"]})

    def tell(self) -> None:
        """Tell who wants to know of new learning rates."""
        if self.listeners.any and self in self.listeners.by_state:
            self.listeners.by_state[self](self.rates)

    def belong_to(self, number: int) -> None:
        """Make the scheduler of this number the owner."""
        old = self.held()["owner"]
        owner = place(np.full(np.shape(old), number, np.int32)[()], old)
        if not tracing():
            owner = jax.device_put(owner)  # a compiled step takes it in a fraction of the time
        self.rearrange({**self.held(), "owner": owner})

    def move(self, put: Callable[[Any], Any]) -> None:
        """Put the value, owner included, somewhere else."""
        self.rearrange(jax.tree.map(put, self.held()))

    def resize(self, groups: int, more: int) -> None:
        """Room for so many, which are written next."""
        self.more = more
        if groups + more != self.held()["lr"].shape[-1]:
            room = place(np.zeros(groups + more, np.float32), self.held()["lr"])
            self.rearrange({**self.held(), "lr": room})


class Learns(Protocol):
    """What learns from step to step."""

    memory: Memory
    needs_metric: bool

    def observe(self, metric: Scalar | None, now: Value, then: Value) -> None: ...
    def fill_in_order(self, formulas: Any) -> Any: ...


class Plan(NamedTuple):
    """What a follower publishes for each of its groups, and behind the learning rates."""

    bases: tuple[Number | None, ...] = ()
    """The base learning rate of each group; None: the scheduler's."""

    schedules: tuple[Formula | None, ...] = ()
    """The schedule of each group; None: the scheduler's."""

    scales: tuple[Number, ...] | None = None
    """What the learning rate of each group is multiplied by."""

    more: tuple[tuple[Formula, Number], ...] = ()
    """The schedules of other hyper-parameters, each with its base."""

    learning: Learns | None = None
    """What learns from step to step in these schedules."""

    automatic: bool = False
    """Whether the follower steps the scheduler, and nobody else may."""

    @property
    def plain(self) -> bool:
        """Whether the host can work everything out from numbers."""
        own = (self.schedules, self.scales, tuple(f for f, _ in self.more))
        return self.learning is None and not self.automatic and is_concrete(own)

    @property
    def as_the_scheduler(self) -> bool:
        """Whether there is nothing beside the scheduler's own learning rates."""
        more = self.scales or self.more or any(self.schedules)
        return not (more or self.automatic)

    def formulas(self, theirs: tuple[Formula, ...], groups: int) -> tuple[Formula, ...]:
        """The formula of each group, and of what is behind, for a scheduler with formulas of `theirs`."""
        schedules, more = self.schedules, tuple(formula for formula, _ in self.more)
        if self.learning is not None:
            schedules, more = self.learning.fill_in_order((schedules, more))
        own = (*schedules, *(None,) * (groups - len(schedules)))
        pairs = zip(own, spread(theirs, groups), strict=True)
        return (*(theirs if mine is None else mine for mine, theirs in pairs), *more)


class Follower(NamedTuple):
    """Somebody who follows a scheduler."""

    published: Published
    bases: tuple[Number, ...]
    """The base learning rate of each of its groups, and what is the base behind them."""

    number: int | None = None
    """That of the scheduler there; None if nobody else ever writes."""

    plan: Plan | None = None
    """None: as the scheduler has it."""

    plain: bool = True
    """Whether the host can work everything out from numbers."""

    @property
    def automatic(self) -> bool:
        """Whether it steps the scheduler, and nobody else may."""
        return self.number is not None and self.plan is not None and self.plan.automatic

    @property
    def adapted(self) -> bool:
        """Whether it hands on what it is told, and steps nothing."""
        return self.published.listeners.any

    def asked(
        self, theirs: tuple[Formula, ...]
    ) -> tuple[tuple[Formula, ...], tuple[Number, ...], tuple[Number, ...] | None]:
        """Formulas, bases and factors of all that it has published, for a scheduler with formulas of `theirs`."""
        if self.plan is None:
            return theirs, self.bases, None
        more = len(self.plan.more)
        groups = len(self.bases) - more
        scales = self.plan.scales
        if scales is not None:
            scales = (*spread(scales, groups), *(1.0,) * more)
        return self.plan.formulas(theirs, groups), self.bases, scales

    def rates_at(self, epoch: Value, theirs: tuple[Formula, ...], kind: type) -> Rates | None:
        """The learning rates of its groups at an epoch; None if one of them depends on what it was before."""
        formulas, bases, scales = self.asked(theirs)
        groups = self.published.groups
        if any(formula.learners() for formula in formulas[:groups]):
            return None
        return evaluate(formulas, bases[:groups], epoch, kind, None, scales)

    def at(self, now: int, theirs: tuple[Formula, ...], kind: type) -> np.ndarray:
        """All that it has published at an epoch, where the plan is plain."""
        formulas, bases, scales = self.asked(theirs)
        return evaluate_host(formulas, bases, now, kind, scales)

    def write(self, columns: Rates) -> None:
        self.published.write(columns, self.number)
        self.published.tell()

    def write_rates(self, rates: Rates) -> None:
        self.published.write_rates(rates, self.number)
        self.published.tell()

    def assign(self, values: Any) -> None:
        """:meth:`write_rates` with what a user has assigned to ``current_lrs``."""
        groups = self.published.groups
        values = list(values) if is_list(values) else values
        if not isinstance(values, list) or len(values) != groups:
            raise ValueError(
                f"current_lrs must have {groups} entries, one a parameter group, got {values!r:.80}."
            )
        self.write_rates(publishable("current_lrs", values))

    def write_on_host(self, columns: np.ndarray) -> None:
        """:meth:`write` with host values, where ``direct`` holds for the scheduler's clock."""
        if has_hooks(self.published):
            self.write(columns)
        else:
            self.published.write_on_host(columns)
            self.published.tell()


class Publishing(Node):
    """Who follows a scheduler, and with which base learning rates.

    It holds the small States that the followers read, never a follower: an optimizer that is dropped
    says so with :meth:`forget`. Where nobody follows, there is a State for whoever looks.
    """

    def __init__(self, bases: tuple[Number, ...], on_host: bool) -> None:
        self.bases = bases
        self._on_host = on_host
        """Whether the host can work out the schedule itself from numbers."""
        self.set_followers(Follower(Published(len(bases)), bases))

    def set_followers(self, *followers: Follower) -> None:
        """They follow, and nobody else."""
        self.followers = followers
        first, *others = followers
        planned = None if first.plan is None else first
        plain = self._on_host and all(f.plain for f in followers)
        line = first.published, first.bases, planned, first.adapted, tuple(others)
        self.plain = line if plain else None
        """What a step on the host looks at, where that can work everything out from numbers: of the first of them its State,
        its bases, itself if something is planned for it, and whether it hands on what it is told; and the others."""

    @property
    def first(self) -> Follower:
        """The one whose learning rates the scheduler shows."""
        return self.followers[0]

    def adopt(self, published: Published, plan: Plan) -> None:
        """Write to `published` from now on, as it is planned."""
        known = {id(follower.published): follower for follower in self.followers}
        self.release(published)
        number = published.owners.number(published, self)
        known[id(published)] = self._follower(published, plan, number)
        self.set_followers(*(f for f in known.values() if f.number is not None))
        published.belong_to(number)

    def change(self, published: Published, plan: Plan) -> None:
        """Something else is planned for `published`."""
        self.set_followers(
            *(
                self._follower(published, plan, f.number) if f.published is published else f
                for f in self.followers
            )
        )

    def _follower(self, published: Published, plan: Plan, number: int | None) -> Follower:
        bases = self._bases_of(plan.bases)
        published.resize(len(bases), len(plan.more))
        bases += tuple(base for _, base in plan.more)
        own = None if plan.as_the_scheduler else plan
        return Follower(published, bases, number, own, own is None or plan.plain)

    def release(self, published: Published) -> bool:
        """Write no longer to `published`, which another scheduler has; whether nobody follows any more."""
        for follower in self.followers:
            if follower.published is published and follower.number is not None:
                published.owners.remember(published, self, follower.number)
        kept = tuple(f for f in self.followers if f.published is not published)
        self.set_followers(*(kept or [Follower(Published(len(self.bases)), self.bases)]))
        return not kept

    def forget(self, published: Published) -> None:
        """Write no longer to `published`, whose reader is gone; the last one stays, to be looked at."""
        kept = tuple(f for f in self.followers if f.published is not published)
        self.set_followers(*(kept or [f._replace(number=None) for f in self.followers]))

    def of(self, published: Published) -> Follower:
        """Who reads `published`."""
        return next(f for f in self.followers if f.published is published)

    def refuse_steps_by_hand(self, kind: type) -> None:
        """Raise if a follower steps the scheduler of that class."""
        if any(follower.automatic for follower in self.followers):
            raise RuntimeError(
                f"{kind.__name__}.step() must be left to the optimizer, which has auto_step=True and steps its scheduler "
                "once for each update. Leave this call out, or construct the optimizer without auto_step."
            )

    @property
    def learning(self) -> list[Learns]:
        """What learns on behalf of the followers that are still there."""
        there = (f for f in self.followers if f.number is not None)
        found = [f.plan.learning for f in there if f.plan is not None]
        return [learning for learning in found if learning is not None]

    @contextlib.contextmanager
    def only(self, published: Published) -> Iterator[None]:
        """To nobody else is anything written meanwhile."""
        followers = self.followers
        self.set_followers(self.of(published))
        try:
            yield
        finally:
            self.set_followers(*followers)

    def publish(self, columns: Callable[[Follower], Rates]) -> None:
        """Write to each follower its columns, or to none if one of them fails."""
        found = [(follower, columns(follower)) for follower in self.followers]
        for follower, new in found:
            follower.write(new)

    def apply(self, change: Callable[[Scalar], Scalar]) -> None:
        """Write to each follower what `change` makes of each of its learning rates."""
        changed = [
            publishable("fn(lr)", map(change, follower.published.rates))
            for follower in self.followers
        ]
        for follower, rates in zip(self.followers, changed, strict=True):
            follower.write_rates(rates)

    def _bases_of(self, own: Sequence[Scalar | None]) -> tuple[Number, ...]:
        """The base of each group: its own, or the scheduler's, whose last one serves the rest."""
        groups = max(len(own), len(self.bases), 1)
        missing = (None,) * (groups - len(own))
        pairs = zip((*own, *missing), spread(self.bases, groups), strict=True)
        return tuple(theirs if mine is None else mine for mine, theirs in pairs)
