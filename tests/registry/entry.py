"""What an entry of the registry holds: all that the tests know of one public scheduler."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from exact import Spec
from golden import Difference

Arguments = dict[str, Any]


def args(**kwargs: Any) -> Arguments:
    """Arguments of a scheduler, as one writes them in a call."""
    return kwargs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """All that the tests know of one scheduler.

    To add one: write its formula and an Entry into the file of its family, as a module-level name.
    tests/test_registry.py says what is missing. Of an argument that is a learning rate for each group,
    a length, a choice ..., rows.py has what it must refuse, and draws.py what it may be.
    """

    name: str

    kind: Callable[[Any], Any]
    """The scheduler at a base learning rate (or a list of them), small enough to be read: its whole
    life is within 50 epochs. Checkpoints, compiled steps, parameter groups and trainers are tested on it."""

    label: str = ""
    """What that is called in the ids of tests, if not by its name."""

    more_kinds: Mapping[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)
    """Others like it, by label."""

    variants: Mapping[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)
    """By label: what is special in a checkpoint, like an empty list."""

    like: str = ""
    """Another entry whose schedulers stand for these where a test takes long."""

    has_config: bool = True
    """False where it is built on a function of the user's, which no configuration can hold."""

    classes: Sequence[type] = ()
    """Classes of the user's that ``from_config`` needs to rebuild them."""

    scales: bool = True
    """Whether a group with a base learning rate of its own follows ``kind`` of that."""

    # --- Errors

    refuses: Mapping[str, list]
    """For each argument but ``last_epoch`` the rows of what it must refuse."""

    valid: Mapping[str, Arguments] = dataclasses.field(default_factory=dict)
    """Arguments without which there is no constructing it; under "" for all rows, or by argument."""

    # --- The learning rate as a function of the epoch; None where it is none

    exact: Callable[..., Any] | None
    """The learning rate at epoch t: ``exact(t, **arguments)``, by the arithmetic of exact.py."""

    end: Callable[[Arguments], tuple[int, float] | None] | None
    """The epoch from which the last value is held, and that value; None, or of None, if there is no end."""

    base: str = "base_lr"
    """The argument that is the base learning rate, or whose first entry is."""

    boundaries: Callable[[Arguments, int], Any] | None = None
    """The epochs at which something happens, of many some, by arguments and last epoch."""

    cases: Mapping[str, Arguments] = dataclasses.field(default_factory=dict)
    """By label: arguments to be evaluated at thousands of epochs, in every way there is."""

    at_horizon: Callable[[int], Mapping[str, Arguments]] = lambda T: {}
    """The same for what has a length, with length `T`."""

    empty: Mapping[str, tuple[Arguments, int, float]] = dataclasses.field(default_factory=dict)
    """By label: arguments that make a phase of no length, an epoch, and the learning rate there."""

    extreme: Sequence[Arguments] = ()
    """Arguments at the limits of float32, of float64 and of the clock."""

    not_smooth: Mapping[str, Arguments] = dataclasses.field(default_factory=dict)
    """By label: arguments at which the formula has no derivative, and gradients must be finite all the same."""

    # --- Random arguments

    draws: Mapping[str, st.SearchStrategy] = dataclasses.field(default_factory=dict)
    """What each argument may be; of a composite see ``composes``."""

    undrawn: Sequence[str] = ()
    """Arguments that are left at their defaults."""

    repaired: Callable[[Arguments], Arguments] = lambda kwargs: kwargs
    """Arguments that must fit one another made to fit."""

    composes: Callable[[st.SearchStrategy], st.SearchStrategy] | None = None
    """Of a composite: random arguments from random members."""

    combined: Callable[[Any, Any], Any] | None = None
    """Of a composite whose base learning rate is made of those of all members: of two of them."""

    # --- Where tests need to know more

    rates: Sequence[str] = ()
    """Further arguments that are learning rates: twice all of them is twice the learning rate."""

    kinks: Sequence[str] = ()
    """Arguments that move the phases, so that the learning rate is not smooth in them."""

    concrete: Callable[[Arguments], Sequence[str]] = lambda kwargs: ()
    """Arguments that cannot be traced."""

    whole: Callable[[Arguments], bool] = lambda kwargs: False
    """Whether only whole epochs change the learning rate."""

    never_at_base: Sequence[str] = ()
    """Labels of cases that never arrive exactly at the base learning rate."""

    end_is_computed: bool = False
    """Whether the end value is the result of a calculation, which float32 arithmetic rounds."""

    rough_in_float32: Sequence[str] = ()
    """Labels of cases for which float32 arithmetic is not enough; docs/accuracy.md says how far off they are."""

    # --- Reference values: see golden.py

    torch: Sequence[Any] = ()
    braintools: Sequence[Any] = ()
    transformers: Sequence[Any] = ()
    optax: Mapping[str, tuple[Callable[..., Any], Sequence[Any]]] = dataclasses.field(
        default_factory=dict
    )
    """By function of optax: how ours makes the same, and cases."""

    differs: Sequence[Difference] = ()
    """Where ours differs by decision; the docstring of the scheduler must say so."""

    def spec(self, kwargs: Arguments) -> Spec:
        return Spec(self.name, dict(kwargs))

    @property
    def kinds(self) -> dict[str, Callable[[Any], Any]]:
        return {self.label or self.name: self.kind, **self.more_kinds}

    @property
    def strategy(self) -> st.SearchStrategy:
        """Random Specs of it; of what is no composite."""
        drawn = st.fixed_dictionaries(dict(self.draws))
        return drawn.map(lambda kwargs: self.spec(self.repaired(kwargs)))
