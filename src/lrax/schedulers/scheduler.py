"""The scheduler: a formula plus a clock."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import brainstate

from .. import _checks
from .._transfers import meant
from .._types import Epochs, Number, Plain, Rates, RatesLike, Scalar, StateDict
from ..formulas import host
from ..formulas.arithmetic import LARGEST, SMALLEST
from ..formulas.description import described
from ..formulas.evaluate import ONE, UP, Scales, clipped, evaluate, evaluate_host, is_concrete, only
from ..formulas.formula import Formula
from ..formulas.schedule import Member, Schedule, check_choice, checked_formulas, spread
from ..pictures.pictured import Pictured
from ..states.clock import LAST_EPOCH, Clock
from ..states.internals import direct, refuse_foreign_trace
from ..states.memory import Memory
from ..states.node import GuardedNode
from ..states.placement import held_states, room_for_all, unchanged_by_errors
from ..states.published import Learns, Published, Publishing
from ..states.view import View
from . import checkpoint
from .construction import Argument, Constructs
from .get_lr import FromGetLR
from .learning import Learning, check_metric
from .operators import Operators
from .phases import HasPhases


class TakesSchedulers(Protocol):
    """An optimizer that follows schedulers."""

    def add_scheduler(self, scheduler: "LRScheduler") -> None: ...


class LRScheduler(Operators["LRScheduler"], HasPhases, Pictured, GuardedNode, metaclass=Constructs):
    """Base class of all schedulers: a formula, evaluated at the epoch that its clock shows.

    Use it directly with a formula of your own, or subclass it and define :meth:`get_lr`. That is a
    function of the epoch: it reads ``self.last_epoch.value``, ``self.base_lrs`` and what
    ``__init__`` has set, never what is published, and returns a list with a number for each group.

    NaN and negative numbers are errors wherever they are known, and a failed step changes nothing.
    In a compiled program NaN is published as it is, and a negative number is 0. So it is with
    traced arguments, which nobody checks: ``base_lr = -1`` trains at 0. Infinity is the largest
    float32.

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

    base_argument: ClassVar[str | None] = "base_lr"

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
            formulas = checked_formulas(type(self), formula)
        groups = _checks.group_count(base_lr=bases, formula=formulas)
        self._bases = spread(bases, groups)
        check_choice(formulas, self._bases)
        self._formulas = formulas
        self._concrete = is_concrete((self._bases, formulas))
        self.last_epoch = Clock(_checks.first_epoch(last_epoch))
        learners = formulas[0].learners() if formulas else ()
        self.learning = Learning(learners) if learners else None
        self._on_host = self._concrete and not self._by_get_lr
        self.publishing = Publishing(self._bases, self._on_host)
        plain = self._on_host and not learners and type(self).lr_at is LRScheduler.lr_at
        self._one = (
            next(zip(formulas, self._bases, strict=False)) if plain and groups == 1 else None
        )

    def __constructed__(self, arguments: tuple[tuple[str, Any], ...] | None) -> None:
        """The last step of construction: what a user's class was constructed with, and the guards."""
        self._arguments = arguments
        # A step() of its own may move the clocks that it holds.
        still = (Clock, Memory) if type(self).step is LRScheduler.step else ()
        self._own_states = not all(isinstance(s, still) for s in self._held_by_users().values())
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
        if self._own_states or (self._by_get_lr and self.learning is not None):
            raise TypeError(
                "A part of another schedule must hold no States, nor a scheduler that a step() of its own may step, "
                f"and have no get_lr() of what was learned, got {self!r:.80}. "
                "Hold them in a scheduler of your own around the others."
            )
        if self.momentum_schedule() is not None:
            raise TypeError(
                f"cycle_momentum must be False in what is a part of another schedule or of an optimizer, got {self!r:.80}. "
                "Give the optimizer the momentum: momentum=..., or betas=(..., 0.999)."
            )
        return tuple((member, member.base) for member in self.schedule.members)

    @property
    def schedule(self) -> Schedule:
        """What it is without its clock."""
        formulas = spread(self.formulas, len(self._bases))
        pairs = zip(self._bases, formulas, strict=True)
        return Schedule(tuple(Member(type(self), *pair, self._arguments) for pair in pairs))

    @property
    def config(self) -> dict[str, Plain]:
        """``{class name: {argument: value}}`` as plain data, from which ``lrax.from_config`` makes the scheduler again."""
        return described(self.schedule, whole=True)

    def momentum_schedule(self) -> Member | None:
        """What it has an optimizer's momentum follow; None: nothing."""
        return None

    def _is_its_schedule(self) -> bool:
        return self._on_host and not self._own_states

    def __eq__(self, other: object) -> bool:
        if self is other or not (isinstance(other, LRScheduler) and self._is_its_schedule()):
            return self is other
        return other._is_its_schedule() and self.schedule == other.schedule

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
        """The published learning rates: ``current_lrs.value[i]``.

        Assigning ``current_lrs.value`` sets them until the next ``step()``. Inside a plain
        ``jax.jit`` they are constants, read once while tracing: there, use ``scheduler(epoch)``.
        """
        follower = self.publishing.first
        return View(lambda: follower.published.rates, follower.assign)

    def get_last_lr(self) -> list[Scalar]:
        """The published learning rates, one for each parameter group of the optimizer.

        Inside a plain ``jax.jit`` they are constants, read once while tracing.
        """
        return self.publishing.first.published.by_group()

    def get_lr(self) -> list[Scalar]:
        """The learning rates at the epoch of the clock, one for each parameter group."""
        if not self._formulas:
            raise TypeError(
                f"{type(self).__name__} has no formula, so its get_lr() cannot use super().get_lr()."
            )
        rates = self._rates_of(self._learned_formulas(), self._bases, None, self.last_epoch.value)
        with meant():
            return [rates[..., group] for group in range(rates.shape[-1])]

    def lr_at(self, epoch: Epochs) -> Rates:
        """Learning rates at `epoch`, without touching any State: float32, shape ``epoch.shape + (groups,)``.

        The groups are those of the scheduler's own arguments, whatever optimizer follows it; what
        each group of an optimizer gets is ``optimizer.lr_at(epoch)``.
        """
        self.refuse_memory()
        return self._rates_of(self._formulas_now(), self._bases, None, _checks.epochs(epoch))

    def refuse_memory(self) -> None:
        """Raise TypeError where the learning rate depends on what was before, and not on the epoch alone."""
        if self.learning is not None:
            raise TypeError(
                f"{type(self).__name__} has no learning rate at a given epoch: {self.learning.why}. "
                "Read get_last_lr() instead."
            )

    def __call__(self, epoch: Epochs) -> Rates:
        """Learning rate at `epoch`, without touching any State: float32, shape ``epoch.shape``.

        `epoch` may be a number or an array, of Python, NumPy or jax, traced, and fractional. Host
        numbers give NumPy, jax arrays give jax. A scheduler is thereby an optax schedule.
        """
        one = self._one
        if one is None or type(epoch) is not int or not 0 <= epoch <= LAST_EPOCH:
            return only(self.lr_at(epoch))
        value = one[0].raw(epoch, one[1], host)  # as mostly
        if type(value) is float and SMALLEST <= value <= LARGEST:
            return ONE * (value * UP)  # in a third of the time that a conversion takes
        return ONE * float(clipped(value, *one, epoch, type(self)))

    # --- Stepping -----------------------------------------------------------------------------

    def step(self, epoch: Scalar | None = None, *, metric: Scalar | None = None) -> None:
        """Advance the clock by one, or jump to the whole number `epoch`, and publish the new learning rates.

        `metric` reaches what learns from metrics inside a composite, and is refused where nothing does.
        The clock stops at 2**31 - 1.
        """
        clock, learning, plain = self.last_epoch, self.learning, self.publishing.plain
        if epoch is not None or plain is None:
            return self._step_by_hand(epoch, metric)
        published, bases, planned, tells, others = plain
        ahead = clock.ahead() if direct(clock, published) else None
        if ahead is None:
            return self._step_by_hand(epoch, metric)
        now, then, kept = ahead
        formulas, kind, memory = self._formulas, type(self), None
        if learning is not None or metric is not None:
            learned = learning and learning.observed_on_host(metric, now, then, formulas)
            if learned is None:
                return self._step_by_hand(epoch, metric)
            memory, formulas = learned
        # All that may raise, and then nothing is written.
        if planned is None:  # as mostly
            columns = evaluate_host(formulas, bases, then, kind)
        else:
            columns = planned.at(then, formulas, kind)
        more = [(f, f.at(then, formulas, kind)) for f in others] if others else ()
        if learning is not None:
            learning.memory.poke(memory)
        clock.poke(kept)
        published.write_on_host(columns)
        if tells:
            published.tell()
        for follower, new in more:
            follower.write_on_host(new)

    def _step_by_hand(self, epoch: Scalar | None, metric: Scalar | None) -> None:
        """:meth:`step` where more than numbers of Python are looked at and written."""
        self.publishing.refuse_steps_by_hand(type(self))
        self._step(epoch, metric)

    def step_for_follower(self) -> None:
        """``step()``, called by the optimizer that may."""
        self._step(None, None)

    def _step(self, epoch: Scalar | None, metric: Scalar | None) -> None:
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.step()")
        if epoch is not None:
            epoch = _checks.next_epoch(epoch)
        with unchanged_by_errors(self._own_parts()):
            with meant():
                self._observe(metric, epoch)
            if epoch is None:
                self.last_epoch.advance()
            else:
                self.last_epoch.value = epoch
            self.publish()

    def _observe(self, metric: Scalar | None, epoch: Scalar | None) -> None:
        learning = self._all_learning()
        check_metric(type(self).__name__, self.learning, learning, metric)
        for learns in learning:
            then = self.last_epoch.next() if epoch is None else epoch
            learns.observe(metric, self.last_epoch.read(), then)

    def _all_learning(self) -> list[Learns]:
        """What learns from a step: in its own formulas, and in what its followers publish."""
        own = [] if self.learning is None else [self.learning]
        return [*own, *self.publishing.learning]

    def step_epoch(self) -> None:
        """The same as ``step()``."""
        self.step()

    def publish(self) -> None:
        """Write the learning rates at the epoch of the clock to whoever follows, as ``step()`` does."""
        epoch, formulas = self.last_epoch.read(), self._formulas_now()
        self.publishing.publish(lambda f: self._rates_of(*f.asked(formulas), epoch))

    def apply(self, fn: Callable[[Scalar], Scalar]) -> None:
        """Map `fn` over the published learning rates of all groups; it lasts until the next ``step()``."""
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.apply()")
        with meant():
            self.publishing.apply(_checks.function("fn", fn, of="a learning rate"))

    def attach_optimizer(self, optimizer: TakesSchedulers) -> None:
        """From now on `optimizer` follows this scheduler, and no longer the one before.

        A compiled function that calls ``step()`` of the one before goes on doing so: step this one
        outside of the function, or compile it again.
        """
        if isinstance(optimizer, type) or not _checks.has(optimizer, "add_scheduler"):
            raise TypeError(
                f"optimizer must be an lrax optimizer, got {optimizer!r:.80}. "
                "An optax optimizer takes the scheduler itself: optax.adam(scheduler)."
            )
        optimizer.add_scheduler(self)

    # --- Checkpoints --------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Clock, memory, description and a subclass's own States: a nested dict with str keys."""
        return checkpoint.saved(
            self.schedule, self.last_epoch, self.learning, self._held_by_users()
        )

    def load_state_dict(self, state_dict: StateDict, strict: bool = True) -> None:
        """Continue where ``state_dict()`` was taken.

        A dict that does not fit raises ValueError and changes nothing. With ``strict=False`` the
        saved schedule may be another one: the epoch is taken over, and what was learned where it
        fits, and a warning says what differs.
        """
        refuse_foreign_trace(self.last_epoch, f"{type(self).__name__}.load_state_dict()")
        strict = _checks.flag("strict", strict)
        published = [follower.published for follower in self.publishing.followers]
        parts = self.schedule, self.last_epoch, self.learning, self._held_by_users()
        with room_for_all([*self._own_parts(), *published]):
            values = checkpoint.checked(state_dict, strict, *parts)
            with unchanged_by_errors([state for state, _ in values]):
                for state, value in values:
                    state.value = value
                self.publish()

    def _held_by_users(self) -> dict[str, brainstate.State]:
        """The States that a user's subclass holds, by the names of its attributes."""
        if self.ours:
            return {}
        own = {id(self.last_epoch), id(self.learning and self.learning.memory)}
        held = held_states(vars(self)).items()
        return {name: s for name, s in held if id(s) not in own and not isinstance(s, Published)}

    # --- Inside -------------------------------------------------------------------------------

    def _own_parts(self) -> list[brainstate.State]:
        """What :meth:`step` writes beside the learning rates."""
        return [self.last_epoch, *(learns.memory for learns in self._all_learning())]

    def _formulas_now(self) -> tuple[Formula, ...]:
        return self.formulas if self._by_get_lr else self._learned_formulas()

    def _rates_of(
        self, formulas: tuple[Formula, ...], bases: tuple[Number, ...], scales: Scales, epoch: Any
    ) -> Rates:
        """Learning rates at a checked epoch."""
        known = None
        if formulas is self._formulas and scales is None:
            known = self._concrete and (bases is self._bases or is_concrete(bases))
        return evaluate(formulas, bases, epoch, type(self), known, scales)

    def _learned_formulas(self) -> tuple[Formula, ...]:
        return self._formulas if self.learning is None else self.learning.fill_in(self._formulas)

    # --- Guarding -----------------------------------------------------------------------------

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The arguments of the constructor are attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "last_epoch" and "last_epoch" in self.__dict__:
            if isinstance(value, brainstate.State):
                raise TypeError(
                    f"last_epoch must be a whole number, got {value!r:.80}. Pass its value."
                )
            self.last_epoch.value = value
            return
        kind = type(self).__name__
        if self._ready and name in {*self.parameters, *self.fixed, "base_lr", "base_lrs"}:
            raise AttributeError(
                f"{name} cannot be changed after construction: a compiled step would go on with the old value. "
                f"Construct a new {kind} and hand the optimizer over with new.attach_optimizer(optimizer)."
            )
        if self._ready and self.ours and not isinstance(getattr(type(self), name, None), property):
            raise AttributeError(
                f"{name!r} of {kind} cannot be set. Attributes of your own belong in a subclass."
            )
        object.__setattr__(self, name, value)
