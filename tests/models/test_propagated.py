import copy

import dense
import pytest
import torch
from torch_geometric.explain import DummyExplainer, Explainer, GNNExplainer
from torch_geometric.nn import GATConv

from msg.energy import count
from msg.experiments import RunConfig, load_trained, run
from msg.experiments.build import build_budget, load_data, prepare
from msg.models import MSG, CachedGCN, Propagated, SpikingGCN
from msg.nn import HyboNet, SpikeGCL
from msg.testing import assert_model
from msg.training import Training


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


def test_a_loss_of_the_model_is_minimised(edge_index):
    """That of an encoder, without which it would stay as it was drawn, and that of its predictions."""
    encoder = Propagated(SpikeGCL(5, 3, 8, timesteps=2), 3)
    assert_model(lambda: Propagated(SpikeGCL(5, 3, 8, timesteps=2), 3), torch.rand(7, 5), edge_index)
    assert encoder.unsupervised_loss == encoder.model.unsupervised_loss
    assert not hasattr(encoder, "criterion")
    hinge = Propagated(HyboNet(5, 3), 3)
    assert hinge.criterion == hinge.model.criterion
    assert not hasattr(hinge, "unsupervised_loss")
    config = RunConfig(dataset="karate", model="spikegcl", propagate=3, seeds=(0,))
    model, task = prepare(config, load_data(config), 0)
    before = copy.deepcopy(dict(model.named_parameters()))
    training = Training(model, task, build_budget(config))
    for _ in range(3):
        training.step()
    resting = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not resting


def test_hops_alone_are_no_explanation(edge_index):
    raw = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
    settings = {"explanation_type": "model", "edge_mask_type": "object", "model_config": raw}
    x = torch.rand(7, 5)
    explainer, mask = Explainer(Propagated(SpikingGCN(5, 3), 2), DummyExplainer(), **settings), torch.ones(10)
    with pytest.raises(ValueError, match="SpikingGCN looks along edges by itself"):
        explainer.get_masked_prediction(x, edge_index, edge_mask=mask)
    for inner in (CachedGCN(5, 4, 2, 3), MSG(5, 3, conv="linear")):
        explained = Explainer(Propagated(inner, 2), GNNExplainer(epochs=2), **settings)(x, edge_index)
        assert explained.edge_mask.shape == edge_index.shape[1:]


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
