"""Names for what flows through lrax, which stand in signatures."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NewType, TypeAlias

import jax
import numpy as np

Array: TypeAlias = np.ndarray | jax.Array
Scalar: TypeAlias = float | np.generic | np.ndarray | jax.Array
"""One real number: of Python, NumPy or jax, known or traced."""

RatesLike: TypeAlias = Scalar | Sequence[Scalar]
"""A number for all parameter groups, or one for each."""

Epochs: TypeAlias = float | np.generic | np.ndarray | jax.Array | Sequence[float]
"""A number or an array of epochs, whole or fractional."""

Number: TypeAlias = Any
"""A checked hyper-parameter: a Python number, or a scalar tracer."""

Value: TypeAlias = Any
"""What a formula computes with: a Python number, a NumPy array or a jax array, in float64."""

Rates: TypeAlias = Any
"""Learning rates: float32, NumPy on the host and jax in a program, one for each group along the last axis."""

PyTree: TypeAlias = Any
"""A tree of arrays, numbers or States, as jax knows it."""

Plain: TypeAlias = Any
"""Numbers in nested dicts with str keys."""

StateDict: TypeAlias = dict[str, Any]
"""What ``state_dict()`` returns: nested dicts with str keys, numbers and arrays."""

Unchecked: TypeAlias = Any
"""What a user passed, before it was looked at."""

Leaf: TypeAlias = Any
"""An array or a number in a tree: of NumPy or jax, known or traced."""

Function: TypeAlias = Callable[..., Any]
"""Any function of a user's."""

Remembered: TypeAlias = dict[str, Any]
"""What a formula has learned from step to step: arrays by name."""

TorchScheduler: TypeAlias = Any
"""A live scheduler of torch."""

BraintoolsScheduler: TypeAlias = Any
"""A scheduler of braintools."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
else:  # matplotlib may be missing, and a signature has the name, and not a line of alternatives
    Axes = NewType("Axes", Any)
    Scalar = NewType("Scalar", Scalar)
    RatesLike = NewType("RatesLike", RatesLike)
    Epochs = NewType("Epochs", Epochs)
    Number = NewType("Number", Number)
    Value = NewType("Value", Value)
    Rates = NewType("Rates", Rates)
    PyTree = NewType("PyTree", PyTree)
    Plain = NewType("Plain", Plain)
    StateDict = NewType("StateDict", StateDict)
    Unchecked = NewType("Unchecked", Unchecked)
    Leaf = NewType("Leaf", Leaf)
    Function = NewType("Function", Function)
    Remembered = NewType("Remembered", Remembered)
    TorchScheduler = NewType("TorchScheduler", TorchScheduler)
    BraintoolsScheduler = NewType("BraintoolsScheduler", BraintoolsScheduler)
