"""The documentation's examples run as they stand, each as a file of its own."""

import re
import runpy
from pathlib import Path

import pytest

from msg import names
from msg.datasets import available
from msg.registry import Registry

ROOT = Path(__file__).parents[2]


def sections(document):
    """The Python blocks of a document, by the heading they stand under."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
        if blocks:
            (found[section.splitlines()[0]],) = blocks
    return found


def known():
    """Every registered name."""
    registries = {kind: registry for kind, registry in vars(names).items() if isinstance(registry, Registry)}
    found = {(kind, name) for kind, registry in registries.items() for name in registry}
    return found | {("graph", card.key) for card in available()}


def forget(kind, name):
    if kind == "graph":
        from msg.datasets import remove

        remove(name)
    else:
        getattr(names, kind).remove(name)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a block as a program in an empty folder, and forget what it registers; returns the new names."""
    monkeypatch.chdir(tmp_path)
    before = known()

    def execute(block):
        program = tmp_path / "program.py"
        program.write_text(block, encoding="utf-8")
        runpy.run_path(str(program), run_name="__main__")
        return known() - before

    yield execute
    for kind, name in known() - before:
        forget(kind, name)


EXTENSIONS = sections("docs/extending.md")


def test_there_is_an_example_of_everything_that_can_be_added():
    kinds = "manifold, neuron, surrogate, gradient rule, convolution, model, graph, table of costs, study"
    assert list(EXTENSIONS) == [f"A {kind}" for kind in kinds.split(", ")]


@pytest.mark.parametrize("heading", EXTENSIONS)
def test_extending(heading, run):
    assert len(run(EXTENSIONS[heading])) == 1


def test_readme(run):
    block = sections("README.md")["Ten lines"]
    assert block.count("range(200)") == 1
    assert not run(block.replace("range(200)", "range(2)"))  # epochs enough to see that it runs


GEOMETRY = sections("docs/geometry.md")


@pytest.mark.parametrize("heading", GEOMETRY)
def test_geometry(heading, run):
    assert len(run(GEOMETRY[heading])) == (heading == "A manifold that has no letter")


def test_graphs(run):
    (block,) = sections("docs/graphs.md").values()
    assert not run(block)


def test_scaling(run):
    for block in sections("docs/scaling.md").values():
        assert not run(block)


def test_dynamic(run):
    for block in sections("docs/dynamic.md").values():
        assert len(block.splitlines()) <= 15
        assert not run(block)


NEUROMORPHIC = sections("docs/neuromorphic.md")


@pytest.mark.parametrize("heading", NEUROMORPHIC)
def test_neuromorphic(heading, run, library):
    for package in re.findall(r"^import (nir|snntorch)$", NEUROMORPHIC[heading], flags=re.MULTILINE):
        library(package)
    assert not run(NEUROMORPHIC[heading])


def programs():
    """Every Python block of the landing page, the quickstart and the guides."""
    documents = [
        ROOT / "docs" / "index.md",
        ROOT / "docs" / "quickstart.md",
        *sorted((ROOT / "docs/guides").glob("*.md")),
    ]
    for document in documents:
        blocks = re.findall(r"^```python\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            yield pytest.param(block, id=f"{document.stem}-{number}")


@pytest.mark.parametrize("block", list(programs()))
def test_guides(block, run):
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 15
    briefly = re.sub(r"range\(\d+\)", "range(2)", re.sub(r"epochs=\d+", "epochs=2", block))
    run(briefly)
