"""Everything in lrax under the name it has in braintools: ``lrax.optim.StepLR is lrax.StepLR``."""

from .formulas import Formula as Formula
from .jit import jit as jit
from .optimizers import *  # noqa: F403
from .schedulers.catalogue import *  # noqa: F403
