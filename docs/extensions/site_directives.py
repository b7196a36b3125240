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
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from lrax.preview.examples import examples

EXAMPLES = examples()


def in_rest(text: str) -> str:
    """What autodoc and matplotlib do in reStructuredText only, for a page in Markdown."""
    return f"```{{eval-rst}}\n{text}\n```\n"


class Picture(SphinxDirective):
    """``{plot} figures/page.py function``, with ``:alt:`` one sentence."""

    required_arguments = 1
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        text = f".. plot-in-rest:: {' '.join(self.arguments)}\n   :alt: {self.options['alt']}"
        return self.parse_text_to_nodes(in_rest(text))


class Entries(SphinxDirective):
    """``{entries}``: of each public name signature and docstring, and what a class of ours adds."""

    has_content = True
    heading = ""

    def run(self) -> list[nodes.Node]:
        text = "\n".join(
            self.heading.format(name) + in_rest(self.rest(name)) for name in self.content
        )
        return self.parse_text_to_nodes(text, allow_section_headings=bool(self.heading))

    def rest(self, path: str) -> str:
        module, _, name = path.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if not isinstance(value, type):
            return f".. autofunction:: {path}"
        own = ", ".join(members(value))
        special = "\n   :special-members: __call__" if "__call__" in own else ""
        return f".. autoclass:: {path}" + (f"\n   :members: {own}{special}" if own else "")


class Schedules(Entries):
    """``{schedules}``: the same of schedules, each with a heading and the picture of an example."""

    heading = "## {}\n\n"

    def run(self) -> list[nodes.Node]:
        found = super().run()
        for node in found:
            for signature in node.findall(addnodes.desc_signature):
                signature["_toc_name"] = ""  # its heading stands in the contents already
        return found

    def rest(self, path: str) -> str:
        text = EXAMPLES[path][0]
        alt = f"The learning rate of {text} from step 0 to 48."
        picture = f".. plot-in-rest:: figures/schedules.py {path}\n   :alt: {alt}\n\n   ``{text}``"
        return f"{picture}\n\n{super().rest(f'lrax.{path}')}"


class Types(SphinxDirective):
    """``{types} lrax._types``: the names of types in signatures, with what stands below them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        docs = ModuleAnalyzer.for_module(module).find_attr_docs()
        found = {name: " ".join(lines) for (_, name), lines in docs.items() if name != name.upper()}
        text = "\n\n".join(f".. py:type:: {module}.{n}\n\n   {text}" for n, text in found.items())
        return self.parse_text_to_nodes(in_rest(text))


WITH_INHERITED = ("LRScheduler", "OptaxOptimizer")
"""Classes that are shown with all that they have from others of lrax."""


def members(cls: type) -> Iterator[str]:
    """Public methods, properties and fields of a class, and not what brainstate has put there."""
    bases = [b for b in cls.__mro__ if b.__module__.startswith("lrax.")]
    fields = cls.__dict__.get("__dataclass_fields__", {})
    for base in bases if cls.__name__ in WITH_INHERITED else bases[:1]:
        for name, value in vars(base).items():
            method = inspect.isfunction(value) or isinstance(value, property)
            shown = method or hasattr(value, "worked_out") or name in fields
            if (shown and name[0] != "_") or name == "__call__":
                yield name
    yield from (name for name in fields if name not in vars(cls))


class Named(ast.NodeTransformer):
    """Types as a reader knows them: one in quotes is a name, too, and S is what operators make."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Name(node.value) if isinstance(node.value, str) else node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name("LRScheduler") if node.id == "S" else node


def as_written(_app: Sphinx, _what: str, _name: str, value: Any, *_: Any) -> tuple[str, str] | None:
    """The signature of the source, where a type has a name: ``RatesLike``, and not a line of alternatives."""
    try:
        source = inspect.getsource(value.__init__ if isinstance(value, type) else value)
    except (OSError, TypeError):  # of a dataclass, or what is no function
        return None
    (node,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(node, ast.FunctionDef)
    arguments = node.args
    for those in (arguments.posonlyargs, arguments.args):
        those[:] = [each for each in those if each.arg != "self"]
    if arguments.vararg and arguments.kwarg:  # of a class without arguments
        return "", ""
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.kwarg):
        if each and each.annotation:
            each.annotation = Named().visit(each.annotation)
    returns = "" if isinstance(value, type) or not node.returns else Named().visit(node.returns)
    return f"({ast.unparse(arguments)})", returns and ast.unparse(returns)


def sections(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """The sections of a docstring; a property has none, and its colon stands in a sentence."""
    if what in ("class", "function", "method"):
        lines[:] = NumpyDocstring(lines, app.config, app, what, name, value, options).lines()


def mark_short_cells(_app: Sphinx, doctree: nodes.document) -> None:
    """Numbers and names, which site.css keeps in one line."""
    for entry in doctree.findall(nodes.entry):
        if len(entry.astext()) <= 24:
            entry["classes"].append("short")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("plot-in-rest", PlotDirective)
    app.add_directive("plot", Picture, override=True)
    app.add_directive("entries", Entries)
    app.add_directive("schedules", Schedules)
    app.add_directive("types", Types)
    app.connect("doctree-read", mark_short_cells)
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", sections)
    return {"parallel_read_safe": True}
