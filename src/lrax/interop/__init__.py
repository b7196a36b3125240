"""lrax in programs that are written for other libraries."""

from ._braintools import to_braintools as to_braintools
