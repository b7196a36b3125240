"""The arithmetic of formulas for jax arrays and tracers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from .._types import Array, Function, Number, Value
from . import host
from .arithmetic import LARGEST_EXPONENT
from .vector import chain


def _folding(numpy_function: Function, jax_function: Function) -> Any:
    """The jax function, where there is anything to compile; what is known is worked out while tracing."""

    def function(*args: Any) -> Any:
        known = not any(isinstance(arg, jax.Array) for arg in args)
        return numpy_function(*args) if known else jax_function(*args)

    return staticmethod(function)


_minimum = _folding(np.minimum, jnp.minimum)


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


def _spread(value: Value, dtype: Any, shape: tuple[int, ...]) -> Value:
    if not isinstance(value, jax.Array):
        value = np.asarray(value, dtype)
    elif value.dtype != dtype:  # asking takes as long as the rest
        value = value.astype(dtype)
    return value if value.shape == shape else jnp.broadcast_to(value, shape)


def _looked_up(table: Array, index: Array) -> Array:
    """The entries of a table at places that are there."""
    get = jnp.asarray(table).at[index].get
    return get(mode="promise_in_bounds", wrap_negative_indices=False)


class _ComplexRate(TypeError):
    """jax would leave the imaginary part out."""


def _real(value: Value) -> Value:
    if jnp.iscomplexobj(value):
        raise _ComplexRate(f"A function of the epoch must return a real number, got {value!r:.80}.")
    return value


class Traced:
    """jax arrays and tracers, inside ``wide()``; what is not traced stays a number or a NumPy array."""

    maximum = _folding(np.maximum, jnp.maximum)
    floor = _folding(np.floor, jnp.floor)
    sqrt = _folding(np.sqrt, jnp.sqrt)
    log = _folding(np.log, jnp.log)
    log1p = _folding(np.log1p, jnp.log1p)
    sin = _folding(np.sin, jnp.sin)
    cos = _folding(np.cos, jnp.cos)
    power = _folding(np.power, jnp.power)

    def __init__(self, integer: bool) -> None:
        self._integer = integer
        self.dtype = jax.dtypes.canonicalize_dtype(np.float64)
        self._wide: dict[int, tuple[Any, Array]] = {}
        """What was converted, by its id: one number stays one, wherever it stands."""
        self._counts: dict[tuple[int, int], tuple[Any, Value, Array]] = {}
        self._whole: dict[int, Array] = {}
        """Whole numbers >= 0 of at most 32 bits, by their ids."""

    def epoch(self, t: Array) -> Array:
        """An epoch as formulas take it."""
        whole = self._integer and t.dtype.itemsize <= 4 and self.dtype == np.float64
        t = jnp.maximum(t.astype(self.dtype), 0)
        return self._whole_like(t) if whole else t

    def _is_whole(self, value: Value) -> bool:
        if isinstance(value, (int, float)):
            return 0 <= value < 2**32 and value == int(value)
        return id(value) in self._whole

    def _whole_like(self, result: Value, *values: Value) -> Value:
        """`result`, which is whole if `values` are."""
        if all(map(self._is_whole, values)):
            self._whole[id(result)] = result
        return result

    def minimum(self, a: Value, b: Value) -> Value:
        return self._whole_like(_minimum(a, b), a, b)

    def exp(self, a: Value) -> Value:
        a = self.minimum(a, LARGEST_EXPONENT)
        return jnp.exp(a) if isinstance(a, jax.Array) else np.exp(a)

    def expm1(self, a: Value) -> Value:
        a = self.minimum(a, LARGEST_EXPONENT)
        return jnp.expm1(a) if isinstance(a, jax.Array) else np.expm1(a)

    def array(self, values: Value) -> Array:
        if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(values)):
            return np.asarray(values, self.dtype)
        if isinstance(values, tuple):
            return jnp.stack([jnp.asarray(value, self.dtype) for value in values])
        if id(values) not in self._wide:
            self._wide[id(values)] = values, jnp.asarray(values, self.dtype)
        return self._wide[id(values)][1]

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
        return jax.lax.select(*(_spread(value, kind, shape) for value, kind in parts))

    def number(self, value: Number) -> Number:
        """A hyper-parameter as this arithmetic takes it."""
        if isinstance(value, jax.Array):
            return self.array(value)
        # Large ones as floats: the sum of two of them may not fit into int32.
        return float(value) if type(value) is int and value >= 2**24 else value

    def divide(self, t: Value, size: Value) -> Value:
        if isinstance(size, jax.Array):
            # XLA would multiply all of `t` with the reciprocal of the one number.
            hidden = jax.lax.optimization_barrier(jnp.broadcast_to(size, np.shape(t)))
            return jax.lax.optimization_barrier(t / hidden)
        if not isinstance(t, jax.Array):
            return t / size
        # No constant, as far as XLA can see, which would multiply with its reciprocal; and no quotient,
        # of which another one would be divided by the product.
        known = t < math.inf
        return self.where(known, t / self.where(known, size, 1.0), t)

    def floor_divide(self, t: Value, size: Value) -> Value:
        eps = jnp.finfo(self.dtype).eps
        if self._is_whole(t) and self._is_whole(size):
            # With a reciprocal a bit too large, however the device rounds: it takes nothing whole to the next multiple.
            return self._whole_like(self.floor(t * ((1 + 2 * eps) / size)), t, size)
        # With one a bit too small, at most one too few.
        few = self.floor(t * ((1 - 2 * eps) / size))
        return self.where(t - few * size < size, few, few + 1)

    def rest(self, t: Value, periods: Value, size: Value) -> Value:
        return self._whole_like(t - periods * size, t, periods, size)

    def since(self, t: Value, start: Value) -> Value:
        return self._whole_like(self.maximum(t - start, 0), t, start)

    def count(self, starts: Sequence[Number], t: Value) -> Value:
        key = id(starts), id(t)
        if key not in self._counts:  # a formula may look several values up
            self._counts[key] = starts, t, self._count(starts, t)
        return self._counts[key][-1]

    def _count(self, starts: Sequence[Number], t: Value) -> Value:
        if len(starts) <= 16 or _on_explicit_mesh(t):
            return jnp.sum(self.array(tuple(starts)) <= t[..., None], axis=-1)
        # By halves, in fewer operations than jnp.searchsorted, which puts NaN in its place.
        halvings = len(starts).bit_length()
        missing = 2**halvings - 1 - len(starts)
        table = self.array((*starts, *[starts[-1]] * missing))

        def halve(_: Value, found: tuple[Value, Value]) -> tuple[Value, Value]:
            passed, half = found
            reached = _looked_up(table, passed + half - np.int32(1)) <= t
            return passed + self.where(reached, half, np.int32(0)), half >> 1

        none = jnp.zeros(t.shape, np.int32), jnp.int32(2 ** (halvings - 1))
        # The first half-way out of the loop, which in shard_map has to begin with what differs as `t` does.
        passed, _ = jax.lax.fori_loop(1, halvings, halve, halve(0, none), unroll=True)
        return jnp.minimum(passed, len(starts))

    def steps(self, starts: Sequence[Number], t: Value, values: Sequence[Number]) -> Value:
        if len(starts) <= 16:  # the shortest program, and the fastest
            return self.choose(starts, t, lambda i: self.number(values[i]))
        table, index = self.array(tuple(values)), self.count(starts, t)
        if not (is_traced(table) or _on_explicit_mesh(index)):
            return _looked_up(table, index)
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
        return chain(self.where, starts, t, branch)

    def call(self, function: Function, t: Value) -> Value:
        # As a float: 10 ** -epoch and epoch**5 are what they are in Python, and not what integers of
        # 64 bits make of them. One at a time: a function of a number never sees an array.
        of_all = lambda one: jnp.asarray(_real(function(one)), self.dtype)  # noqa: E731
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
        integer, dtype = self._integer, self.dtype  # the callback outlives the trace
        one = lambda v: host.call(function, host.user_epoch(v, integer))  # noqa: E731
        evaluate = np.vectorize(one, otypes=[dtype.type])

        def on_host(bits: Any) -> np.ndarray:
            values = evaluate(np.array(bits, np.int32).view(dtype)[..., 0])
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
