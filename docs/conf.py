"""How the site is built: ``python -m sphinx -W -n -b html docs build/site``. Nothing is read from the network."""

import sys
from pathlib import Path

import matplotlib as mpl

import lrax

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "lrax"
author = "The lrax authors"
copyright = author
version = release = lrax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "site_directives",
    "markdown_twins",
]
exclude_patterns = ["figures", "extensions", "gallery/**/*.ipynb", "gallery/**/*.py"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(numpy|np|jax|brainstate|optax|re)\..*"),
    ("py:class", r"Axes|Build|Learner|Matches|Member|Patterns|Range|Recipe|TakesSchedulers|lrax\.(optimizers\.groups\.ParamGroup|formulas\.schedule\.Schedule)"),
]
"""Types of others, whose pages are not looked up, and inner ones, which a user gets from nobody."""

# --- Pages in Markdown
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# --- The API, out of the docstrings
default_role = "code"  # a single backtick in a docstring
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
autosummary_generate = False
napoleon_google_docstring = napoleon_numpy_docstring = False  # site_directives.sections does it
napoleon_use_param = False  # the types are words, not names to look up
napoleon_use_rtype = False

# --- Pictures
plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = dict(
    mpl.rc_params_from_file(HERE / "pictures.mplstyle", use_default_template=False)
)
plot_apply_rcparams = True

# --- What it looks like
html_theme = "furo"
html_title = f"lrax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_copy_source = False

sphinx_gallery_conf = {
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
}
