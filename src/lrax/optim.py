"""Everything in lrax under the name it has in braintools: ``lrax.optim.StepLR is lrax.StepLR``."""

import typing as _typing

from . import _names
from .finder import find_lr as find_lr
from .formulas import Formula as Formula
from .interop.hugging_face import get_scheduler as get_scheduler
from .jit import jit as jit
from .optimizers import *  # noqa: F403
from .pictures.pictured import plot as plot
from .preview.checkup import check as check
from .schedulers.catalogue import *  # noqa: F403

if not _typing.TYPE_CHECKING:  # which knows all names

    def __getattr__(name: str) -> _typing.Any:
        raise _names.unknown(__name__, name, globals())
