"""Learning-rate schedulers for JAX: exact, jit-safe, with the names you know."""

import typing as _typing

from . import _names, optimizers
from . import formulas as formulas
from . import interop as interop
from . import optim as optim
from .finder import find_lr
from .formulas import Formula
from .interop.hugging_face import get_scheduler
from .jit import jit
from .optimizers import *  # noqa: F403
from .pictures.pictured import plot
from .preview.checkup import check
from .schedulers import catalogue
from .schedulers.catalogue import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Formula", "check", "find_lr", "get_scheduler", "jit", "plot"]
__all__ += catalogue.__all__
__all__ += optimizers.__all__

if not _typing.TYPE_CHECKING:  # which knows all names

    def __getattr__(name: str) -> _typing.Any:
        raise _names.unknown(__name__, name, __all__)
