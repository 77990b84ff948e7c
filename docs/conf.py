"""Sphinx configuration."""

import densekit

project = "densekit"
author = "The densekit developers"
version = release = densekit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "numpydoc",
    "myst_parser",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery", "plugin-template"]
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "write_computation_times": False,
    "download_all_examples": False,
    "show_signature": False,
    "ignore_repr_types": r"densekit\.plots",  # pictures speak for themselves
    "min_reported_time": 3600,  # seconds: builds on any machine are alike
}
myst_enable_extensions = ["dollarmath"]
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
html_theme = "pydata_sphinx_theme"
html_title = "densekit"
html_sidebars = {"**": []}
html_context = {"default_mode": "auto"}
html_theme_options = {"header_links_before_dropdown": 6}
