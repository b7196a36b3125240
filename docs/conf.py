"""How the site is built: ``python -m sphinx -W -n -b html docs build/site``. Nothing is read from the network."""

import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8"  # examples/data_parallel.py shows them
)

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
    "sphinx.ext.napoleon",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "site_directives",
    "site_links",
    "markdown_twins",
]
exclude_patterns = ["figures", "extensions", "gallery/**/*.ipynb", "gallery/**/*.py"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(numpy|np|jax|brainstate|optax|re)\..*"),
    (
        "py:class",
        r"Axes|Build|Learner|Matches|Member|Patterns|Pictured|Range|Recipe|TakesSchedulers|lrax\.(optimizers\.groups\.ParamGroup|formulas\.schedule\.Schedule)",
    ),
]
"""Types of others, whose pages are not looked up, and inner ones, which a user gets from nobody."""

# --- Pages in Markdown
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# --- The API, out of the docstrings
default_role = "code"  # a single backtick in a docstring
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
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
pygments_dark_style = "github-dark"
html_copy_source = False


# --- The examples, which are run
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"study",  # takes twenty minutes; choose.md has what it found
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("site_gallery.in_our_style",),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
}
