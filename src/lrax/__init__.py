"""Learning-rate schedules for JAX: exact, jit-safe, with the names you know.

A scheduler is called with an epoch, is stepped, or is given to an optimizer::

    scheduler = lrax.WSDSchedule(1e-3, warmup_steps=100, total_steps=10_000)
    optimizer = lrax.AdamW(lr=scheduler, weight_decay=0.05)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))

What there is::

    constant      ConstantLR  LinearLR  WarmupScheduler
    decay         StepLR  MultiStepLR  ExponentialLR  ExponentialDecayLR  PolynomialLR
                  InverseSqrtLR  TokenPowerLR
    cosine        CosineAnnealingLR  CosineAnnealingWarmRestarts  WarmupCosineSchedule
    plateaus      WSDSchedule
    cycles        CyclicLR  OneCycleLR
    given values  PiecewiseConstantSchedule  PiecewiseSchedule  LambdaLR  MultiplicativeLR
    by metrics    ReduceLROnPlateau  GreedyLR
    composed      SequentialLR  ChainedScheduler
    a + b, 2 * a  SumLR  ProductLR  MinimumLR  MaximumLR  minimum  maximum
    a.delay(n)    DelayLR  StretchLR  RepeatLR  WithWarmupLR  WithCooldownLR
    your own      LRScheduler  Formula  formulas
    by name       get_scheduler  from_config
    optimizers    SGD  Adam  AdamW  OptaxOptimizer  AveragedWeights  layerwise_lr_decay
    training      jit  find_lr
    looking       plot  check, and the command lrax
    others        interop: from_torch, from_optax, to_braintools

The classes have the names and arguments of ``braintools.optim``; ``lrax.optim`` has them, too.
"""

import typing as _typing

from . import _names
from . import formulas as formulas
from . import interop as interop
from . import optim as optim
from .optim import *  # noqa: F403

__version__ = "0.1.0"
__all__: list[str] = []
__all__ += optim.__all__

if not _typing.TYPE_CHECKING:  # which knows all names

    def __getattr__(name: str) -> _typing.Any:
        raise _names.unknown(__name__, name, __all__)
