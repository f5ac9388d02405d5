"""Which kernels run, and what is said of it."""

import subprocess
import sys

import pytest
import torch
from torch.autograd import forward_ad

from msg.kernels import choice, status


def test_torch_is_forced(monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", "torch")
    assert status() == ("torch", "MSG_KERNELS=torch")
    assert choice.compiled("trains") is None
    assert str(status()) == "torch (MSG_KERNELS=torch)"


def test_unknown_value_is_refused(monkeypatch):
    monkeypatch.setenv("MSG_KERNELS", "cuda")
    with pytest.raises(ValueError, match="none of auto, numba, torch"):
        status()


@pytest.mark.parametrize(
    ("error", "reason"), [(ModuleNotFoundError("numba"), "pip install"), (ImportError("built for NumPy 1"), "NumPy 1")]
)
def test_without_numba(monkeypatch, error, reason):
    def fail(name):
        raise error

    monkeypatch.setattr(choice, "import_module", fail)
    choice._numba.cache_clear()
    try:
        monkeypatch.delenv("MSG_KERNELS", raising=False)
        assert status().backend == "torch"
        assert reason in status().reason
        monkeypatch.setenv("MSG_KERNELS", "numba")
        with pytest.raises(ImportError, match="MSG_KERNELS=numba"):
            status()
    finally:
        monkeypatch.undo()
        choice._numba.cache_clear()


def test_nothing_is_compiled_for_an_import():
    # PyG imports numba by itself where it is there
    rooms = ("trains", "geometry", "sampling")
    code = f"import sys, msg.nn; print([m for m in {rooms} if 'msg.kernels.' + m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_says_which(monkeypatch):
    done = subprocess.run([sys.executable, "-m", "msg", "--version"], capture_output=True, text=True, check=True)
    assert f"kernels: {status()}" in done.stdout


def test_kernels_take_plain_values_alone(monkeypatch):
    """Torch's own way for all else; without numba for everything."""

    class Named(torch.Tensor):
        pass

    x = torch.ones(3)
    assert choice.takes(x, x.double(), torch.nn.Parameter(x)) == (status().backend == "numba")
    for other in (x.half(), x.long(), x.to("meta"), x.as_subclass(Named)):
        assert not choice.takes(x, other)
    seen = []
    torch.func.vmap(lambda row: seen.append(choice.takes(row)) or row)(torch.ones(2, 3))
    with forward_ad.dual_level():
        seen.append(choice.takes(forward_ad.make_dual(x, x)))
    assert seen == [False, False]
    monkeypatch.setenv("MSG_KERNELS", "torch")
    assert not choice.takes(x)
