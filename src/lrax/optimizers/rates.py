"""What an optimizer shows of its learning rates and other hyper-parameters."""

from collections.abc import Callable, Container

from .. import _checks
from .._types import Epochs, Number, Rates, Scalar
from ..schedulers.scheduler import LRScheduler
from ..states.node import OfNetwork
from ..states.published import Published
from .following import Following
from .groups import Group
from .recipe import Recipe
from .training import Training


class ShowsRates(OfNetwork):
    """The base of optimizers: what they use at present, and at any epoch."""

    _following: Following
    _training: Training
    _recipe: Recipe
    _complete: bool
    """Whether the transformation has a learning rate of its own, which nobody else knows."""

    @property
    def _groups(self) -> tuple[Group, ...]:
        """The groups; without weights the one that they would be in."""
        return self._training.update.groups

    @property
    def lr(self) -> LRScheduler:
        """The scheduler."""
        return self._following.scheduler

    lr_scheduler = lr

    @property
    def base_lr(self) -> Number:
        """Base learning rate of the first group."""
        return self._following.follower.bases[0]

    @property
    def current_lr(self) -> Scalar:
        """Learning rate of the first group. Assigning sets it until the scheduler's next ``step()``.

        Inside a plain ``jax.jit`` it is a constant, read once while tracing.
        """
        self._refuse_complete("current_lr")
        return self._published.column(0)

    @current_lr.setter
    def current_lr(self, value: Scalar) -> None:
        self._refuse_complete("the learning rate")
        if _checks.has(value, "attach_optimizer"):
            raise TypeError(
                f"current_lr must be a number, got {value!r:.80}. Have the optimizer follow it: scheduler.attach_optimizer(optimizer)."
            )
        self._published.write_one(0, value)

    def get_last_lr(self) -> list[Scalar]:
        """Learning rate of each group; inside a plain ``jax.jit`` a constant, read once while tracing."""
        self._refuse_complete("get_last_lr()")
        return self._published.by_group()[: len(self._groups)]

    @property
    def hyperparams(self) -> list[dict[str, Number]]:
        """What the next update uses: one dict for each parameter group, in their order.

        The dicts are copies. A learning rate is set by ``param_groups[i]["lr"] = x``.
        """
        found = [self._following.used(i, group) for i, group in enumerate(self._groups)]
        if self._complete:
            for used in found:
                del used["lr"]
        return found

    def lr_at(self, epoch: Epochs) -> Rates:
        """What each group gets at `epoch`: float32, shape ``epoch.shape + (groups,)``."""
        self._refuse_complete("lr_at()")
        return self._following.at(_checks.epochs(epoch))

    def lr_apply(self, apply_fn: Callable[[Scalar], Scalar]) -> None:
        """Map `apply_fn` over the learning rates of all groups; it lasts until the scheduler's next ``step()``."""
        self._refuse_complete("lr_apply()")
        apply_fn = _checks.function("apply_fn", apply_fn, of="a learning rate")
        with self.lr.publishing.only(self._published):
            self.lr.apply(apply_fn)

    @property
    def _published(self) -> Published:
        return self._following.published

    def _refuse_complete(self, what: str) -> None:
        if self._complete:
            raise ValueError(
                f"{what} is unknown: tx was given without lr=..., so the learning rate is inside it. "
                "Pass a direction (optax.scale_by_adam()) and lr=... instead."
            )

    @property
    def _unknown(self) -> tuple[str, ...]:
        """The hyper-parameters that are inside of a complete transformation, and of which nobody knows."""
        if not self._complete:
            return ()
        return ("lr", "lr_scale", "weight_decay") if self._recipe.ours else ("lr", "lr_scale")

    def _check_complete(self, options: Container[str]) -> None:
        """Refuse options of a group that a complete transformation would not follow."""
        found = [name for name in self._unknown if name in options]
        if found == ["weight_decay"]:
            raise ValueError(
                "weight_decay of a group needs lr=... in the optimizer: without it tx is used as it is."
            )
        if found:
            self._refuse_complete(f"{found[0]} of a group")
