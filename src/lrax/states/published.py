"""The learning rates that an optimizer uses."""

from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from .internals import tracing
from .placement import place, strong


class LearningRates(brainstate.LongTermState):
    """The published learning rate of each parameter group: float32, beside the slot of its owner.

    The owner is the one scheduler that may write. A compiled step that still calls another one finds
    another number there and leaves the learning rates alone. Python keeps it, never a checkpoint.
    """

    base_lrs: tuple[Any, ...]
    """A group's own base learning rate, or None where the scheduler's applies."""

    no_own: bool
    """Whether the scheduler's apply everywhere."""

    def __init__(self, groups: int) -> None:
        value = {"lr": np.zeros(groups, np.float32), "owner": np.int32(0)}
        super().__init__(value, base_lrs=(None,) * groups, no_own=True)

    def _write_value(self, v: Any) -> None:
        old = self._value
        owner, kept = v["owner"], old["owner"]
        if not (is_traced(owner) or is_traced(kept)) and np.shape(owner) == np.shape(kept):
            owner = kept
        self._value = {"lr": strong(v["lr"], np.dtype(np.float32), old["lr"]), "owner": owner}

    def publish(self, lr: Any, slot: int | None) -> None:
        """Write the learning rates of the scheduler in `slot`; None is the one and only writer."""
        old = self.value
        if slot is not None and tracing():
            lr = jnp.where(old["owner"] == slot, lr, old["lr"])
        self.value = {"lr": lr, "owner": old["owner"]}

    def poke(self, lr: np.ndarray) -> None:
        """Publish, where ``direct(self)``."""
        attributes: Any = self.__dict__
        old = attributes["_value"]
        if type(old["lr"]) is not np.ndarray:
            lr = place(lr, old["lr"])
        attributes["_value"] = {"lr": lr, "owner": old["owner"]}
        attributes["_been_writen"] = True

    def own(self, slot: int) -> None:
        """Make the scheduler in `slot` the owner."""
        old = self._value["owner"]
        owner = place(np.full(np.shape(old), slot, np.int32)[()], old)
        if not tracing():
            owner = jnp.asarray(owner)  # a compiled step takes it in a fraction of the time
        vars(self)["_value"] = {**self._value, "owner": owner}

    def move(self, put: Callable[[Any], Any]) -> None:
        """Put the value, owner included, somewhere else."""
        vars(self)["_value"] = jax.tree.map(put, self._value)

    def resize(self, base_lrs: tuple[Any, ...], groups: int) -> None:
        """Room for `groups` learning rates, of which the first have the given bases of their own."""
        old = self._value["lr"]
        vars(self)["base_lrs"] = base_lrs + (None,) * (groups - len(base_lrs))
        vars(self)["no_own"] = all(lr is None for lr in base_lrs)
        vars(self)["_value"] = {**self._value, "lr": place(np.zeros(groups, np.float32), old)}
