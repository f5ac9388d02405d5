"""Sphinx configuration; `make docs` builds with warnings as errors, with the internet and without."""

import builtins
import importlib
import inspect
import os
import sys
import zlib
from collections import Counter
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import stringify_signature

os.environ.setdefault("MPLBACKEND", "agg")
HERE = Path(__file__).parent

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
sys.path.insert(0, str(HERE / "_ext"))
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
        "scipy": "docs.scipy.org/doc/scipy",
        "sklearn": "scikit-learn.org/stable",
        "matplotlib": "matplotlib.org/stable",
    }.items()
}
OTHERS = "|".join([*sys.stdlib_module_names, *intersphinx_mapping])
nitpick_ignore_regex = [
    ("py:.*", rf"({OTHERS})\..*"),
    ("py:.*", "|".join(dir(builtins))),
    # private bases, variables of types, two internal types
    ("py:.*", r"msg\.[\w.]+\.(_\w+|M|Item|Kind|Border|Standing)"),
]


def _describe_data(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """A constant's docstring stands below it in the module that makes it, where autodoc does not look."""
    room, _, short = name.rpartition(".")
    if what != "data" or short not in PUBLIC.get(room, ()):
        return
    for module in [module for module in sys.modules if module.startswith(f"{room}.")]:
        try:
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", short))
        except PycodeError:
            continue
        if found:
            lines[:] = found
            return


def _arguments_of_init(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """What a class is made with, where a `__new__` of its own takes everything to note it down."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    found = inspect.signature(obj.__init__)
    own = found.replace(parameters=list(found.parameters.values())[1:], return_annotation=inspect.Signature.empty)
    return stringify_signature(own, show_annotation=False), returns


def _as_geoopt_lists_it(app: Sphinx, env: object, node: dict, text: object) -> None:
    """`geoopt.Lorentz`, as one imports it, is `geoopt.manifolds.Lorentz` in geoopt's own list of names."""
    if node["reftarget"].startswith("geoopt.") and node["reftarget"].count(".") == 1:
        node["reftarget"] = node["reftarget"].replace("geoopt.", "geoopt.manifolds.")


def _short_sidebar(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Rooms of the reference, but not their hundreds of names, on every page."""
    if toctree := context.get("toctree"):
        context["toctree"] = lambda **options: toctree(**{**options, "maxdepth": 2})


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _describe_data, priority=400)
    app.connect("autodoc-process-signature", _arguments_of_init)
    app.connect("missing-reference", _as_geoopt_lists_it, priority=400)
    app.connect("html-page-context", _short_sidebar, priority=400)
