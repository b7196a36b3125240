"""What an optimizer uses, and the object between it and the scheduler that it follows."""

import itertools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from brainstate.graph import Node

from .._checks import is_traced, non_negative
from .._transfers import meant
from .._types import Number, Rates, Scalar
from ..formulas.arithmetic import LARGEST, SMALLEST
from ..formulas.schedule import spread
from .internals import TypedState, has_hooks, refuse_foreign_trace, tracing
from .placement import place, strong


class _Owners:
    """A number for each scheduler that has written to a State: the same in every process, and for life.

    A copy of the State shares them, but is another State: it begins with none of its own.
    """

    def __init__(self) -> None:
        self._next = itertools.count(1)
        self._of: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, int]] = (
            weakref.WeakKeyDictionary()
        )

    def number(self, published: "Published", scheduler: "Publishing") -> int:
        """The number of a scheduler: that of the last time, if there was one."""
        known = self._of.setdefault(published, weakref.WeakKeyDictionary())
        if scheduler not in known:
            known[scheduler] = next(self._next)
        return known[scheduler]

    def remember(self, published: "Published", scheduler: "Publishing", number: int) -> None:
        """What number a scheduler has, which may be a copy and have it from its original."""
        self._of.setdefault(published, weakref.WeakKeyDictionary())[scheduler] = number


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
    return jnp.stack(rates) if any(map(is_traced, rates)) else np.array(rates, np.float32)


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
    """The learning rate of each parameter group, float32, beside the number of its owner.

    The owner is the one scheduler that may write. A compiled step that still calls another one finds
    another number there and leaves the learning rates alone. Python keeps it, never a checkpoint.
    """

    owners: _Owners
    listeners: _Listeners

    def __init__(self, groups: int, told: Callable[[Rates], None] | None = None) -> None:
        value = {"lr": np.zeros(groups, np.float32), "owner": np.int32(0)}
        super().__init__(value, owners=_Owners(), listeners=_Listeners())
        if told is not None:
            self.listeners.any, self.listeners.by_state[self] = True, told

    def converted(self, new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        owner, kept = new["owner"], old["owner"]
        if not (is_traced(owner) or is_traced(kept)) and np.shape(owner) == np.shape(kept):
            owner = kept
        return {"lr": strong(new["lr"], np.dtype(np.float32), old["lr"]), "owner": owner}

    @property
    def rates(self) -> Rates:
        """The learning rates."""
        return self.value["lr"]

    def rate(self, group: int) -> Scalar:
        """The learning rate of one group."""
        with meant():  # the index goes to where the learning rates are
            return self.rates[group]

    @property
    def groups(self) -> int:
        return self.held()["lr"].shape[-1]

    def write(self, rates: Rates, number: int | None = None) -> None:
        """Write the learning rates, if the scheduler of this number may; None is the one and only writer."""
        refuse_foreign_trace(self, "Writing learning rates")
        old = self.value
        if number is not None and tracing():
            rates = jnp.where(old["owner"] == number, rates, old["lr"])
        self.value = {"lr": rates, "owner": old["owner"]}

    def write_one(self, group: int, value: Scalar) -> None:
        """Write the learning rate of one group."""
        rates, rate = self.rates, _publishable("lr", value)
        if isinstance(rates, np.ndarray) and not is_traced(rate):
            rates = rates.copy()
            rates[group] = rate
        else:
            with meant():
                rates = jnp.asarray(rates).at[group].set(rate)
        self.write(rates)

    def set(self, rates: np.ndarray) -> None:
        """Write the learning rates of the owner, where ``direct(self)``."""
        old = self.held()
        if type(old["lr"]) is not np.ndarray:
            rates = place(rates, old["lr"])
        self.poke({"lr": rates, "owner": old["owner"]})

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

    def resize(self, groups: int) -> None:
        """Room for `groups` learning rates, which are written next."""
        if groups != self.groups:
            room = place(np.zeros(groups, np.float32), self.held()["lr"])
            self.rearrange({**self.held(), "lr": room})


class Follower(NamedTuple):
    """Somebody who follows a scheduler."""

    published: Published
    bases: tuple[Number, ...]
    """The base learning rate of each of its groups."""

    number: int | None = None
    """That of the scheduler there; None if nobody else ever writes."""

    def write(self, rates: Rates) -> None:
        self.published.write(rates, self.number)
        self.published.tell()

    def write_on_host(self, rates: np.ndarray) -> None:
        """The same with host values, where ``direct`` holds for the scheduler's clock."""
        published = self.published
        if has_hooks(published):
            self.write(rates)
            return
        published.set(rates)
        if published.listeners.any:
            published.tell()


class Publishing(Node):
    """Who follows a scheduler, and with which base learning rates.

    It holds the small States that the followers read, never a follower: an optimizer that is dropped
    says so with :meth:`forget`. Where nobody follows, there is a State for whoever looks.
    """

    def __init__(self, bases: tuple[Number, ...]) -> None:
        self.bases = bases
        self.followers: tuple[Follower, ...] = (Follower(Published(len(bases)), bases),)

    @property
    def first(self) -> Follower:
        """The one whose learning rates the scheduler shows."""
        return self.followers[0]

    def adopt(
        self,
        published: Published,
        own_bases: Sequence[Scalar | None],
    ) -> None:
        """Write to `published` from now on; a group whose own base is None has the scheduler's."""
        self.release(published)
        number = published.owners.number(published, self)
        follower = Follower(published, self._bases_of(own_bases), number)
        published.resize(len(follower.bases))
        published.belong_to(number)
        known = (f for f in self.followers if f.number is not None and f.published is not published)
        self.followers = (*known, follower)

    def resize(self, published: Published, own_bases: Sequence[Scalar | None]) -> None:
        """The groups of `published` have become other ones."""
        bases = self._bases_of(own_bases)
        published.resize(len(bases))
        self.followers = tuple(
            f._replace(bases=bases) if f.published is published else f for f in self.followers
        )

    def release(self, published: Published) -> bool:
        """Write no longer to `published`, which another scheduler has; whether nobody follows any more."""
        for follower in self.followers:
            if follower.published is published and follower.number is not None:
                published.owners.remember(published, self, follower.number)
        kept = tuple(f for f in self.followers if f.published is not published)
        self.followers = kept or (Follower(Published(len(self.bases)), self.bases),)
        return not kept

    def forget(self, published: Published) -> None:
        """Write no longer to `published`, whose reader is gone; the last one stays, to be looked at."""
        kept = tuple(f for f in self.followers if f.published is not published)
        self.followers = kept or tuple(f._replace(number=None) for f in self.followers)

    def bases_for(self, published: Published) -> tuple[Number, ...]:
        """The base learning rate of each group of `published`."""
        return next(f.bases for f in self.followers if f.published is published)

    def publish(self, rates: Callable[[tuple[Number, ...]], Rates]) -> None:
        """Write to each follower the learning rates for its bases, or to none if one of them fails."""
        found = [(follower, rates(follower.bases)) for follower in self.followers]
        for follower, new in found:
            follower.write(new)

    def apply(self, change: Callable[[Scalar], Scalar]) -> None:
        """Write to each follower what `change` makes of each of its learning rates."""
        changed = [
            publishable("fn(lr)", map(change, follower.published.rates))
            for follower in self.followers
        ]
        for follower, rates in zip(self.followers, changed, strict=True):
            follower.write(rates)

    def _bases_of(self, own: Sequence[Scalar | None]) -> tuple[Number, ...]:
        """The base of each group: its own, or the scheduler's, whose last one serves the rest."""
        groups = max(len(own), len(self.bases), 1)
        missing = (None,) * (groups - len(own))
        pairs = zip((*own, *missing), spread(self.bases, groups), strict=True)
        return tuple(theirs if mine is None else mine for mine, theirs in pairs)
