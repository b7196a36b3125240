"""Learning-rate schedulers for JAX: exact, jit-safe, with the names you know."""

from . import formulas as formulas
from . import interop as interop
from . import optim as optim
from . import optimizers
from .formulas import Formula
from .jit import jit
from .optimizers import *  # noqa: F403
from .schedulers import catalogue
from .schedulers.catalogue import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Formula", "jit"]
__all__ += catalogue.__all__
__all__ += optimizers.__all__
