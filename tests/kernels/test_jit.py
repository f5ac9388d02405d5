"""What is kept on disk is of the sources that are there."""

import importlib.util
import sys

import pytest

pytest.importorskip("numba")

from msg.kernels import jit

pytestmark = pytest.mark.usefixtures("compiled")


def test_another_source_is_compiled_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    (tmp_path / "one.py").write_text("def one(x):\n    return x + 1\n")
    spec = importlib.util.spec_from_file_location("one", tmp_path / "one.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "one", module)  # where what was compiled looks for it

    def kept(sources):
        monkeypatch.setattr(jit, "_SOURCES", sources)
        kernel = jit.compiled(module.one)
        assert kernel(1) == 2
        return bool(kernel.stats.cache_hits)

    assert [kept(sources) for sources in ("these", "these", "others", "others", "these")] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_all_files_of_the_kernels_are_sources(tmp_path, monkeypatch):
    assert len(jit._SOURCES) == 64
    assert jit._digest() == jit._SOURCES
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    seen = [jit._digest()]
    for name, text in (("a.py", "1"), ("z.py", "1"), ("a.py", "2"), ("z.py", "2")):
        (tmp_path / name).write_text(text)
        seen.append(jit._digest())
    assert len(set(seen)) == len(seen)
