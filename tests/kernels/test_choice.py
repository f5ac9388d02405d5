"""Which kernels run, and what is said of it."""

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
