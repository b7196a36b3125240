"""Beside each page of the site its twin in Markdown, and llms.txt with the titles of all."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri
from sphinx_markdown_builder import MarkdownBuilder
from sphinx_markdown_builder.translator import MarkdownTranslator


class Translator(MarkdownTranslator):
    """With what this site uses and the builder does not know."""

    def visit_image(self, node: nodes.image) -> None:
        _, name = self.builder.env.images.get(node["uri"], (None, None))
        self.add_image(node, name)

    def visit_imgsgnode(self, node: nodes.Element) -> None:  # of sphinx-gallery
        self.ensure_eol(2)
        self.add_image(node, Path(node["uri"]).name)

    def add_image(self, node: nodes.Element, name: str | None) -> None:
        here = self.builder.get_target_uri(self.builder.current_doc_name)
        uri = relative_uri(here, f"_images/{name}") if name else node["uri"]
        self.add(f"![{node.get('alt', '')}]({uri})")

    def visit_abbreviation(self, node: nodes.abbreviation) -> None:  # of * and / in a signature
        self.add(node.astext())
        raise nodes.SkipNode

    def visit_enumerated_list(self, node: nodes.enumerated_list) -> None:
        self._start_list(node.get("start", 1) - 1)

    def visit_caption(self, node: nodes.caption) -> None:
        self.visit_paragraph(node)

    def depart_caption(self, node: nodes.caption) -> None:
        self._pop_context(node)

    def visit_toctree(self, _: nodes.Node) -> None:  # a hidden one
        raise nodes.SkipNode

    visit_comment = visit_toctree  # sphinx-gallery's, of where it has a block from

    def visit_literal_block(self, node: nodes.Element) -> None:
        if node.get("language") == "Python":  # as sphinx-gallery spells it
            node["language"] = "python"
        super().visit_literal_block(node)

    def visit_code_links_block(self, node: nodes.Element) -> None:  # code of sphinx-gallery
        self.visit_literal_block(nodes.literal_block(language="python"))
        self.add(node.astext())
        self.depart_literal_block(node)
        raise nodes.SkipNode


class Builder(MarkdownBuilder):
    """Writes into the folder of the pages in HTML."""

    default_translator_class = Translator


def write_twins(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name != "html":
        return
    env, pages = app.env, sorted(app.env.found_docs)
    builder = Builder(app, env)
    builder.init()
    builder.prepare_writing(pages)
    app.builder = builder  # which says where links go
    for name in pages:
        builder.write_doc(name, env.get_and_resolve_doctree(name, builder))
    titles = [f"- [{env.titles[name].astext()}]({name}.md)" for name in pages]
    Path(app.outdir, "llms.txt").write_text("\n".join([f"# {app.config.project}", "", *titles, ""]))


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx_markdown_builder")
    app.connect("build-finished", write_twins)
    return {"parallel_read_safe": True}
