"""Sphinx configuration; `make docs` builds with warnings as errors."""

project = "msg"
author = "The msg authors"
copyright = "2026, The msg authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_heading_anchors = 2
myst_enable_extensions = ["dollarmath", "colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True
napoleon_custom_sections = [("Shapes", "params_style")]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "msg"
