"""A function of the epoch, multiplied up."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .. import _checks
from .._transfers import fetched
from .._types import Function, RatesLike, Remembered, Value
from ..formulas import host
from ..formulas.arithmetic import Arithmetic, wide
from ..formulas.formula import Formula, replaced
from ..formulas.traced import Traced
from .remembering import ZERO, Remembering, counted, split
from .scheduler import LRScheduler

_HIDDEN = {"learned": True}
_MOST_AT_ONCE = 1_000_000


@dataclasses.dataclass(frozen=True)
class _Product(Remembering):
    """The product up to some epoch is remembered, and that up to another one is worked out from it.

    So it is right at whatever epoch the clock shows, and in a step takes one factor.
    """

    lr_lambda: Function | tuple[Function, ...]
    """One for all groups, or one for each."""

    group: int = dataclasses.field(default=0, metadata=_HIDDEN)
    products: Value = dataclasses.field(default=(), metadata=_HIDDEN)
    """Of all groups: numbers, or an array as it is in the memory."""

    until: Value = dataclasses.field(default=0, metadata=_HIDDEN)

    needs_metric = False
    why = "each step() multiplies it by the next factor"
    unit = 2.0**-64  # as float32 is for learning rates, so that is for products

    @property
    def _functions(self) -> tuple[Function, ...]:
        return self.lr_lambda if isinstance(self.lr_lambda, tuple) else (self.lr_lambda,)

    def raw(self, t: Value, base: Value, x: Arithmetic) -> Value:
        products = self.products
        if (t == self.until) is True and len(products) > 0:  # as after a step, on the host
            return base * products[self.group]
        if isinstance(products, tuple):
            product = products[self.group] if products else 1.0
        else:
            product = self.exact(products[..., self.group, :])
        function = self._functions[self.group]
        return base * _continued(x, function, x.floor(t), product, self.until)

    def with_learned(self, values: Iterator[Value]) -> Formula:
        products, until = next(values)
        return replaced(self, products=products, until=until)

    def learned(self, memory: Remembered) -> Value:
        """The products, and up to which epoch."""
        parts, until = memory["product"], memory["epoch"]
        if type(parts) is tuple:
            return parts, until
        if not _checks.is_known(parts) or parts.ndim > 2:  # traced, or of many trainings
            return parts, until
        return self._products(fetched(parts)), int(fetched(until))

    def _products(self, parts: np.ndarray) -> tuple[float, ...]:
        """Those of all groups, on the host."""
        return tuple([sum(row) * self.unit for row in parts.tolist()])

    def memory(self) -> Remembered:
        one = split(1.0, self.unit)
        return {"product": np.stack([one] * len(self._functions)), "epoch": np.int32(0)}

    def observe(self, memory: Remembered, metric: None, begun: Value, epoch: Value) -> Remembered:
        """The memory up to another epoch, if it learns."""
        parts, until = memory["product"], memory["epoch"]
        if not any(map(_checks.is_traced, (begun, epoch, parts, until))) and parts.ndim == 2:
            return self.observe_on_host(memory, metric, int(epoch)) if begun else memory
        with wide():
            x = Traced(True)
            last = jnp.where(begun, jnp.maximum(jnp.asarray(epoch, x.dtype), 0), until)
            products = self.exact(parts)
            new = [
                _continued(x, function, last, products[..., i], jnp.asarray(until, x.dtype))
                for i, function in enumerate(self._functions)
            ]
            product = split(jnp.stack(new, axis=-1), self.unit).astype(parts.dtype)
            return {"product": product, "epoch": last.astype(until.dtype)}

    def numbers(self, memory: Remembered) -> Remembered:
        epoch = counted(memory["epoch"])
        return {"product": self._products(fetched(memory["product"])), "epoch": epoch}

    def observed(self, numbers: Remembered, metric: None, epoch: int) -> Remembered:
        until, new = numbers["epoch"], []
        for function, product in zip(self._functions, numbers["product"]):  # noqa: B905 (it takes as long as the rest)
            new.append(_multiplied(function, epoch, product, until))
        return {"product": tuple(new), "epoch": epoch}

    def kept(self, memory: Remembered, old: Remembered, changed: Remembered) -> Remembered:
        rows, exact = [], []
        for value in changed["product"]:
            row, number = self._split(value)
            rows.append(row)
            exact.append(number)
        changed["product"] = tuple(exact)
        product = rows[0].reshape(1, 3) if len(rows) == 1 else np.stack(rows)
        return {"product": product, "epoch": ZERO + changed["epoch"]}


def _continued(
    x: Arithmetic, function: Function, last: Value, product: Value, until: Value
) -> Value:
    """The product of a function up to epoch `last`, from that up to another epoch."""
    if any(isinstance(value, jax.Array) for value in (last, product, until)):
        return _looped(x, function, last, product, until)
    if isinstance(last, np.ndarray) and last.ndim:
        return _of_each(function, last.astype(np.int64), product, until)
    return _multiplied(function, last, product, until)


def _multiplied(function: Function, last: Value, product: Value, until: Value) -> Value:
    """The same for one epoch on the host."""
    if last == until + 1:  # as in a step
        return product * host.call(function, last)
    if until > last:
        until, product = 0, 1.0
    if last - until > _MOST_AT_ONCE:
        raise ValueError(
            f"last_epoch must be at most {_MOST_AT_ONCE} after {until}, up to which the product is known, since MultiplicativeLR "
            f"multiplies all factors between them, got {last}. Use LambdaLR, with the product as a function of the epoch."
        )
    for epoch in range(until + 1, last + 1):
        product *= host.call(function, epoch)
    return product


def _of_each(function: Function, epochs: np.ndarray, product: float, until: int) -> np.ndarray:
    """The same for many epochs on the host."""
    found = {}
    for epoch in np.unique(epochs).tolist():
        found[epoch] = product = _multiplied(function, epoch, product, until)
        until = epoch
    return np.vectorize(found.__getitem__, otypes=[np.float64])(epochs)


def _looped(x: Arithmetic, function: Function, last: Value, product: Value, until: Value) -> Value:
    """The same for tracers. Where nothing is left to do, no factor is used."""
    past = until > last
    last, product, until = jnp.broadcast_arrays(
        last, jnp.where(past, 1.0, product), jnp.where(past, 0.0, until)
    )

    def on(found: tuple[Value, Value]) -> tuple[Value, Value]:
        until, product = found
        left = until < last
        factor = x.call(function, jnp.where(left, until + 1, jnp.maximum(last, 1)))
        return jnp.where(left, until + 1, until), jnp.where(left, product * factor, product)

    return jax.lax.while_loop(lambda found: jnp.any(found[0] < last), on, (until, product))[1]


class MultiplicativeLR(LRScheduler):
    """Multiply the learning rate by a function of the epoch, again in every epoch.

    For factors that are known one at a time. If their product is, it is a LambdaLR.

    At epoch t, which is after t calls of ``step()``::

        lr(t) = base_lr                                                         t = 0
                base_lr * lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(t)      t >= 1

    The product is remembered, in float64, and saved: each step, and each after a checkpoint was
    loaded, calls the function once. At any other epoch, by ``step(epoch)``, `last_epoch` or in a
    cycle of its own, all the factors up to it are multiplied. In a SequentialLR the first factor is
    ``lr_lambda(1)``, in the epoch after it has taken over. There is no learning rate at a given
    epoch: ``scheduler(epoch)`` raises.

    NaN or a negative product is an error; in a compiled program NaN is published as it is, and a
    negative number is 0. A product is 0 below 1e-50 and infinite from 1e19 on. The function is
    called, and compiled, as that of LambdaLR is.

    Parameters
    ----------
    base_lr : float or list of float, default 0.001
        First learning rate, >= 0; a list has one entry for each parameter group.
    lr_lambda : callable or list of callable
        Function from the epoch to a factor; a list has one for each parameter group. Required.
    last_epoch : int, default 0
        Epoch to start at, >= 0; -1 means 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described above; the message names it.

    Examples
    --------
    >>> import lrax
    >>> scheduler = lrax.MultiplicativeLR(base_lr=1.0, lr_lambda=lambda epoch: 1 / (1 + epoch))
    >>> for _ in range(3):
    ...     scheduler.step()
    ...     print(scheduler.current_lrs.value)
    [0.5]
    [0.16666667]
    [0.04166667]

    Notes
    -----
    - torch: the same values. It multiplies what it finds, so that it goes on from the product that
      an optimizer has, whatever `last_epoch`, and lets a negative one or NaN through.
    - braintools and optax have no such class.
    """

    def __init__(
        self,
        base_lr: RatesLike = 1e-3,
        lr_lambda: Function | Sequence[Function] | None = None,
        last_epoch: int = 0,
    ) -> None:
        functions = _checks.per_group(
            "lr_lambda", lr_lambda, _checks.function, of="a function of the epoch"
        )
        if len(functions) == 1:
            formulas = [_Product(functions[0])]
        else:
            formulas = [_Product(functions, group) for group in range(len(functions))]
        super().__init__(base_lr, last_epoch, formula=formulas)
