"""SGD, Adam and AdamW: a name, its hyper-parameters and the optax direction."""

from typing import Any

import optax

from .. import _checks
from ._base import OptaxOptimizer


def _betas(betas: Any, **single: Any) -> tuple[Any, Any]:
    pair = _checks.sequence("betas", betas, _checks.non_negative, of="two numbers")
    if len(pair) != 2:
        raise ValueError(f"betas must be two numbers, got {betas!r}.")
    names = [
        name if value is not None else f"betas[{i}]"
        for i, (name, value) in enumerate(single.items())
    ]
    values = [pair[i] if value is None else value for i, value in enumerate(single.values())]
    first, second = (_share(name, value) for name, value in zip(names, values, strict=True))
    return first, second


def _share(name: str, value: Any) -> Any:
    """A number in [0, 1)."""
    value = _checks.non_negative(name, value)
    if not _checks.is_traced(value) and value >= 1:
        raise ValueError(f"{name} must be a number in [0, 1), got {value}.")
    return value


class SGD(OptaxOptimizer):
    """Stochastic gradient descent, with momentum if wanted.

    Parameters
    ----------
    lr : float or LRScheduler
        Learning rate, or the scheduler that gives it.
    momentum : float
        Share of the last update that is kept, in [0, 1).
    weight_decay : float
        Added to the gradient (coupled), as in torch.
    nesterov : bool
        Nesterov momentum; needs ``momentum > 0``.
    grad_clip_norm, clip_norm, grad_clip_value : float, optional
        See :class:`OptaxOptimizer`.
    """

    def __init__(
        self,
        lr: Any = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        grad_clip_norm: float | None = None,
        grad_clip_value: float | None = None,
        *,
        clip_norm: float | None = None,
    ) -> None:
        self.momentum = _share("momentum", momentum)
        self.nesterov = _checks.flag("nesterov", nesterov)
        if nesterov and not _checks.is_traced(self.momentum) and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum > 0, got momentum=0.")
        super().__init__(
            None, lr, weight_decay, grad_clip_norm, grad_clip_value, clip_norm=clip_norm
        )

    def _direction(
        self, weight_decay: optax.GradientTransformation
    ) -> optax.GradientTransformation:
        if not _checks.is_traced(self.momentum) and self.momentum == 0:
            return weight_decay
        return optax.chain(weight_decay, optax.trace(self.momentum, self.nesterov))


class Adam(OptaxOptimizer):
    """Adam. `weight_decay` is added to the gradient (coupled), as in torch; see AdamW for the decoupled one.

    Parameters
    ----------
    lr : float or LRScheduler
        Learning rate, or the scheduler that gives it.
    betas : tuple of float
        Decay rates of the two moments, in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        Added to the gradient.
    amsgrad : bool
        Keep the largest second moment.
    beta1, beta2 : float, optional
        Other names for the entries of `betas`.
    grad_clip_norm, clip_norm, grad_clip_value : float, optional
        See :class:`OptaxOptimizer`.
    """

    def __init__(
        self,
        lr: Any = 1e-3,
        betas: Any = (0.9, 0.999),
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        grad_clip_norm: float | None = None,
        grad_clip_value: float | None = None,
        *,
        clip_norm: float | None = None,
    ) -> None:
        self.betas = _betas(betas, beta1=beta1, beta2=beta2)
        self.eps = _checks.non_negative("eps", eps)
        self.amsgrad = _checks.flag("amsgrad", amsgrad)
        super().__init__(
            None, lr, weight_decay, grad_clip_norm, grad_clip_value, clip_norm=clip_norm
        )

    def _direction(
        self, weight_decay: optax.GradientTransformation
    ) -> optax.GradientTransformation:
        scale = optax.scale_by_amsgrad if self.amsgrad else optax.scale_by_adam
        return optax.chain(weight_decay, scale(*self.betas, self.eps))


class AdamW(OptaxOptimizer):
    """Adam with decoupled weight decay, which only the learning rate multiplies.

    Parameters
    ----------
    lr : float or LRScheduler
        Learning rate, or the scheduler that gives it.
    betas : tuple of float
        Decay rates of the two moments, in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        Share of the weight that is subtracted, times the learning rate.
    grad_clip_norm, clip_norm, grad_clip_value : float, optional
        See :class:`OptaxOptimizer`.
    """

    def __init__(
        self,
        lr: Any = 1e-3,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        grad_clip_norm: float | None = None,
        grad_clip_value: float | None = None,
        *,
        clip_norm: float | None = None,
    ) -> None:
        self.betas = _betas(betas, beta1=None, beta2=None)
        self.eps = _checks.non_negative("eps", eps)
        super().__init__(
            None, lr, weight_decay, grad_clip_norm, grad_clip_value, clip_norm=clip_norm
        )

    def _direction(
        self, weight_decay: optax.GradientTransformation
    ) -> optax.GradientTransformation:
        return optax.chain(optax.scale_by_adam(*self.betas, self.eps), weight_decay)
