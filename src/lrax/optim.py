"""Everything in lrax under the name it has in braintools: ``lrax.optim.StepLR is lrax.StepLR``."""

from lrax import *  # noqa: F403
