"""Directives of the site's Markdown pages: pictures, schedules, and what stands in docstrings."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.sphinxext.plot_directive import PlotDirective
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from lrax.preview.examples import examples

EXAMPLES = examples()


class InReST(SphinxDirective):
    """What autodoc and matplotlib do in reStructuredText only, for a page in Markdown."""

    def rest(self) -> str:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(f"```{{eval-rst}}\n{self.rest()}\n```")


class Picture(InReST):
    """``{plot} figures/page.py function``, with ``:alt:`` one sentence."""

    required_arguments = 1
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required}

    def rest(self) -> str:
        return f".. plot-in-rest:: {' '.join(self.arguments)}\n   :alt: {self.options['alt']}"


class Entry(InReST):
    """``{entry} lrax.jit``: signature and docstring of a public name, and what a class of ours adds."""

    required_arguments = 1

    def rest(self) -> str:
        module, _, name = self.arguments[0].rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if not isinstance(value, type):
            return f".. autofunction:: {self.arguments[0]}"
        return f".. autoclass:: {self.arguments[0]}\n   :members: {', '.join(members(value))}"


class Schedule(Entry):
    """``{schedule} lrax.StepLR``: the same below the picture of an example."""

    def rest(self) -> str:
        name = self.arguments[0].rpartition(".")[2]
        text = EXAMPLES[name][0]
        alt = f"The learning rate of {text} from step 0 to 48."
        picture = f".. plot-in-rest:: figures/schedules.py {name}\n   :alt: {alt}\n\n   ``{text}``"
        return f"{picture}\n\n{super().rest()}"


class Types(InReST):
    """``{types} lrax._types``: the names of types in signatures, with what stands below them."""

    required_arguments = 1

    def rest(self) -> str:
        docs = ModuleAnalyzer.for_module(self.arguments[0]).find_attr_docs()
        return "\n\n".join(
            f".. py:type:: {self.arguments[0]}.{name}\n\n   {' '.join(lines)}"
            for (_, name), lines in docs.items()
        )


BASES = ("LRScheduler", "OptaxOptimizer")
"""Classes that are shown with all that they have from others of lrax."""


def members(cls: type) -> Iterator[str]:
    """Public methods and properties of a class, and not what brainstate has put there."""
    bases = [b for b in cls.__mro__ if b.__module__.startswith("lrax.")]
    for base in bases if cls.__name__ in BASES else bases[:1]:
        for name, value in vars(base).items():
            shown = (
                inspect.isfunction(value)
                or isinstance(value, property)
                or hasattr(value, "worked_out")
            )
            if name[0] != "_" and shown:
                yield name


def as_written(_app: Sphinx, _what: str, _name: str, value: Any, *_: Any) -> tuple[str, str] | None:
    """The signature of the source, where a type has a name: ``RatesLike``, and not a line of alternatives."""
    function = inspect.unwrap(value.__init__ if isinstance(value, type) else value)
    if not inspect.isfunction(function):
        return None
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    if not isinstance(node, ast.FunctionDef):
        return None
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        del arguments.args[0]
    for name in ast.walk(node):  # "Axes", which is imported for a type checker only
        if isinstance(name, ast.arg) and isinstance(name.annotation, ast.Constant):
            name.annotation = ast.Name(str(name.annotation.value))
    if isinstance(node.returns, ast.Constant) and node.returns.value is not None:
        node.returns = ast.Name(str(node.returns.value))
    return f"({ast.unparse(arguments)})", ast.unparse(node.returns) if node.returns else ""


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("plot-in-rest", PlotDirective)
    app.add_directive("plot", Picture, override=True)
    app.add_directive("schedule", Schedule)
    app.add_directive("entry", Entry)
    app.add_directive("types", Types)
    app.connect("autodoc-process-signature", as_written)
    return {"parallel_read_safe": True}
