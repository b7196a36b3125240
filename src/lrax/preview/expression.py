"""Schedulers out of text: read as a Python expression, and never run as one."""

import ast
import operator
from collections.abc import Callable
from typing import Any, NoReturn

from .. import optimizers
from .._names import remedy
from ..interop.hugging_face import get_scheduler
from ..schedulers import catalogue
from ..schedulers.operators import Operators
from ..schedulers.scheduler import LRScheduler

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: kind for name, kind in catalogue.CLASSES.items() if kind is not LRScheduler},
    "minimum": catalogue.minimum,
    "maximum": catalogue.maximum,
    "get_scheduler": get_scheduler,
}
"""What may be called."""

METHODS = [name for name, member in vars(Operators).items() if name[0] != "_" and callable(member)]
"""What schedulers may be asked for: the algebra."""

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


_NO_FUNCTIONS = "An expression has no functions: draw LambdaLR in Python, with scheduler.plot()."


def scheduler_of(text: str) -> LRScheduler:
    """The scheduler that an expression describes: ``"0.5 * StepLR(0.1, step_size=30).delay(5)"``.

    It may have names of ours (with or without ``lrax.``), numbers, texts, lists, tuples, keywords,
    operators, and the methods of the algebra. Anything else raises ValueError.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(
            f"{text!r:.80} must be an expression, but has an error: {reason}."
        ) from None
    found = _value(tree.body)
    if not isinstance(found, LRScheduler):
        raise ValueError(
            f"{text!r:.80} must be a scheduler, but is {found!r:.80}. For example: StepLR(0.1, step_size=30)."
        )
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, type(None))):
        return node.value
    if isinstance(node, ast.List):
        return [_value(entry) for entry in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(entry) for entry in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_operand(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_operand(node.left), _operand(node.right))
    if isinstance(node, ast.Call):
        return _call(node)
    if isinstance(node, ast.Lambda) or (isinstance(node, ast.Constant) and node.value is ...):
        _refuse(node, _NO_FUNCTIONS)
    if isinstance(node, ast.Name):
        _function(node.id)
        _refuse(node, f"It is called: {node.id}(...).")
    _refuse(
        node, "An expression has names of lrax, numbers, texts, lists, operators + - * / and calls."
    )


def _operand(node: ast.expr) -> Any:
    value = _value(node)
    if not isinstance(value, (int, float, LRScheduler)):
        _refuse(node, "Operators take schedulers and numbers.")
    return value


def _call(node: ast.Call) -> Any:
    called = _called(node.func)
    if any(isinstance(entry, ast.Starred) for entry in node.args):
        _refuse(node, "Write the arguments one by one.")
    values = [_value(entry) for entry in node.args]
    named = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            _refuse(node, "Write the arguments one by one.")
        if keyword.arg in named:
            _refuse(node, f"It has {keyword.arg} twice.")
        named[keyword.arg] = _value(keyword.value)
    return called(*values, **named)


def _called(node: ast.expr) -> Callable[..., Any]:
    if isinstance(node, ast.Name):
        return _function(node.id)
    if not isinstance(node, ast.Attribute):
        _refuse(node, "Only names of lrax and methods of schedulers are called.")
    if isinstance(node.value, ast.Name) and node.value.id == "lrax":
        return _function(node.attr)
    owner = _value(node.value)
    if not isinstance(owner, LRScheduler):
        _refuse(node, "Only schedulers have methods.")
    if node.attr not in METHODS:
        hint = remedy(node.attr, METHODS) or f"Schedulers have {', '.join(METHODS)}."
        raise ValueError(f"{node.attr!r} is not understood. {hint}")
    return getattr(owner, node.attr)


def _function(name: str) -> Callable[..., Any]:
    kind = getattr(optimizers, name, None)
    if isinstance(kind, type) and issubclass(kind, optimizers.OptaxOptimizer):
        raise ValueError(
            f"{name!r} is an optimizer, and what is drawn is a schedule: 'lrax list' shows all."
        )
    if name not in FUNCTIONS:
        hint = remedy(name, FUNCTIONS) or "'lrax list' shows all schedules of lrax."
        raise ValueError(f"{name!r} is not understood. {hint}")
    return FUNCTIONS[name]


def _refuse(node: ast.expr, hint: str) -> NoReturn:
    raise ValueError(f"{ast.unparse(node)!r:.80} is not understood. {hint}")
