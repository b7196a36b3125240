"""SGD, Adam and AdamW: a name, its hyper-parameters and the optax direction."""

from collections.abc import Sequence

from .._types import Scalar
from ..schedulers.scheduler import LRScheduler
from .optimizer import OptaxOptimizer
from .patterns import Patterns
from .recipe import BETAS, Hyperparameter, Recipe, adam, adamw, betas_of, checked, sgd


class SGD(OptaxOptimizer):
    """Stochastic gradient descent, with momentum if wanted.

    The n-th ``step(grads)``, with the clipped gradient g, does for each weight w::

        g = g + weight_decay * w
        v = momentum * v + g                   v = 0 at first
        w = w - lr * v                         nesterov=False
            w - lr * (g + momentum * v)        nesterov=True

    Parameters
    ----------
    lr : float or LRScheduler, default 1e-3
        Learning rate, >= 0, or the scheduler that gives it.
    momentum : float, default 0.0
        Share of the last update that is kept, in [0, 1). Any number may be a scheduler, too.
    weight_decay : float, default 0.0
        Share of the weight that is added to the gradient (coupled), >= 0.
    nesterov : bool, default False
        Nesterov momentum; needs ``momentum > 0``.
    grad_clip_norm, grad_clip_value, clip_norm, groups : optional
        See :class:`OptaxOptimizer`.
    accumulate_steps : int, default 1
        See :class:`OptaxOptimizer`.
    skip_nonfinite, auto_step, log_grad_norm : bool, default False and False and False
        See :class:`OptaxOptimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax
    >>> weight = brainstate.ParamState(1.0)
    >>> optimizer = lrax.SGD(lr=lrax.ExponentialLR(0.1, gamma=0.5), momentum=0.9)
    >>> optimizer = optimizer.register_trainable_weights({"weight": weight})
    >>> optimizer.step({"weight": 2.0})
    >>> print(f"{weight.value:.2f}")
    0.80

    Notes
    -----
    - torch, braintools: the same values (torch with ``dampening=0``).
    - optax: ``chain(add_decayed_weights(weight_decay), sgd(lr, momentum, nesterov))``.
    - torch, optax: moments have the dtype of the weight; here those of half precision are float32.
    """

    def __init__(
        self,
        lr: Scalar | LRScheduler = 1e-3,
        momentum: Hyperparameter = 0.0,
        weight_decay: Hyperparameter = 0.0,
        nesterov: bool = False,
        grad_clip_norm: Hyperparameter | None = None,
        grad_clip_value: Hyperparameter | None = None,
        *,
        clip_norm: Hyperparameter | None = None,
        groups: Patterns | None = None,
        accumulate_steps: int = 1,
        skip_nonfinite: bool = False,
        auto_step: bool = False,
        log_grad_norm: bool = False,
    ) -> None:
        values = {
            "momentum": checked("momentum", momentum),
            "weight_decay": checked("weight_decay", weight_decay),
            "nesterov": checked("nesterov", nesterov),
        }
        self.momentum, self.nesterov = values["momentum"], values["nesterov"]
        super().__init__(
            Recipe(sgd, values),
            lr,
            None,
            grad_clip_norm,
            grad_clip_value,
            clip_norm=clip_norm,
            groups=groups,
            accumulate_steps=accumulate_steps,
            skip_nonfinite=skip_nonfinite,
            auto_step=auto_step,
            log_grad_norm=log_grad_norm,
        )


class Adam(OptaxOptimizer):
    """Adam. The weight decay goes through the moments (coupled); AdamW decouples it.

    The n-th ``step(grads)``, with the clipped gradient g, does for each weight w::

        g = g + weight_decay * w
        m = beta1 * m + (1 - beta1) * g             m, v = 0, 0 at first
        v = beta2 * v + (1 - beta2) * g ** 2
        s = v / (1 - beta2 ** n)                    with amsgrad the largest s so far
        w = w - lr * m / (1 - beta1 ** n) / (sqrt(s) + eps)

    Parameters
    ----------
    lr : float or LRScheduler, default 1e-3
        Learning rate, >= 0, or the scheduler that gives it.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two moments, in [0, 1). Any number may be a scheduler, too.
    beta1, beta2 : float, optional
        Other names for the entries of `betas`.
    eps : float, default 1e-8
        Added to the denominator, >= 0.
    weight_decay : float, default 0.0
        Share of the weight that is added to the gradient, >= 0.
    amsgrad : bool, default False
        Never let the second moment fall.
    grad_clip_norm, grad_clip_value, clip_norm, groups : optional
        See :class:`OptaxOptimizer`.
    accumulate_steps : int, default 1
        See :class:`OptaxOptimizer`.
    skip_nonfinite, auto_step, log_grad_norm : bool, default False and False and False
        See :class:`OptaxOptimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax
    >>> weight = brainstate.ParamState(1.0)
    >>> optimizer = lrax.Adam(lr=0.1).register_trainable_weights({"weight": weight})
    >>> optimizer.step({"weight": 2.0})
    >>> print(f"{weight.value:.2f}")
    0.90

    Notes
    -----
    - torch: the same values for real weights (complex ones are as in optax: v takes
      ``abs(g) ** 2``), but with ``amsgrad=True`` it takes the largest v and then divides by
      ``1 - beta2 ** n``; here it is the largest quotient, as in optax and braintools. As in optax,
      1 - beta2 in float32 makes the first update 7e-6 off for 0.999, and 7e-3 for 0.999999.
    - optax: ``chain(add_decayed_weights(weight_decay), adam(lr, *betas, eps))``.
    - torch, optax: moments have the dtype of the weight; here those of half precision are float32.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization",
    https://arxiv.org/abs/1412.6980
    """

    def __init__(
        self,
        lr: Scalar | LRScheduler = 1e-3,
        betas: Sequence[Hyperparameter] = BETAS,
        beta1: Hyperparameter | None = None,
        beta2: Hyperparameter | None = None,
        eps: Hyperparameter = 1e-8,
        weight_decay: Hyperparameter = 0.0,
        amsgrad: bool = False,
        grad_clip_norm: Hyperparameter | None = None,
        grad_clip_value: Hyperparameter | None = None,
        *,
        clip_norm: Hyperparameter | None = None,
        groups: Patterns | None = None,
        accumulate_steps: int = 1,
        skip_nonfinite: bool = False,
        auto_step: bool = False,
        log_grad_norm: bool = False,
    ) -> None:
        self.betas = betas_of(betas, beta1=beta1, beta2=beta2)
        self.eps, self.amsgrad = checked("eps", eps), checked("amsgrad", amsgrad)
        values = {
            **dict(zip(("beta1", "beta2"), self.betas, strict=True)),
            "eps": self.eps,
            "weight_decay": checked("weight_decay", weight_decay),
            "amsgrad": self.amsgrad,
        }
        super().__init__(
            Recipe(adam, values),
            lr,
            None,
            grad_clip_norm,
            grad_clip_value,
            clip_norm=clip_norm,
            groups=groups,
            accumulate_steps=accumulate_steps,
            skip_nonfinite=skip_nonfinite,
            auto_step=auto_step,
            log_grad_norm=log_grad_norm,
        )


class AdamW(OptaxOptimizer):
    """Adam with decoupled weight decay, which only the learning rate multiplies.

    The n-th ``step(grads)``, with the clipped gradient g, does for each weight w::

        m = beta1 * m + (1 - beta1) * g             m, v = 0, 0 at first
        v = beta2 * v + (1 - beta2) * g ** 2
        u = m / (1 - beta1 ** n) / (sqrt(v / (1 - beta2 ** n)) + eps)
        w = w - lr(t) * (u + weight_decay(t) * w)               t: the epoch of `lr`

    Parameters
    ----------
    lr : float or LRScheduler, default 1e-3
        Learning rate, >= 0, or the scheduler that gives it.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two moments, in [0, 1). Any number may be a scheduler, too.
    eps : float, default 1e-8
        Added to the denominator, >= 0.
    weight_decay : float, default 0.01
        Share of the weight that is subtracted, times the learning rate, >= 0.
    grad_clip_norm, grad_clip_value, clip_norm, groups : optional
        See :class:`OptaxOptimizer`.
    accumulate_steps : int, default 1
        See :class:`OptaxOptimizer`.
    skip_nonfinite, auto_step, log_grad_norm : bool, default False and False and False
        See :class:`OptaxOptimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import brainstate, lrax
    >>> weight = brainstate.ParamState(1.0)
    >>> optimizer = lrax.AdamW(lr=0.1, weight_decay=0.5)
    >>> optimizer = optimizer.register_trainable_weights({"weight": weight})
    >>> optimizer.step({"weight": 2.0})
    >>> print(f"{weight.value:.2f}")
    0.85

    Notes
    -----
    - torch, braintools: the same values for real weights (complex ones are as in optax), and the
      same default decay; torch also has amsgrad. As in optax, 1 - beta2 in float32 makes the first
      update 7e-6 off torch's for 0.999, and 7e-3 for 0.999999.
    - optax: ``adamw(lr, *betas, eps, weight_decay=weight_decay)``, whose default decay is 1e-4.
    - torch, optax: moments have the dtype of the weight; here those of half precision are float32.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization",
    https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        lr: Scalar | LRScheduler = 1e-3,
        betas: Sequence[Hyperparameter] = BETAS,
        eps: Hyperparameter = 1e-8,
        weight_decay: Hyperparameter = 0.01,
        grad_clip_norm: Hyperparameter | None = None,
        grad_clip_value: Hyperparameter | None = None,
        *,
        clip_norm: Hyperparameter | None = None,
        groups: Patterns | None = None,
        accumulate_steps: int = 1,
        skip_nonfinite: bool = False,
        auto_step: bool = False,
        log_grad_norm: bool = False,
    ) -> None:
        self.betas, self.eps = betas_of(betas), checked("eps", eps)
        values = {
            **dict(zip(("beta1", "beta2"), self.betas, strict=True)),
            "eps": self.eps,
            "weight_decay": checked("weight_decay", weight_decay),
        }
        super().__init__(
            Recipe(adamw, values),
            lr,
            None,
            grad_clip_norm,
            grad_clip_value,
            clip_norm=clip_norm,
            groups=groups,
            accumulate_steps=accumulate_steps,
            skip_nonfinite=skip_nonfinite,
            auto_step=auto_step,
            log_grad_norm=log_grad_norm,
        )
