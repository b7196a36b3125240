"""lrax in programs that are written for braintools.

A program that takes a braintools optimizer takes ours as it is. The other way round, an optimizer of
braintools takes one of our schedulers through :func:`to_braintools`. braintools is never imported
before that function is called.
"""

import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

import brainstate

from .._types import BraintoolsScheduler, Rates
from ..schedulers.scheduler import LRScheduler
from ..states.published import Plan, Published
from ..states.view import View


def to_braintools(scheduler: LRScheduler) -> BraintoolsScheduler:
    """`scheduler` as a ``braintools.optim.LRScheduler``, to be handed to an optimizer of braintools.

    Step either of the two, eagerly or in a compiled function; the optimizer follows at once. With a
    list of base learning rates the optimizer's parameter groups follow, too, one for each entry.

    Parameters
    ----------
    scheduler : LRScheduler
        Any scheduler of ours. An optimizer of lrax that follows it goes on doing so.

    Raises
    ------
    ImportError
        If braintools is not installed.
    TypeError
        If `scheduler` is not one of ours.

    Examples
    --------
    ::

        scheduler = lrax.WarmupCosineSchedule(base_lr=1e-3, warmup_steps=100, total_steps=10_000)
        optimizer = braintools.optim.Lamb(lr=lrax.interop.to_braintools(scheduler))
        optimizer.register_trainable_weights(model.states(brainstate.ParamState))
        ...
        optimizer.update(grads)
        scheduler.step()
    """
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(f"scheduler must be an lrax scheduler, got {scheduler!r}.")
    return _adapter_class()(scheduler)


class _Adapter:
    """A scheduler of lrax with the interface of braintools."""

    def __init__(self, scheduler: LRScheduler) -> None:
        self.scheduler = scheduler
        self._optimizer: Callable[[], Any] = lambda: None
        # Weakly: the scheduler must not keep the optimizer of braintools, and its weights, alive.
        tell = weakref.WeakMethod(self._tell)
        self._published = Published(1, lambda rates: (found := tell()) and found(rates))
        scheduler.publishing.adopt(self._published, Plan())
        scheduler.publish()
        gone = weakref.finalize(self, scheduler.publishing.forget, self._published)
        gone.atexit = False

    @property
    def optimizer(self) -> Any:
        return self._optimizer()

    def _tell(self, rates: Rates) -> None:
        """What the optimizer keeps of the learning rates."""
        optimizer = self.optimizer
        if optimizer is None:
            return
        optimizer._current_lr.value = rates[0]
        for group, rate in zip(optimizer.param_groups, rates, strict=False):
            if isinstance(group["lr"], brainstate.State):  # else the group has its own
                group["lr"].value = rate

    def attach_optimizer(self, optimizer: Any) -> None:
        if not isinstance(optimizer, sys.modules["braintools.optim"].OptaxOptimizer):
            raise TypeError(f"optimizer must be a braintools optimizer, got {optimizer!r}.")
        self._optimizer = weakref.ref(optimizer)
        self._tell(self._published.rates)

    def __call__(self, count: Any) -> Any:
        """What optax multiplies the update by: minus the learning rate."""
        return -self._published.rates[0]

    @property
    def last_epoch(self) -> Any:
        return self.scheduler.last_epoch

    @property
    def base_lrs(self) -> list[Any]:
        return self.scheduler.base_lrs

    @property
    def current_lrs(self) -> View:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        return View(
            lambda: self._published.rates,
            lambda values: self.scheduler.publishing.of(self._published).assign(values),
        )

    def get_lr(self) -> list[Any]:
        return self.scheduler.get_lr()

    def get_last_lr(self) -> list[Any]:
        return list(self._published.rates)

    def step(self, *args: Any, **kwargs: Any) -> None:
        self.scheduler.step(*args, **kwargs)

    def apply(self, apply_fn: Callable[[Any], Any]) -> None:
        self.scheduler.apply(apply_fn)

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state_dict)


@functools.cache
def _adapter_class() -> type:
    """The adapter as a scheduler of braintools, which has to be imported for that."""
    import braintools

    return type(
        "BraintoolsScheduler",
        (_Adapter, braintools.optim.LRScheduler),
        {"__doc__": _Adapter.__doc__},
    )
