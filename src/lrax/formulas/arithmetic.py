"""The arithmetic that formulas run in.

A formula is written once, against the small vocabulary of :class:`Arithmetic`, and runs in three
implementations of it: plain Python numbers (one epoch on the host, under a microsecond), NumPy
(many epochs on the host) and jax (anything traced). All three compute in float64 and round to
float32 once, in the `evaluate` functions, which is why they give the same bits.

Traced arithmetic needs care that Python arithmetic does not. XLA rewrites ``t / T`` with a constant
``T`` to ``t * (1 / T)`` and contracts ``a - b * c`` to one fused operation, so ``1 - t / T`` is not
zero at ``t == T``. Formulas therefore subtract whole epochs first (exact in float64 up to
2**53), divide afterwards, and choose end values with a comparison instead of trusting arithmetic.
"""

import bisect
import contextlib
import math
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import host_number, is_traced
from .._transfers import meant
from .._types import Array, Function, Number, Value

SMALLEST = 2.0**-126
"""Smallest normal float32. XLA flushes anything below it to zero, so every mode does."""

LARGEST = float(np.finfo(np.float32).max)

_WITHOUT_FLOAT64 = ("metal",)


def wide() -> contextlib.AbstractContextManager[Any]:
    """Float64 for the code inside, where the device has it, whatever options of jax a user has set.

    Formulas are written for jax's ordinary promotion.
    """
    config: Any = jax.config
    contexts = contextlib.ExitStack()
    contexts.enter_context(jax.enable_x64(jax.default_backend().lower() not in _WITHOUT_FLOAT64))
    if config.jax_numpy_dtype_promotion != "standard":
        contexts.enter_context(jax.numpy_dtype_promotion("standard"))
    if config.jax_numpy_rank_promotion != "allow":
        contexts.enter_context(jax.numpy_rank_promotion("allow"))
    contexts.enter_context(meant())
    return contexts


class Arithmetic(Protocol):
    """The vocabulary of formulas: what :meth:`lrax.Formula.raw` may use besides ``+ - * /`` and comparisons.

    It is handed to ``raw`` as `x`, in one of three implementations: for Python numbers, for NumPy
    arrays and for jax tracers. All three compute in float64 and agree to a few units in its last
    place, so that the learning rates, rounded to float32, are the same. Every branch is computed,
    also where it is not chosen, and an argument has to be in the function's domain there, too:
    ``x.sqrt(x.maximum(t - 5, 0))``.

    Conditions are combined with ``&`` and ``|``. Whole epochs are exact up to 2**53: subtract them
    first and divide afterwards, since a compiled ``1 - t / T`` need not be 0 at ``t == T``.

    Examples
    --------
    >>> import dataclasses, lrax
    >>> @dataclasses.dataclass(frozen=True)
    ... class Bounce(lrax.Formula):
    ...     period: int
    ...
    ...     def raw(self, t, base, x):
    ...         position = t - x.floor_divide(t, self.period) * self.period
    ...         return base * (1 + x.cos(2 * 3.141592653589793 * position / self.period)) / 2
    >>> scheduler = lrax.LRScheduler(0.1, formula=Bounce(period=4))
    >>> print([f"{scheduler(t):.2f}" for t in range(5)])
    ['0.10', '0.05', '0.00', '0.05', '0.10']
    """

    def where(self, condition: Value, a: Value, b: Value, /) -> Value:
        """`a` where the condition holds, else `b`."""
        ...

    def minimum(self, a: Value, b: Value, /) -> Value:
        """The smaller of two numbers."""
        ...

    def maximum(self, a: Value, b: Value, /) -> Value:
        """The larger of two numbers."""
        ...

    def floor(self, a: Value, /) -> Value:
        """The largest whole number that is not above `a`."""
        ...

    def sqrt(self, a: Value, /) -> Value:
        """Square root of a number >= 0. Its slope at 0 is infinite, which a gradient sees."""
        ...

    def exp(self, a: Value, /) -> Value:
        """``e ** a``. It stops growing at a = 709, before float64 ends."""
        ...

    def log(self, a: Value, /) -> Value:
        """Natural logarithm of a number > 0."""
        ...

    def sin(self, a: Value, /) -> Value:
        """Sine of an angle in radians."""
        ...

    def cos(self, a: Value, /) -> Value:
        """Cosine of an angle in radians. ``1 + cos`` cancels near its zero: see :func:`half_cosine`."""
        ...

    def quarter_sine(self, fraction: Value, /) -> Value:
        """``sin(pi / 2 * fraction)`` for a fraction from 0 to 1."""
        ...

    def power(self, a: Value, b: Value, /) -> Value:
        """``a ** b`` for a > 0, or a = 0 and b > 0."""
        ...

    def floor_divide(self, t: Value, size: Value, /) -> Value:
        """``t // size``, exact for whole numbers: how many periods are complete."""
        ...

    def count(self, starts: Sequence[Number], t: Value, /) -> Value:
        """How many of the non-decreasing `starts` are at or before `t`."""
        ...

    def steps(self, starts: Sequence[Number], t: Value, values: Sequence[Number], /) -> Value:
        """``values[count(starts, t)]``."""
        ...

    def choose(
        self, starts: Sequence[Number], t: Value, branch: Callable[[int], Value], /
    ) -> Value:
        """``branch(count(starts, t))``; all branches must be finite everywhere."""
        ...

    def call(self, function: Function, t: Value, /) -> Value:
        """A user's function of the epoch, called with one number."""
        ...


_LARGEST_EXPONENT = 709.0


class _Host:
    """Python numbers: whole epochs are exact integers of any size."""

    where = staticmethod(lambda condition, a, b: a if condition else b)
    minimum = staticmethod(min)
    maximum = staticmethod(max)
    floor = staticmethod(math.floor)
    sqrt = staticmethod(math.sqrt)
    exp = staticmethod(lambda a: math.exp(min(a, _LARGEST_EXPONENT)))
    log = staticmethod(math.log)
    sin = staticmethod(math.sin)
    cos = staticmethod(math.cos)
    quarter_sine = staticmethod(lambda fraction: math.sin(fraction * (math.pi / 2)))
    power = staticmethod(math.pow)
    floor_divide = staticmethod(operator.floordiv)
    count = staticmethod(bisect.bisect_right)
    steps = staticmethod(lambda starts, t, values: values[bisect.bisect_right(starts, t)])
    choose = staticmethod(lambda starts, t, branch: branch(bisect.bisect_right(starts, t)))

    @staticmethod
    def call(function: Function, t: Value) -> float:
        value = function(t)
        if type(value) is float:  # as mostly
            return value
        number = value
        if type(value) not in (int, bool):
            value = _in_float64(function, t, value)
            is_bool = getattr(value, "dtype", None) == np.bool_ and np.ndim(value) == 0
            number = bool(value) if is_bool else host_number(value)
        with contextlib.suppress(OverflowError):
            if isinstance(number, numbers.Real) and not isinstance(number, np.generic):
                return float(number)
        raise TypeError(
            f"A function of the epoch must return one number, got {value!r:.80} at epoch {t}. "
            "A number that is traced goes beside it: LambdaLR(base_lr=number, lr_lambda=function)."
        )


def _in_float64(function: Function, t: Value, value: Any) -> Any:
    """``function(t)``, which is `value`, as a program computes it: no constant of NumPy or jax makes it narrow.

    A function that takes whole numbers only, for a table, has to have one.
    """
    if not isinstance(value, jax.Array):
        with np.errstate(over="ignore"), contextlib.suppress(Exception):
            return function(np.float64(t))
        return value
    with wide(), jax.ensure_compile_time_eval():
        with contextlib.suppress(Exception):
            return function(np.float64(t))
        return function(t)


class Vector:
    """NumPy arrays of epochs."""

    where = staticmethod(np.where)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)
    floor = staticmethod(np.floor)
    sqrt = staticmethod(np.sqrt)
    exp = staticmethod(lambda a: np.exp(np.minimum(a, _LARGEST_EXPONENT)))
    log = staticmethod(np.log)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    quarter_sine = staticmethod(lambda fraction: np.sin(fraction * (math.pi / 2)))
    power = staticmethod(np.power)
    floor_divide = staticmethod(np.floor_divide)
    count = staticmethod(
        lambda starts, t: np.searchsorted(np.asarray(starts, np.float64), t, side="right")
    )

    def __init__(self, integer: bool) -> None:
        self._integer = integer

    def array(self, values: Value) -> Array:
        return np.asarray(values, np.float64)

    def steps(self, starts: Sequence[Number], t: Value, values: Sequence[Number]) -> Value:
        return self.array(values)[self.count(starts, t)]

    def choose(self, starts: Sequence[Number], t: Value, branch: Callable[[int], Value]) -> Value:
        return _chain(np.where, starts, t, branch)

    def call(self, function: Function, t: Value) -> Value:
        number = int if self._integer else float
        return np.vectorize(lambda v: HOST.call(function, number(v)), otypes=[np.float64])(t)


def _folding(numpy_function: Function, jax_function: Function) -> Any:
    """The jax function, where there is anything to compile; what is known is worked out while tracing."""

    def function(*args: Any) -> Any:
        known = not any(isinstance(arg, jax.Array) for arg in args)
        return numpy_function(*args) if known else jax_function(*args)

    return staticmethod(function)


_QUARTER_SINE = (
    5.87297574479995e-12,
    -6.684416831856085e-10,
    5.6921364280986254e-08,
    -3.5988430204672576e-06,
    0.0001604411847130916,
    -0.004681754135304255,
    0.07969262624616565,
    -0.6459640975062462,
    1.5707963267948966,
)
"""``sin(pi / 2 * sqrt(u)) / sqrt(u)``: mpmath.chebyfit for u in [0, 1], 3e-19 off."""


def _on_explicit_mesh(*values: Value) -> bool:
    """Whether one of them lives where every operation must say how its result is sharded."""
    meshes = [jax.typeof(v).sharding.mesh for v in values if isinstance(v, jax.Array)]
    return any(jax.sharding.AxisType.Explicit in mesh.axis_types for mesh in meshes)


class _ComplexRate(TypeError):
    """jax would leave the imaginary part out."""


def _real(value: Value) -> Value:
    if jnp.iscomplexobj(value):
        raise _ComplexRate(f"A function of the epoch must return a real number, got {value!r:.80}.")
    return value


class Traced:
    """jax arrays and tracers, inside ``wide()``; what is not traced stays a number or a NumPy array."""

    minimum = _folding(np.minimum, jnp.minimum)
    maximum = _folding(np.maximum, jnp.maximum)
    floor = _folding(np.floor, jnp.floor)
    sqrt = _folding(np.sqrt, jnp.sqrt)
    log = _folding(np.log, jnp.log)
    sin = _folding(np.sin, jnp.sin)
    cos = _folding(np.cos, jnp.cos)
    power = _folding(np.power, jnp.power)

    def __init__(self, integer: bool) -> None:
        self._integer = integer
        self.dtype = jax.dtypes.canonicalize_dtype(np.float64)

    def exp(self, a: Value) -> Value:
        a = self.minimum(a, _LARGEST_EXPONENT)
        return jnp.exp(a) if isinstance(a, jax.Array) else np.exp(a)

    def array(self, values: Value) -> Array:
        if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(values)):
            return np.asarray(values, self.dtype)
        if isinstance(values, tuple):
            return jnp.stack([jnp.asarray(value, self.dtype) for value in values])
        return jnp.asarray(values, self.dtype)

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        if not isinstance(condition, jax.Array):
            if np.all(condition):
                return a
            if not np.any(condition):
                return b
        if _on_explicit_mesh(condition, a, b):
            return jnp.where(condition, a, b)
        # Not jnp.where, which is a function of its own in the program and takes as long to trace.
        shape = jax.lax.broadcast_shapes(*map(np.shape, (condition, a, b)))
        dtype = jnp.result_type(a, b)
        parts = ((condition, np.bool_), (a, dtype), (b, dtype))
        return jax.lax.select(*(jnp.broadcast_to(jnp.asarray(v, d), shape) for v, d in parts))

    def number(self, value: Number) -> Number:
        """A hyper-parameter as this arithmetic takes it."""
        if isinstance(value, jax.Array):
            return self.array(value)
        # Large ones as floats: the sum of two of them may not fit into int32.
        return float(value) if type(value) is int and value >= 2**24 else value

    def floor_divide(self, t: Value, size: Value) -> Value:
        # t * (1 / size), which is what XLA makes of the quotient, can be just below a whole number.
        quotient = jnp.floor(t / size)
        rest = t - quotient * size
        return self.where(rest < 0, quotient - 1, self.where(rest < size, quotient, quotient + 1))

    def count(self, starts: Sequence[Number], t: Value) -> Value:
        table = self.array(tuple(starts))
        few = isinstance(t.size, int) and t.size <= 64  # in an export it may be a symbol
        if not few and len(starts) > 64 and not _on_explicit_mesh(t):
            return jnp.searchsorted(table, t, side="right", method="scan")
        return jnp.sum(table <= t[..., None], axis=-1)  # faster, unless both are many

    def steps(self, starts: Sequence[Number], t: Value, values: Sequence[Number]) -> Value:
        if len(starts) <= 16:  # the shortest program, and the fastest
            return self.choose(starts, t, values.__getitem__)
        table, index = self.array(tuple(values)), self.count(starts, t)
        if not (is_traced(table) or _on_explicit_mesh(index)):
            get = jnp.asarray(table).at[index].get
            return get(mode="promise_in_bounds", wrap_negative_indices=False)
        # The gradient of indexing is a scatter that jax builds outside of `wide()`, in float32.
        return jnp.sum(self.where(index[..., None] == np.arange(len(table)), table, 0.0), axis=-1)

    def quarter_sine(self, fraction: Value) -> Value:
        if np.size(fraction) == 1:
            return jnp.sin(fraction * (math.pi / 2))
        # That is the shorter program, but takes five times as long. This one is 3 * 2**-53 off.
        fraction = self.minimum(self.maximum(fraction, 0.0), 1.0)
        square, value = fraction * fraction, _QUARTER_SINE[0]
        for coefficient in _QUARTER_SINE[1:]:
            value = value * square + coefficient
        return fraction * value

    def choose(self, starts: Sequence[Number], t: Value, branch: Callable[[int], Value]) -> Value:
        return _chain(self.where, starts, t, branch)

    def call(self, function: Function, t: Value) -> Value:
        # As a float: 10 ** -epoch and epoch**5 are what they are in Python, and not what integers of
        # 64 bits make of them. One at a time: a function of a number never sees an array.
        of_all = lambda one: jnp.asarray(self.array(_real(function(one))))  # noqa: E731
        for _ in t.shape or (1,):
            of_all = jax.vmap(of_all)
        try:
            values = of_all(jnp.atleast_1d(t))
        except _ComplexRate:
            raise
        except Exception:  # a dict, `if`, math.exp; it has run on the host, so it is the tracer
            return self._call_on_host(function, t)
        return values.reshape(t.shape)

    def _call_on_host(self, function: Function, t: Value) -> Value:
        """Plain Python (`if`, math.exp, a dict), run where the eager path runs it.

        float64 crosses the border as pairs of int32: jax rounds what a callback takes and returns.
        """
        if not all(isinstance(size, int) for size in t.shape):
            raise TypeError(
                f"{function!r:.80} cannot be exported: it has to be called on the host. "
                "Write it with jnp functions, and jnp.where in place of `if`."
            )
        number = int if self._integer else float
        evaluate = np.vectorize(lambda v: HOST.call(function, number(v)), otypes=[self.dtype.type])

        def on_host(bits: Any) -> np.ndarray:
            values = evaluate(np.array(bits, np.int32).view(self.dtype)[..., 0])
            return values[..., None].view(np.int32)

        def call(bits: Value) -> Value:
            result = jax.ShapeDtypeStruct(bits.shape, np.int32)
            return jax.pure_callback(on_host, result, bits, vmap_method="expand_dims")

        bits = jax.lax.bitcast_convert_type(t, np.int32).reshape(*t.shape, -1)
        if _on_explicit_mesh(bits):  # where one device has called for all of them
            spread = lambda b: jax.sharding.reshard(call(b), jax.typeof(b).sharding)  # noqa: E731
            bits = jax.jit(spread)(bits)
        else:
            bits = call(bits)
        words = bits if self.dtype == np.float64 else bits[..., 0]
        return jax.lax.bitcast_convert_type(words, self.dtype)


def _chain(
    where: Function, starts: Sequence[Number], t: Value, branch: Callable[[int], Value]
) -> Value:
    value = branch(0)
    for i, start in enumerate(starts, start=1):
        value = where(t < start, value, branch(i))
    return value


HOST = _Host()
