import dense
import pytest
import torch
from torch_geometric.nn import GATConv

from msg.energy import count
from msg.experiments import RunConfig, load_trained, run
from msg.models import MSG, CachedGCN, Propagated
from msg.testing import assert_model


def test_it_is_the_series(edge_index):
    model = Propagated(CachedGCN(5, 4, 2, 3), 4, 0.3).double()
    x = torch.rand(7, 5, dtype=torch.float64)
    a, h = dense.gcn(edge_index, 7), model.model(x, edge_index)
    want = sum(0.3 * (0.7**k) * torch.matrix_power(a, k) @ h for k in range(4)) + 0.7**4 * torch.matrix_power(a, 4) @ h
    torch.testing.assert_close(model(x, edge_index), want, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_contract(edge_index):
    assert_model(lambda: Propagated(CachedGCN(5, 4, 2, 3), 3), torch.rand(7, 5), edge_index)


def test_each_hop_is_counted(edge_index):
    x, inner = torch.rand(7, 5), CachedGCN(5, 4, 2, 3).eval()
    totals = []
    for model in (inner, Propagated(inner, 1).eval(), Propagated(inner, 3).eval()):
        with torch.no_grad(), count(model) as ops:
            model(x, edge_index)
        assert not ops.unknown
        totals.append(ops.total())
    # 16 messages with loops, scaled before and after; then a share of each of the first prediction's numbers
    hop = {"message": 16 * 3, "accumulate": (16 + 7) * 3, "multiply": (2 + 1) * 7 * 3}
    for number, hops in ((1, 1), (2, 3)):
        assert {kind: totals[number][kind] - totals[0][kind] for kind in hop} == {k: hops * n for k, n in hop.items()}


def test_what_the_model_reads_of_edges_is_handed_on(edge_index):
    inner = MSG(5, 4, conv=lambda i, o: GATConv(i, o, edge_dim=3)).eval()
    x, features = torch.rand(7, 5), torch.rand(edge_index.size(1), 3)
    model = Propagated(inner, 1, 1.0).eval()
    torch.testing.assert_close(model(x, edge_index, edge_attr=features), inner(x, edge_index, edge_attr=features))
    assert not torch.equal(model(x, edge_index, edge_attr=features), model(x, edge_index, edge_attr=-features))


def test_a_run_keeps_it_with_the_model(tmp_path):
    config = RunConfig(dataset="karate", model="cached-gcn", epochs=20, propagate=5, teleport=0.2, seeds=(0,), hidden=8)
    found = run(config.with_options(baseline="none"), tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    assert isinstance(trained.model, Propagated)
    assert found["model"] == "CachedGCN"
    assert {line.split(",")[0] for line in (tmp_path / "run/history.csv").read_text().splitlines()[1:]} == {"CachedGCN"}
    assert trained.task.evaluate(trained.model, "test").metric == found["test"]["per_seed"][0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"num_hops": 0}, "num_hops must be a whole number of at least 1, not 0"),
        ({"teleport": 0.0}, r"teleport must lie in \(0, 1\], not be 0\.0"),
        ({"teleport": 1.5}, r"teleport must lie in \(0, 1\], not be 1\.5"),
    ],
)
def test_what_cannot_be(bad, said):
    with pytest.raises(ValueError, match=said):
        Propagated(CachedGCN(5, 4, 2, 3), **bad)
    with pytest.raises(ValueError, match="teleport must be at most 1"):
        RunConfig(teleport=1.5)
    with pytest.raises(ValueError, match="it reads all nodes"):
        RunConfig(propagate=3, batch_size=8)
