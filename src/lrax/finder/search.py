"""The range test."""

import contextlib
from collections.abc import Iterator

import brainstate
import numpy as np

from .. import _checks
from .._transfers import fetched, meant
from .._types import Function, PyTree, Unchecked
from ..formulas.arithmetic import LARGEST, SMALLEST
from ..optimizers.optimizer import OptaxOptimizer
from ..states.internals import tracing
from .batches import kept_position, portions
from .curve import Rule, suggestions
from .program import Walk
from .progress import Progress
from .result import RangeTest
from .step import Step


def find_lr(
    loss_fn: Function,
    optimizer: OptaxOptimizer,
    batches: PyTree,
    *,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.98,
    diverge: float = 4.0,
) -> RangeTest:
    """Try ever larger learning rates in a short training, and forget the training.

    Update k has the learning rate ``start_lr * (end_lr / start_lr) ** (k / (steps - 1))``. Its loss,
    before the update, is smoothed as fastai does, and the test is over with the first that is not
    finite or where it has diverged, by ``diverge`` times the best so far::

        average = smoothing * average + (1 - smoothing) * loss         from 0 on
        smoothed = average / (1 - smoothing ** (k + 1))
        smoothed > best + (diverge - 1) * abs(best)

    It is compiled once, and goes on with copies: weights, moments, clocks, random keys, what batch
    norm or a neuron holds, no State is ever written. The result has ``lrs``, ``losses``,
    ``smoothed``, ``suggestion`` (the valley), ``suggestions`` and ``plot()``.

    Parameters
    ----------
    loss_fn : callable
        Called as ``loss_fn(*batch)``, it returns the loss, ``(loss, ...)`` or ``{"loss": ...}``. Or
        a whole training step, which calls ``optimizer.step(...)``; schedulers that it steps stay.
    optimizer : OptaxOptimizer
        With its weights registered. The learning rates are those of its scheduler, or ``lr=...``;
        groups have theirs in proportion to base learning rates and ``lr_scale``. What else follows
        a schedule stays. With ``accumulate_steps`` each has so many batches, and their mean loss.
    batches : tuple, list or iterable
        A tuple of arrays, the same batch again and again; a list or tuple of tuples; or what gives
        batches one by one, begun again when it ends (a generator: what it gave before). A batch
        that is an array or a dict is one argument. An iterator has gone on by the batches used,
        unless it has ``get_state`` and ``set_state``, or ``state_dict`` and ``load_state_dict``.
    start_lr, end_lr : float, default 1e-7 and 10.0
        The first and the last learning rate, ``0 < start_lr < end_lr``.
    steps : int, default 100
        Number of learning rates, >= 2.
    smoothing : float, default 0.98
        Share of the average that is kept, in [0, 1).
    diverge : float, default 4.0
        How many times the best loss is too much, > 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above, the first loss is not finite, or the loss diverges
        within the first tenth of the learning rates, or never changes.

    Examples
    --------
    >>> import brainstate, lrax
    >>> weight = brainstate.ParamState(3.0)
    >>> optimizer = lrax.SGD(lr=0.1).register_trainable_weights({"weight": weight})
    >>> found = lrax.find_lr(lambda x: (x * weight.value) ** 2, optimizer, (1.0,))
    >>> print(f"{found.suggestions['steepest']:.2f}", weight.value)
    0.14 3.0

    Notes
    -----
    - Suggestions are fastai's, of smoothed losses but the first tenth and the last five. valley: the
      middle of the longest fall (fastai's text says 2/3, its program 1/2). steepest: where it falls
      fastest. minimum / 10: a tenth of where it is lowest.
    - A loader that shuffles with a generator of its own has drawn from it.
    """
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be a function of a batch, got {loss_fn!r:.80}.")
    _check_optimizer(optimizer)
    lrs = _learning_rates(start_lr, end_lr, steps)
    rule = Rule(
        len(lrs),
        optimizer.accumulate_steps,
        _checks.share("smoothing", smoothing),
        _checks.real("diverge", diverge, low=1, open_low=True),
    )
    if tracing():
        raise RuntimeError(
            "find_lr(...) must be called outside of transformations: it compiles a program of its own."
        )
    walk = Walk(Step(optimizer, loss_fn), rule, lrs)
    with kept_position(batches), _kept_key():
        _go(walk, rule, batches)
    losses, smoothed = fetched(walk.curve.losses), fetched(walk.curve.smoothed)
    tried = _count_of_tried(lrs, losses, ended=int(fetched(walk.curve.count)) // rule.every)
    found = lrs[:tried], losses[:tried], smoothed[:tried]
    return RangeTest(*found, suggestions(found[0], found[2], rule.steps))


def _count_of_tried(lrs: np.ndarray, losses: np.ndarray, ended: int) -> int:
    """How many learning rates have a finite loss; ValueError where losses say nothing."""
    tried = int(np.argmin(np.isfinite(np.append(losses, np.nan))))
    if not tried:
        raise ValueError(f"loss_fn must return a finite loss at the first batch, got {losses[0]}.")
    if ended <= len(lrs) // 10:  # of which no suggestion is made
        raise ValueError(
            f"There is nothing to suggest: the loss had diverged at learning rate {lrs[ended - 1]:.2g}, number {ended} of {len(lrs)}. "
            "Pass a smaller start_lr; or if batches differ as much, more smoothing or a larger diverge."
        )
    if tried == len(lrs) and np.ptp(losses) == 0:
        raise ValueError(
            f"There is nothing to suggest: the loss was {losses[0]:.4g} at all of {tried} learning rates. loss_fn must compute it "
            "with the weights of the optimizer; or pass a larger end_lr."
        )
    return tried


def _check_optimizer(optimizer: Unchecked) -> None:
    if not isinstance(optimizer, OptaxOptimizer):
        raise TypeError(f"optimizer must be an optimizer of lrax, got {optimizer!r:.80}.")
    if not optimizer.param_states:
        raise ValueError(
            f"optimizer must have weights, got {optimizer!r:.80}. Call register_trainable_weights(...) first."
        )
    if "lr" not in optimizer.hyperparams[0]:
        raise ValueError(
            f"optimizer must have a learning rate of its own, which tx keeps for itself, got {optimizer!r:.80}. "
            "Pass a factory such as optax.lion, or a direction, and lr=... instead."
        )


def _learning_rates(start_lr: Unchecked, end_lr: Unchecked, steps: Unchecked) -> np.ndarray:
    first = _checks.real("start_lr", start_lr, low=SMALLEST, high=LARGEST)
    last = _checks.real("end_lr", end_lr, low=SMALLEST, high=LARGEST)
    if not first < last:
        raise ValueError(f"end_lr must be larger than start_lr={first!r}, got {last!r}.")
    steps = _checks.integer("steps", steps, low=2)
    return np.geomspace(first, last, steps).astype(np.float32)


@contextlib.contextmanager
def _kept_key() -> Iterator[None]:
    """The key of ``brainstate.random`` is as it was, whatever a loader draws."""
    state = brainstate.random.DEFAULT
    with meant():
        before = state.value  # may make one
    try:
        yield
    finally:
        if state.value is not before:
            state.value = before


def _go(walk: Walk, rule: Rule, batches: PyTree) -> None:
    total = rule.steps * rule.every
    with Progress("find_lr", total) as progress:
        for stack, until in portions(batches, total):
            if not walk.go(stack, until):
                return
            progress.show(until, f"loss {float(fetched(walk.curve.best)):.4g}")
