"""What the package index and citation tools read; `make release-check` builds the archives themselves."""

import re
import tomllib
from pathlib import Path

import pytest

import msg

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INDEX = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")


def test_types_are_marked():
    assert (Path(msg.__file__).parent / "py.typed").exists()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]


def test_addresses_are_public():
    urls = PROJECT["project"]["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith("https://github.com/msg-graph/msg") for url in urls.values())


def test_links_of_the_readme_lead_somewhere_from_the_index():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = [link for link in LINK.findall(text) if not link.startswith(("http", "#"))]
    assert relative
    for link in relative:
        assert (ROOT / link.partition("#")[0]).exists(), link
    for one in INDEX["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    found = LINK.findall(text)
    assert all(link.startswith(("https://", "#")) for link in found)
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert images
    assert all(link.startswith("https://raw.githubusercontent.com/msg-graph/msg/main/") for link in images)
    assert sum(link.startswith("https://github.com/msg-graph/msg/blob/main/") for link in found) == len(relative) - len(
        images
    )


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["version"] == PROJECT["project"]["version"]
    assert found["license"] == PROJECT["project"]["license"]
    assert found["repository-code"] == PROJECT["project"]["urls"]["Source"]
    (paper,) = found["references"]
    assert paper["url"] in (ROOT / "README.md").read_text(encoding="utf-8")
