import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import msg
from msg.datasets import load_graph, normalize_features, top_features
from msg.experiments import RunConfig, export, load_trained, predict, run
from msg.experiments.predictions import read_pairs

SMALL = {"dataset": "karate", "epochs": 3, "timesteps": 3, "layers": 2, "manifold": "H4", "baseline": "none"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A run that selects and scales features."""
    folder = tmp_path_factory.mktemp("nodes")
    config = RunConfig(**{**SMALL, "dataset": "digits", "top_features": 20, "normalize_features": True, "seeds": (3,)})
    run(config, folder)
    return folder


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    run(RunConfig(**{**SMALL, "task": "link-prediction", "decoder": "plain", "seeds": (0, 1)}), folder)
    return folder


def written(path, data):
    """A graph as a file of its own."""
    np.savez(
        path,
        node_features=data.x.numpy(),
        node_labels=data.y.numpy(),
        edges=data.edge_index.t().numpy(),
    )
    return path


def test_classes_are_those_that_were_measured(nodes):
    found, trained = predict(nodes).columns, load_trained(nodes)
    right = torch.from_numpy(found["class"]) == trained.task.y
    measured = trained.results["test"]["per_seed"][0]
    assert float(right[trained.task.masks["test"]].double().mean()) == pytest.approx(measured)
    assert found["probability"].shape == (len(found["node"]), 10)
    assert np.allclose(found["probability"].sum(1), 1, atol=1e-6)
    assert (found["probability"].argmax(1) == found["class"]).all()


def test_another_graph_is_read_as_the_run_reads_its_own(nodes, tmp_path):
    data = load_graph("digits")
    found = predict(nodes, dataset=written(tmp_path / "same.npz", data)).columns
    assert np.allclose(found["probability"], predict(nodes).columns["probability"], atol=1e-6)
    # the first half of the nodes is another graph
    half = data.subgraph(torch.arange(len(data.x) // 2))
    found = predict(nodes, dataset=written(tmp_path / "half.npz", half)).columns
    drawn = load_graph("digits", seed=3)
    kept = (top_features(drawn, 20).x[0, :, None] == drawn.x[0]).any(0)  # of the first node's values, at least these
    assert int(kept.sum()) >= 20
    again = normalize_features(top_features(drawn, 20)).x[: len(half.x)]
    with torch.no_grad():
        want = msg.load_run(nodes)(again, half.edge_index).softmax(-1)
    assert np.allclose(found["probability"], want.numpy(), atol=1e-5)


def test_a_graph_of_one_node_needs_no_split(nodes, tmp_path):
    first = load_graph("digits").subgraph(torch.tensor([0]))
    found = predict(nodes, dataset=written(tmp_path / "one.npz", first)).columns
    assert len(found["probability"]) == 1


def test_links_are_those_that_were_measured(links):
    trained = load_trained(links)
    part = trained.task.parts["test"]
    found = predict(links, pairs=part.edge_label_index.t()).columns
    best = max(range(2), key=lambda seed: trained.results["val"]["per_seed"][seed])
    auc = roc_auc_score(part.edge_label, found["probability"])
    assert auc == pytest.approx(trained.results["test"]["per_seed"][best])
    assert (found["source"] == part.edge_label_index[0].numpy()).all()


def test_all_edges_of_another_graph_pass_messages(links, tmp_path):
    data, pairs = load_graph("karate"), np.array([[0, 1], [5, 30]])
    found = predict(links, dataset=written(tmp_path / "k.npz", data), pairs=pairs).columns["probability"]
    model = msg.load_run(links)
    with torch.no_grad():
        z = model(data.x, data.edge_index)
        want = (2 - model.manifold.dist(z[pairs[:, 0]], z[pairs[:, 1]]) ** 2).sigmoid()
    assert np.allclose(found, want.numpy(), atol=1e-5)


def test_files(nodes, links, tmp_path):
    found = predict(nodes)
    found.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as kept:
        assert all((kept[name] == column).all() for name, column in found.columns.items())
    found.save(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("node,class,probability_0,")
    first = [float(word) for word in lines[1].split(",")]
    assert first[2:] == pytest.approx(found.columns["probability"][0].tolist(), rel=1e-6)
    assert len(lines) == len(found) + 1
    predict(links, pairs=[[0, 1], [2, 3]]).save(tmp_path / "b.csv")
    assert read_pairs(tmp_path / "b.csv").tolist() == [[0, 1], [2, 3]]  # what was written can be asked again
    with pytest.raises(ValueError, match=r"a\.txt must end in \.csv or \.npz"):
        found.save(tmp_path / "a.txt")


def test_empty_lines_and_the_mark_of_an_encoding_are_no_pairs(tmp_path):
    for text in ("source,target\n0,1\n2,3\n\n", "0,1\n\n2,3\n , \n"):
        for mark in ("", "\ufeff"):
            (tmp_path / "p.csv").write_text(mark + text, encoding="utf-8")
            assert read_pairs(tmp_path / "p.csv").tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no pairs"),
        ("source,target\n", "has no pairs"),
        ("0,1\n2\n", "line 2, is no pair"),
        ("0,1\n2,-3\n", "line 2, is no pair"),
        ("a,b\n0,x\n", "line 2, is no pair"),
        ("0,99999999999999999999\n", "line 1, is no pair"),
        ("1.0,2.0\n3,4\n", "line 1, is no pair"),
        ("-1,-2\n3,4\n", "line 1, is no pair"),
    ],
)
def test_pairs_that_are_none(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "p.csv")


def test_graphs_are_those_that_were_measured(tmp_path):
    options = {"dataset": "motifs", "task": "graph-classification", "model": "gin", "baseline": "none"}
    run(RunConfig(**options, epochs=2, seeds=(0,), layers=2), tmp_path / "run")
    trained, found = load_trained(tmp_path / "run"), predict(tmp_path / "run").columns
    task = trained.task
    assert list(found) == ["graph", "class", "probability"]
    assert len(found["graph"]) == len(task.y) > 1
    test = task.masks["test"].numpy()
    assert (found["class"][test] == task.y.numpy()[test]).mean() == pytest.approx(trained.results["test"]["mean"])
    again = predict(tmp_path / "run", dataset="motifs").columns
    assert np.allclose(again["probability"], found["probability"], atol=1e-6)
    with pytest.raises(ValueError, match="classifies graphs, so pairs cannot be given"):
        predict(tmp_path / "run", pairs=[[0, 1]])
    with pytest.raises(ValueError, match=r"classifies graphs.*use msg predict"):
        export(tmp_path / "run", tmp_path / "p.pt2")


def test_mistakes(nodes, links, tmp_path):
    with pytest.raises(ValueError, match="classifies nodes, so pairs cannot be given"):
        predict(nodes, pairs=[[0, 1]])
    with pytest.raises(ValueError, match="scores pairs of nodes: say which, with --pairs"):
        predict(links)
    with pytest.raises(ValueError, match=r"refer to node 34 \(smallest: 0\), but there are 34"):
        predict(links, pairs=[[0, 34]])
    with pytest.raises(ValueError, match="integers of shape"):
        predict(links, pairs=[[0.0, 1.0]])
    with pytest.raises(ValueError, match="integers of shape"):
        predict(links, pairs=[[False, True]])  # no numbers 0 and 1
    with pytest.raises(ValueError, match=r"karate has 34 features, but the run in .* was trained on 64"):
        predict(nodes, dataset="karate")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        predict(tmp_path)


def test_the_network_alone(nodes):
    model, trained = msg.load_run(str(nodes)), load_trained(nodes)
    assert not model.training
    with torch.no_grad():
        assert torch.equal(
            model(trained.task.x, trained.task.edge_index), trained.model(trained.task.x, trained.task.edge_index)
        )


def test_a_network_of_another_configuration_is_refused(links, nodes, tmp_path):
    for name in ("config.json", "results.json"):
        (tmp_path / name).write_bytes((nodes / name).read_bytes())
    (tmp_path / "best.pt").write_bytes((links / "best.pt").read_bytes())
    with pytest.raises(ValueError, match=r"best\.pt was not made with the config\.json"):
        msg.load_run(tmp_path)
