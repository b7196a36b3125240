"""lrax in programs that are written for other libraries."""

from .braintools import to_braintools as to_braintools
from .hugging_face import get_scheduler as get_scheduler
from .optax import from_optax as from_optax
from .torch import from_torch as from_torch
