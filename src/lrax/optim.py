"""Everything in lrax under the name it has in braintools: ``lrax.optim.StepLR is lrax.StepLR``."""

import typing as _typing

from . import _names
from . import optimizers as _optimizers
from .finder import find_lr
from .formulas import Formula
from .interop.hugging_face import get_scheduler
from .jit import jit
from .optimizers import *  # noqa: F403
from .pictures.pictured import plot
from .preview.checkup import check
from .schedulers import catalogue as _catalogue
from .schedulers.catalogue import *  # noqa: F403

__all__ = ["Formula", "check", "find_lr", "get_scheduler", "jit", "plot"]
__all__ += _catalogue.__all__
__all__ += _optimizers.__all__

if not _typing.TYPE_CHECKING:  # which knows all names

    def __getattr__(name: str) -> _typing.Any:
        raise _names.unknown(__name__, name, __all__)
