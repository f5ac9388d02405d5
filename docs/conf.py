"""Sphinx configuration; `make docs` builds with warnings as errors, with the internet and without."""

import builtins
import importlib
import os
import sys
import zlib
from collections import Counter
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "msg"
author = "The msg authors"
copyright = "2026, The msg authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "cyclopts.ext.sphinx",
    "sphinx-mathjax-offline",  # MathJax and its fonts are served with the pages: reading them asks nobody else
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "reference",
]
exclude_patterns = ["_build", "_ext"]
templates_path = ["_templates"]
nitpicky = True

# pages
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
html_theme = "furo"
html_title = "msg"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False

# gallery: every script in examples/gallery is executed at each build, the longer ones beside that folder never
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figures.scrape",),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

# reference: a page for each name in the `__all__` of each room that api.md lists
ROOMS = [
    line.strip() for line in (HERE / "api.md").read_text(encoding="utf-8").splitlines() if line.startswith("   msg")
]
PUBLIC = {room: sorted(getattr(importlib.import_module(room), "__all__", ()), key=str.lower) for room in ROOMS}
autosummary_context = {"public": PUBLIC, "nn": importlib.import_module("msg.nn").__all__}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
autodoc_default_options = {"exclude-members": "set_fit_request, set_predict_request, set_score_request"}  # sklearn's
napoleon_use_ivar = True
napoleon_custom_sections = [("Shapes", "params_style")]


def _told_apart(names: list[str]) -> dict[str, str]:
    """File names for those that differ in case alone, `Count` and `count`, where file systems do not."""
    seen = Counter(map(str.lower, names))
    return {name: f"{name}-function" for name in names if seen[name.lower()] > 1 and name.rpartition(".")[2].islower()}


autosummary_filename_map = _told_apart([f"{room}.{name}" for room, names in PUBLIC.items() for name in names])

# links to other libraries: from their lists of names where these can be fetched, else from an empty one, so that the
# build needs no internet; names of theirs that are then unknown are no mistakes
NO_NAMES = HERE / "_build" / "no_names.inv"
NO_NAMES.parent.mkdir(exist_ok=True)
NO_NAMES.write_bytes(b"# Sphinx inventory version 2\n# Project: none\n# Version: 0\n# zlib\n" + zlib.compress(b""))
intersphinx_timeout = 10
intersphinx_mapping = {
    name: (f"https://{address}/", (None, str(NO_NAMES)))
    for name, address in {
        "python": "docs.python.org/3",
        "torch": "docs.pytorch.org/docs/stable",
        "torch_geometric": "pytorch-geometric.readthedocs.io/en/latest",
        "geoopt": "geoopt.readthedocs.io/en/latest",
        "numpy": "numpy.org/doc/stable",
        "pandas": "pandas.pydata.org/docs",
        "scipy": "docs.scipy.org/doc/scipy",
        "sklearn": "scikit-learn.org/stable",
        "matplotlib": "matplotlib.org/stable",
    }.items()
}
OTHERS = "|".join([*sys.stdlib_module_names, *intersphinx_mapping])
nitpick_ignore_regex = [
    ("py:.*", rf"({OTHERS})\..*"),
    ("py:.*", "|".join(dir(builtins))),
    ("py:class", "Data|Neighbours|Plan"),  # in annotations, imported by type checkers alone
    # private bases, variables of types, internal types
    ("py:.*", r"msg\.[\w.]+\.(_\w+|M|Item|Kind|Border|Classification|Standing|State)"),
]
