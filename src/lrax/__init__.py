"""Learning-rate schedulers for JAX: exact, jit-safe, with the names you know."""

from ._config import from_config as from_config
from .formulas.formula import Formula as Formula
from .jit import jit as jit
from .optimizers._alias import SGD as SGD
from .optimizers._alias import Adam as Adam
from .optimizers._alias import AdamW as AdamW
from .optimizers._base import OptaxOptimizer as OptaxOptimizer
from .schedulers._base import LRScheduler as LRScheduler
from .schedulers.compose import ChainedScheduler as ChainedScheduler
from .schedulers.compose import SequentialLR as SequentialLR
from .schedulers.cosine import CosineAnnealingLR as CosineAnnealingLR
from .schedulers.cosine import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from .schedulers.cyclic import CyclicLR as CyclicLR
from .schedulers.cyclic import OneCycleLR as OneCycleLR
from .schedulers.decay import ConstantLR as ConstantLR
from .schedulers.decay import ExponentialDecayLR as ExponentialDecayLR
from .schedulers.decay import ExponentialLR as ExponentialLR
from .schedulers.decay import LinearLR as LinearLR
from .schedulers.decay import MultiStepLR as MultiStepLR
from .schedulers.decay import PolynomialLR as PolynomialLR
from .schedulers.decay import StepLR as StepLR
from .schedulers.piecewise import LambdaLR as LambdaLR
from .schedulers.piecewise import PiecewiseConstantSchedule as PiecewiseConstantSchedule
from .schedulers.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from .schedulers.warmup import WarmupCosineSchedule as WarmupCosineSchedule
from .schedulers.warmup import WarmupScheduler as WarmupScheduler

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialDecayLR",
    "ExponentialLR",
    "Formula",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "OptaxOptimizer",
    "PiecewiseConstantSchedule",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupCosineSchedule",
    "WarmupScheduler",
    "from_config",
    "jit",
]

from . import optim as optim
