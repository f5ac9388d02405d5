import importlib
import math
import sys

import pytest
import torch

from msg.datasets import load_graph
from msg.experiments import RunConfig, export, load_trained, predict, run
from msg.experiments.onnx_operators import FUNCTIONS, _atan2, _decompositions, _number

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore:Sparse")]
SMALL = {"dataset": "karate", "epochs": 2, "timesteps": 3, "layers": 2, "baseline": "none", "seeds": (0,)}
MADE = {
    "flat": {"manifold": "E4"},
    "hyperboloid": {"manifold": "H4"},
    "sphere": {"manifold": "S4"},
    "ball": {"manifold": "P4"},
    "stereographic": {"manifold": "U4"},
    "learned": {"manifold": "L4"},
    "product": {"manifold": "H3xS3"},
    "three": {"manifold": "H4", "layers": 3, "neuron": "lif", "conv": "gcn"},
    "attention": {"manifold": "H4", "conv": "gat"},
    "gat": {"model": "gat"},
    "links": {"manifold": "S4", "task": "link-prediction", "decoder": "plain"},
}


def made(folder, **options):
    """A finished run."""
    kept = {name: value for name, value in SMALL.items() if name != "timesteps" or "model" not in options}
    run(RunConfig(**{**kept, **options}), folder)
    return folder


def test_a_program_does_all_that_the_run_does(tmp_path):
    folder = made(
        tmp_path / "r", model="sgc", dataset="digits", top_features=20, normalize_features=True, split="random:10/10/80"
    )
    export(folder, tmp_path / "p.pt2")
    program = torch.export.load(tmp_path / "p.pt2").module()
    operators = [node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    assert {operator.namespace for operator in operators} == {"aten"}  # nothing of this library's
    data = load_graph("digits")  # as it is: the program selects and scales
    with torch.no_grad():
        found = program(data.x, data.edge_index).softmax(-1)
    assert torch.allclose(found, torch.from_numpy(predict(folder).columns["probability"]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MADE))
def test_both_formats_say_what_the_model_says(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "msg-graph[onnx]"')
    folder = made(tmp_path / "r", **MADE[name])
    export(folder, tmp_path / "p.pt2")
    export(folder, tmp_path / "p.onnx")
    trained = load_trained(folder)
    task, pairs = trained.task, torch.tensor([[0, 1, 5, 7], [2, 3, 30, 9]])
    with torch.no_grad():
        x = task.x.to_dense()  # a program reads no sparse tensors
        want = trained.model(x, task.edge_index)
        given = [x, task.edge_index]
        if name == "links":
            want, given = task.decoder(want, pairs), [*given, pairs]
        session = onnxruntime.InferenceSession(tmp_path / "p.onnx")
        inputs = {one.name: tensor.numpy() for one, tensor in zip(session.get_inputs(), given)}
        assert list(inputs) == ["x", "edge_index", "pairs"][: len(inputs)]
        programs = (
            torch.export.load(tmp_path / "p.pt2").module()(*given),
            torch.from_numpy(session.run(None, inputs)[0]),
        )
    for found in programs:
        assert torch.allclose(found, want, rtol=1e-4, atol=1e-5)
    silent = {**inputs, "x": 0 * inputs["x"]}  # where formulas are 0/0
    assert math.isfinite(session.run(None, silent)[0].sum())


def test_functions_that_are_spelt_out():
    grid = torch.cat(
        [
            torch.logspace(-40, 2, 400, dtype=torch.float64),
            torch.linspace(0.9, 1.2, 100).double(),
            torch.tensor([1e40], dtype=torch.float64),
        ]
    )
    grid = torch.cat([-grid, torch.zeros(1, dtype=torch.float64), grid])
    reach = {
        "sinh": lambda x: x[x.abs() < 100],
        "cosh": lambda x: x[x.abs() < 100],
        "acosh": lambda x: x[x >= 1],
        "atanh": lambda x: x[x.abs() < 1],
        "tan": lambda x: x[x.abs() < 1.5],
    }
    for name, function in FUNCTIONS.items():
        x = reach.get(name, lambda x: x)(grid)
        assert torch.allclose(function(x), getattr(torch, name)(x), rtol=1e-13, atol=0), name
    y, x = grid[::7, None], grid[None, ::7]
    assert torch.allclose(_atan2(y, x), torch.atan2(y, x), rtol=1e-13, atol=0)


NUMBERS = [0.0, 1.0, -0.1, math.pi, 1e-150, -1e150, 5e-324, sys.float_info.max, sys.float_info.min, math.inf, -math.inf]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_what_it_was(number):
    made = _number(number)
    assert made.dtype == torch.float64
    assert made.item() == number


class _Formula(torch.nn.Module):
    """A number in each place where one can stand."""

    def forward(self, x):
        near = torch.where(x < 0.1, 1e-150, x) + torch.where(x > math.pi, x, 0.3)
        for compare in (torch.lt, torch.le, torch.gt, torch.ge):
            near = near + compare(x, 0.7)
        return (math.pi - x.clamp(1e-150, 0.7)) * 0.1 + (x + 0.1) / 0.3 - (x - 1e-150) + near


def test_numbers_of_a_formula_are_such_as_float32_holds():
    x = torch.tensor([0.0, 0.05, 0.1, 0.7, 2.0, 9.0], dtype=torch.float64)
    program = torch.export.export(_Formula(), (x,)).run_decompositions(_decompositions())
    assert torch.equal(program.module()(x), _Formula()(x))
    numbers = [
        one for node in program.graph.nodes for one in (*node.args, *node.kwargs.values()) if isinstance(one, float)
    ]
    assert len(numbers) > 40
    assert torch.tensor(numbers, dtype=torch.float64).float().tolist() == numbers


def test_what_cannot_be_exported_says_why(tmp_path, capfd):
    structural = made(tmp_path / "s", manifold="H4", task="link-prediction", decoder="structural")
    with pytest.raises(ValueError, match="StructuralDecoder cannot be exported: it counts neighbours"):
        export(structural, tmp_path / "p.pt2")
    with pytest.raises(ValueError, match="unknown format 'h5': use 'pt2' or 'onnx'"):
        export(structural, tmp_path / "p.h5", "h5")
    drawn = made(tmp_path / "d", model="bernoulli-spikinggcn")
    with pytest.raises(ValueError, match=r"'bernoulli-spikinggcn' cannot be exported: torch\.export says"):
        export(drawn, tmp_path / "p.pt2")
    assert "graph()" not in capfd.readouterr().err  # nor is the program printed that torch could not finish
    assert not list(tmp_path.glob("p.*"))


def test_onnx_needs_its_packages(tmp_path, monkeypatch):
    folder, found = made(tmp_path / "r", model="sgc"), importlib.import_module

    def without(name, *arguments):
        if name == "onnxruntime":
            raise ImportError(name)
        return found(name, *arguments)

    pytest.importorskip("onnxscript", reason='needs pip install "msg-graph[onnx]"')
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ImportError, match=r'ONNX needs onnxruntime: pip install "msg-graph\[onnx\]"'):
        export(folder, tmp_path / "p.onnx", "onnx")
