"""What autodoc and furo need to be told about this library."""

import ast
import inspect
import sys

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import PycodeError
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.pycode.ast import _UnparseVisitor
from sphinx.util.inspect import stringify_signature

_SETTLED: dict[str, list[str]] = {}
"""Docstrings that are finished before napoleon sees them, by name, from one handler to the other."""


def _public(app: Sphinx) -> dict[str, list[str]]:
    """Public names of each room, as the configuration found them."""
    return app.config.autosummary_context["public"]


def _describe(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """What napoleon and autodoc would tell wrongly."""
    if what == "data":
        room, kind = name.rpartition(".")[0], type(obj).__name__
        of_kind = [f"A :class:`~{room}.{kind}`."] if kind in _public(app).get(room, ()) else lines
        lines[:] = _found_below(name, _public(app)) or of_kind
    if what in ("attribute", "data", "property"):
        # as for anything else: of these napoleon would take what stands before a colon for a type
        lines[:] = GoogleDocstring(lines, app.config).lines()
        _SETTLED[name] = list(lines)
    if lines and lines[0].startswith("Define the computation performed at every call"):
        lines[:] = ["What a call of the module returns."]  # not what torch says of all modules


def _settle(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """After napoleon: put back what it should not have read again."""
    lines[:] = _SETTLED.pop(name, lines)


def _found_below(name: str, public: dict[str, list[str]]) -> list[str]:
    """A constant's docstring: below it, in the module that makes it, where autodoc does not look."""
    room, _, short = name.rpartition(".")
    for module in [module for module in sys.modules if module.startswith(f"{room}.")]:
        try:
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", short))
        except PycodeError:
            continue
        if found and short in public.get(room, ()):
            return list(found)
    return []


def _arguments_of_init(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """What a class is made with, where a `__new__` of its own takes everything to note it down."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    found = inspect.signature(obj.__init__)
    own = found.replace(parameters=list(found.parameters.values())[1:], return_annotation=inspect.Signature.empty)
    return stringify_signature(own, show_annotation=False), returns


def _where_it_is_listed(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """`geoopt.Lorentz` is `geoopt.manifolds.Lorentz` in geoopt's list, `msg.nn.MSG` is `msg.models.MSG` in ours."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if module == "geoopt":
        node["reftarget"] = f"geoopt.manifolds.{name}"
    if module != "msg.nn":
        return None
    room = next((room for room in ("msg.models", "msg.layers", "msg.graph") if name in _public(app)[room]), module)
    python = env.domains["py"]
    return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], f"{room}.{name}", node, text)


def _short_sidebar(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Rooms of the reference, but not their hundreds of names, on every page."""
    if toctree := context.get("toctree"):
        context["toctree"] = lambda **options: toctree(**{**options, "maxdepth": 2})


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    # Sphinx 9 gives up a module, sources and links to them, for one f-string in an annotation
    _UnparseVisitor.visit_JoinedStr = lambda self, node: ast.unparse(node)
    app.connect("autodoc-process-docstring", _describe, priority=400)
    app.connect("autodoc-process-docstring", _settle, priority=600)
    app.connect("autodoc-process-signature", _arguments_of_init)
    app.connect("missing-reference", _where_it_is_listed, priority=400)
    app.connect("html-page-context", _short_sidebar, priority=400)
