"""How an optimizer follows a scheduler: what it has published, for which groups, and where."""

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from brainstate.graph import Node

from .._types import Epochs, Rates, Scalar
from ..formulas.formula import Formula
from ..formulas.schedule import Member
from ..schedulers.learning import Learning
from ..schedulers.scheduler import LRScheduler
from ..states.memory import Memory
from ..states.placement import held_states
from ..states.published import Follower, Plan, Published
from ..states.view import View
from .groups import Group, betas_too, check_own_bases
from .scheduled import fixed_at, within_range
from .update import Places


class Following(Node):
    """One State of all that is published for an optimizer, and the scheduler that writes it."""

    scheduler: LRScheduler
    places: Places

    def __init__(self, momentum: str | None, clip_norm: Any, automatic: bool) -> None:
        self.momentum = momentum
        """The name of the momentum, if there is one."""
        self.clip_norm = clip_norm
        self.automatic = automatic
        """Whether the optimizer steps the scheduler."""
        self.driven = False
        """Whether the momentum has been a scheduler's affair: it stays a scheduled one."""
        self.learning: Learning | None = None
        """What learns from step to step in schedules of the optimizer's own."""
        self.published = Published(1)

    @property
    def follower(self) -> Follower:
        return self.scheduler.publishing.of(self.published)

    @property
    def memories(self) -> list[Memory]:
        """The State of what its own schedules learn from step to step, if any does."""
        return [] if self.learning is None else [self.learning.memory]

    def at(self, epoch: Epochs) -> Rates:
        """The learning rates of the groups at a checked epoch."""
        self.scheduler.refuse_memory()
        found = self.follower.rates_at(epoch, self.scheduler.formulas, type(self.scheduler))
        if found is None:
            raise TypeError(
                "lr_at(epoch) needs schedules of the epoch, but that of a group depends on what it was before. Read get_last_lr() instead."
            )
        return found

    def used(self, index: int, group: Group) -> dict[str, Any]:
        """What is used of the hyper-parameters of a group: its learning rate, numbers, and what is published."""
        column, places = self.published.column, self.places.groups[index]
        numbers = group.numbers()
        own = {"lr": column(index)}
        for name in group.values:
            if name in places:
                own[name] = column(places[name])
            elif name in numbers:
                own[name] = numbers[name]
        if self.clip_norm is not None:
            norm = self.places.clip_norm
            own["grad_clip_norm"] = self.clip_norm if norm is None else column(norm)
        return betas_too(own)

    def views(self, index: int, check: Callable[[], None]) -> dict[str, View]:
        """The same of what is published, as it is when one looks; `check` before the learning rate is set."""
        places = {"lr": index, **self.places.groups[index]}

        def write(value: Scalar) -> None:
            check()
            self.published.write_one(index, value)

        return {
            name: View(
                lambda place=place: self.published.column(place), write if name == "lr" else None
            )
            for name, place in places.items()
        }

    def follow(self, scheduler: LRScheduler, groups: Sequence[Group]) -> None:
        """Follow `scheduler` from now on, and no longer the one before; an error changes nothing."""
        self._check(scheduler, groups)
        before: LRScheduler | None = vars(self).get("scheduler")
        with self.unchanged_by_errors(scheduler):
            self.driven = self.driven or scheduler.momentum_schedule() is not None
            left = before is not None and before is not scheduler
            if left and before.publishing.release(self.published):  # pyright: ignore
                before.publish()  # pyright: ignore
            self._publish(scheduler, groups, scheduler.publishing.adopt)
            self.scheduler = scheduler

    def drive(self, driven: bool, groups: Sequence[Group]) -> bool:
        """From now on the momentum is a scheduled one, or no longer; whether that is new."""
        if driven == self.driven or (driven and self.momentum is None):
            return False
        if not driven and self.scheduler.momentum_schedule() is not None:
            return False
        with self.unchanged_by_errors():
            self.driven = driven
            self.regroup(groups, groups)
        return True

    def regroup(self, groups: Sequence[Group], before: Sequence[Group]) -> None:
        """There are other groups than those `before`; an error changes nothing."""
        rates = self.published.rates[..., : len(before)]
        with self.unchanged_by_errors():
            self._publish(self.scheduler, groups, self.scheduler.publishing.change)
            if all(map(operator.is_, groups, before)):
                self.published.put_back(rates)  # what was assigned lasts until the next step

    @contextlib.contextmanager
    def unchanged_by_errors(self, *schedulers: LRScheduler) -> Iterator[None]:
        """All is as it was, and what compiled programs write is what is looked at, if a function of the user's fails."""
        known = {s.publishing for s in (*schedulers, vars(self).get("scheduler")) if s is not None}
        followers = [(publishing, publishing.followers) for publishing in known]
        own, published = {**vars(self)}, self.published
        more, value = published.more, published.held()
        try:
            yield
        except Exception:
            vars(self).clear()
            vars(self).update(own)
            published.more = more
            published.rearrange(value)
            for publishing, old in followers:
                publishing.set_followers(*old)
            raise

    def forget(self) -> None:
        """The optimizer is gone."""
        if "scheduler" in vars(self):
            self.scheduler.publishing.forget(self.published)

    def move(self, put: Callable[[Any], Any]) -> None:
        """Put what is published, and what the scheduler holds, somewhere else."""
        self.published.move(put)
        held = {**held_states(self.scheduler), **held_states(self.learning, "hyperparams")}
        for state in {id(s): s for s in held.values() if not isinstance(s, Published)}.values():
            state.value = jax.tree.map(put, state.value)

    def planned(
        self, groups: Sequence[Group], scheduler: LRScheduler
    ) -> tuple[Plan, Places, list[str]]:
        """What is published for these groups, where, and a name for each learner in the schedules."""
        more: list[Any] = []
        columns = max(len(groups), len(scheduler.base_lrs))
        known: dict[tuple[str, int], int] = {}
        driven = scheduler.momentum_schedule() if self.driven else None
        named = [(f"{i}.lr", g.schedule) for i, g in enumerate(groups) if g.schedule is not None]

        def place(label: str, name: str, schedule: Any) -> int:
            # A driven momentum has a place in each group, whether one schedule drives it or numbers stand in.
            key = (label if self.driven and name == self.momentum else name), id(schedule)
            if key not in known:  # else several groups have it, and share its place
                more.append((within_range(name, schedule), schedule.base))
                named.append((label, schedule))
                known[key] = columns + len(more) - 1
            return known[key]

        places = [
            {name: place(f"{i}.{name}", name, s) for name, s in self._schedules(group, driven)}
            for i, group in enumerate(groups)
        ]
        norm = self.clip_norm
        by_schedule = isinstance(norm, Formula)
        norm_place = place("grad_clip_norm", "grad_clip_norm", norm) if by_schedule else None
        scaled = any(group.lr_scale is not None for group in groups)
        scales = tuple(1.0 if g.lr_scale is None else g.lr_scale for g in groups)
        plan = Plan(
            tuple(group.base for group in groups),
            tuple(group.schedule for group in groups),
            scales if scaled else None,
            tuple(more),
            automatic=self.automatic,
        )
        found = [f"{label}.{i}" for label, f in named for i, _ in enumerate(f.learners())]
        return plan, Places(tuple(places), norm_place), found

    def _schedules(self, group: Group, driven: Member | None) -> Iterator[tuple[str, Any]]:
        for name, value in group.values.items():
            if isinstance(value, Formula):
                yield name, value
            elif self.driven and name == self.momentum:
                yield name, driven or fixed_at(value or 0.0)

    def _publish(
        self,
        scheduler: LRScheduler,
        groups: Sequence[Group],
        tell: Callable[[Published, Plan], None],
    ) -> None:
        plan, self.places, names = self.planned(groups, scheduler)
        learning = self._learning_of(plan, names)
        if self.automatic and learning is not None and learning.needs_metric:
            raise ValueError(
                "auto_step=True must have no schedule that needs a metric, but a hyper-parameter has one. "
                "Call scheduler.step(metric=...) yourself."
            )
        tell(self.published, plan._replace(learning=learning))
        self.learning = learning
        with scheduler.publishing.only(self.published):  # what others were assigned stays
            scheduler.publish()

    def _learning_of(self, plan: Plan, names: Sequence[str]) -> Learning | None:
        """What learns in a plan; it remembers what was known under the same names."""
        formulas = [*(f for f in plan.schedules if f is not None), *(f for f, _ in plan.more)]
        learners = [found for formula in formulas for found in formula.learners()]
        if not learners or self.learning is None:
            return Learning(learners, names) if learners else None
        if self.learning.names == tuple(names):
            return self.learning
        learning, before = Learning(learners, names), self.learning.memory.value
        kept = {name: before[name] for name in names if name in before}
        learning.memory.value = {**learning.memory.value, **kept}
        return learning

    # --- Checks -------------------------------------------------------------------------------

    def _check(self, scheduler: LRScheduler, groups: Sequence[Group]) -> None:
        self.check_groups(scheduler, groups)
        followers = scheduler.publishing.followers
        others = [f for f in followers if f.published is not self.published and not f.adapted]
        if any(follower.automatic for follower in others):
            raise ValueError(
                "scheduler must not be one that another optimizer steps (auto_step=True). Give each a scheduler of its own."
            )
        if self.automatic and any(f.number is not None for f in others):
            raise ValueError(
                "auto_step=True must have a scheduler that no other optimizer follows, since it would be stepped for that, too. "
                "Give each a scheduler of its own."
            )
        learning = scheduler.learning
        if self.automatic and learning is not None and learning.needs_metric:
            raise ValueError(
                f"auto_step=True must have a scheduler that needs no metric, got {scheduler!r:.80}. "
                "Call its step(metric=...) yourself."
            )

    def check_groups(self, scheduler: LRScheduler, groups: Sequence[Group]) -> None:
        """Refuse groups that could not follow the scheduler."""
        check_own_bases(scheduler.formulas, groups)
        if scheduler.momentum_schedule() is not None:
            self._check_momentum(type(scheduler).__name__, groups)

    def _check_momentum(self, kind: str, groups: Sequence[Group]) -> None:
        name = self.momentum
        if name is None:
            raise ValueError(
                f"cycle_momentum of {kind} needs an optimizer with a momentum: SGD, Adam, AdamW, or a factory that is given "
                "momentum=... or b1=.... Pass cycle_momentum=False."
            )
        if any(isinstance(group.values[name], Formula) for group in groups):
            raise ValueError(
                f"{name} must have one schedule, but cycle_momentum of {kind} is another beside the one that it was given. "
                "Pass cycle_momentum=False, or a number."
            )
