"""One update of a range test: a learning rate for all groups, the loss, its gradients."""

from collections.abc import Mapping
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .._transfers import meant
from .._types import Function, Leaf, PyTree, Unchecked
from ..optimizers.optimizer import OptaxOptimizer
from ..optimizers.update import without_waiting
from ..states.published import Published
from ..states.saving import copied

NOBODY = np.int32(0)
"""The owner of learning rates that no scheduler may write."""


class Trains(Exception):
    """The function of the user's makes the update itself."""


class Step:
    """One update, as a function of a learning rate and a batch; it is called while a program is traced."""

    def __init__(self, optimizer: OptaxOptimizer, loss_fn: Function) -> None:
        self._optimizer, self._loss_fn = optimizer, loss_fn
        states: Any = brainstate.graph.states(optimizer)
        self._published: Published = states["_following", "published"]
        self._shares = self._shares_of_groups()
        self.trains = False
        """Whether the function makes the update itself."""

    def _shares_of_groups(self) -> np.ndarray:
        """What the learning rate of each group is multiples of."""
        scheduler, groups = self._optimizer.lr, self._published.groups
        _, bases, scales = scheduler.publishing.of(self._published).asked(scheduler.formulas)
        first = scheduler.base_lrs[0]
        if first == 0:
            raise ValueError(
                f"optimizer must have a base learning rate > 0, of which those of groups are multiples, got {first!r}. "
                "Construct it with lr=1e-3, or a scheduler with such a base_lr."
            )
        bases = np.array(bases[:groups], np.float64) / first
        return (bases if scales is None else bases * scales[:groups]).astype(np.float32)

    def begins_with(self) -> dict[int, PyTree]:
        """What States hold at first that is not what they hold now, by their identity."""
        opt_state = self._optimizer.opt_state
        with meant():
            return {id(opt_state): jax.tree.map(copied, without_waiting(opt_state.value))}

    def __call__(self, lr: Leaf, *batch: PyTree) -> Leaf:
        self._published.write_rates(lr * self._shares)
        self._published.value = {**self._published.value, "owner": NOBODY}
        if self.trains:
            return _loss_in(self._loss_fn(*batch))
        weights = self._optimizer.param_states
        grad: Any = brainstate.transform.grad(self._loss, grad_states=weights, return_value=True)
        grads, loss = grad(batch)
        self._optimizer.step(grads)
        return loss

    def _loss(self, batch: PyTree) -> Leaf:
        for weight in self._optimizer.param_states.values():
            weight.value  # noqa: B018 (brainstate takes no gradient of what is not read)
        before = self._optimizer.opt_state.value
        found = self._loss_fn(*batch)
        if self._optimizer.opt_state.value is not before:
            raise Trains
        return _loss_in(found)


def _loss_in(found: Unchecked) -> Leaf:
    loss = found
    if isinstance(found, Mapping) and "loss" in found:
        loss = found["loss"]
    elif isinstance(found, (tuple, list)) and found:
        loss = found[0]
    try:
        loss = jnp.asarray(loss)
        fine = loss.shape == () and jnp.issubdtype(loss.dtype, np.floating)
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise TypeError(
            f"loss_fn must return a real scalar, alone, before others in a tuple, or as 'loss' in a dict, got {found!r:.80}."
        )
    return loss
