"""The public names, signatures and defaults, which nobody changes by accident; and what help() and editors show."""

import inspect
import pydoc
import re
import typing
from pathlib import Path

import brainstate
import pytest

import lrax
from lrax import formulas, interop
from public_api import lines

FILE = Path(__file__).parent / "data" / "public_api.txt"


def test_names_signatures_and_defaults():
    """After a change that is meant: python tests/public_api.py > tests/data/public_api.txt"""
    assert "\n".join(lines()) + "\n" == FILE.read_text(encoding="utf-8")


def public():
    """Functions, classes and methods by name."""
    for module in (lrax, formulas, interop):
        for name, value in vars(module).items():
            if name[0] != "_" and callable(value) and value is not formulas.Arithmetic:
                yield f"{module.__name__}.{name}", value
            if name[0] != "_" and isinstance(value, type):
                bases = [base for base in value.__mro__ if base.__module__.startswith("lrax.")]
                found = {n: member for base in reversed(bases) for n, member in vars(base).items()}
                for n, member in found.items():
                    function = member.fget if isinstance(member, property) else member
                    if (n[0] != "_" or n == "__call__") and inspect.isfunction(function):
                        yield f"{module.__name__}.{name}.{n}", function


FUNCTIONS = dict(public())


def test_signatures_have_types():
    """And not ``Any``, but for what is passed on to optax."""
    assert len(FUNCTIONS) > 300
    for name, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
                assert parameter.annotation is not parameter.empty, (name, parameter)
                assert not re.search(r"\bAny\b", str(parameter)), (name, parameter)
        if not isinstance(function, type):
            assert signature.return_annotation is not signature.empty, name
            assert not re.search(r"\bAny\b", str(signature).rpartition("->")[2]), name
            assert "return" in typing.get_type_hints(function), name


def test_the_map_of_the_library_has_every_name():
    """``help(lrax)`` begins with it."""
    (table,) = re.findall(r"^What there is::\n\n((?: {4}.*\n)+)", lrax.__doc__, flags=re.MULTILINE)
    found = [name for line in table.splitlines() for name in re.findall(r"\w+", line[18:])]
    modules = ["formulas", "interop", "from_torch", "from_optax", "to_braintools"]
    assert sorted(found) == sorted([*lrax.__all__, *modules, "and", "the", "command", "lrax"])
    assert pydoc.plain(pydoc.render_doc(lrax)).index("What there is") < 1200
    assert max(map(len, lrax.__doc__.splitlines())) <= 96


SHOWN = [lrax.StepLR(), lrax.SGD(), lrax.AveragedWeights({"w": brainstate.ParamState(1.0)})]


@pytest.mark.parametrize("node", SHOWN, ids=lambda node: type(node).__name__)
def test_what_brainstate_has_put_there_is_not_shown(node):
    """By ``help()`` and where names are completed; it is there all the same."""
    kind = type(node)
    theirs = {name for name in dir(brainstate.graph.Node) if not hasattr(object, name)}
    mine = {
        name for base in kind.__mro__ if base.__module__.startswith("lrax.") for name in vars(base)
    }
    hidden = theirs - mine - {"__dict__", "__weakref__", "__slots__", "_abc_impl"}
    assert {"check_valid_context", "__pretty_repr__"} <= hidden
    for shown in (dir(node), dir(kind)):
        assert not hidden & {*shown}
        assert {"state_dict", "load_state_dict"} <= {*shown}
    text = pydoc.plain(pydoc.render_doc(kind))
    assert "inherited from brainstate" not in text
    assert node.check_valid_context(lambda: "") is None
