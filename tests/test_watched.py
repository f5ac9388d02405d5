"""Who waits for a module to be called."""

import pytest
from torch import nn
from torch_geometric.nn import GCNConv

from msg.calls import altered, counting, watched


def hooks(module):
    """How a hook is told of a call, of torch's and of PyG's."""
    found = [name for name in dir(module) if name.startswith("register_") and name.endswith("_hook")]
    return [name for name in found if "state_dict" not in name]


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), lambda: GCNConv(2, 2)])
def test_every_hook_is_seen(make):
    assert len(hooks(make())) >= 4
    for name in hooks(make()):
        module = make()
        assert not watched(module)
        handle = getattr(module, name)(lambda *_: None)
        assert watched(module), name
        assert altered(module), name
        handle.remove()
        assert not watched(module)


def test_a_hook_that_counts_alters_nothing():
    module = nn.Linear(2, 2)
    module.register_forward_hook(counting(lambda *_: None))
    assert watched(module)
    assert not altered(module)


def test_a_forward_of_its_own_is_seen():
    module = nn.Linear(2, 2)
    module.forward = lambda x: x
    assert watched(module)
    assert altered(module)
