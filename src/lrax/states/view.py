"""A number that lives in a State."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np


class View:
    """A number that lives in a State: read it with ``.value`` or as a number, write it with ``.value = x``.

    Copied or pickled it becomes the plain number.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], None] | None = None) -> None:
        self._get, self._put = get, put

    @property
    def value(self) -> Any:
        found = self._get()
        if isinstance(found, np.ndarray):
            # What a reader computed in place would be nobody's learning rate.
            found = found.view()
            found.flags.writeable = False
        return found

    @value.setter
    def value(self, new: Any) -> None:
        if self._put is None:
            raise AttributeError("This value is counted or scheduled, and cannot be set.")
        self._put(new)

    def __repr__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __bool__(self) -> bool:
        return bool(self.value)

    __hash__ = None  # type: ignore[assignment]

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.value, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        value = np.asarray(self.value)
        return (int if value.dtype.kind in "iu" else float), (value.item(),)


def _of_values(function: Callable[[Any, Any], Any]) -> Callable[[View, Any], Any]:
    return lambda view, other: function(
        view.value, other.value if isinstance(other, View) else other
    )


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(View, f"__{_name}__", _of_values(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _function = getattr(operator, _name)
    setattr(View, f"__{_name}__", _of_values(_function))
    setattr(View, f"__r{_name}__", _of_values(lambda a, b, f=_function: f(b, a)))
