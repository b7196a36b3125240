"""lrax in programs that are written for other libraries."""

from .braintools import to_braintools as to_braintools
