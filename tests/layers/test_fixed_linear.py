import copy

import pytest
import torch
from torch import nn

from msg.datasets import load_graph
from msg.energy import count
from msg.experiments import RunConfig
from msg.experiments.build import build_model
from msg.gradients import SurrogateBPTT
from msg.layers import FixedLinear, make_classifier
from msg.names import MODELS as MODELS_BY_NAME
from msg.nn import MSG, ClassicGNN, SpikingGNN
from msg.training import Budget, NodeClassification, Training, gradient_alignment

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_answers_are_scaled_coordinates_along_orthonormal_directions(dtype):
    layer, h = FixedLinear(7, 4, scale=3.0).to(dtype), torch.randn(5, 7, dtype=dtype)
    q = layer.directions
    torch.testing.assert_close(q @ q.t(), torch.eye(4, dtype=dtype), rtol=0, atol=1e-5)
    with torch.no_grad():
        layer.bias.copy_(torch.randn(4))
        layer.growth.fill_(0.5)
    by_hand = torch.stack([3 * torch.tensor(0.5).exp() * (h * one).sum(-1) for one in q], -1) + layer.bias
    torch.testing.assert_close(layer(h), by_hand, check_dtype=False)
    assert layer(h).dtype == dtype


def test_more_classes_than_coordinates_have_directions_of_length_one():
    layer = FixedLinear(2, 7)
    torch.testing.assert_close(layer.directions.norm(dim=-1), torch.ones(7))
    assert len(layer.directions.unique(dim=0)) == 7


def test_scale_and_bias_alone_are_learned():
    layer = FixedLinear(6, 3)
    assert {name for name, _ in layer.named_parameters()} == {"growth", "bias"}
    assert float(layer.weight.detach().norm()) == pytest.approx(10 * 3**0.5)
    torch.autograd.gradcheck(
        lambda h, g: torch.func.functional_call(layer.double(), {"growth": g}, (h,)),
        (torch.randn(4, 6, dtype=torch.float64, requires_grad=True), torch.tensor(0.2).double().requires_grad_()),
    )


def test_directions_are_kept_with_the_weights_and_drawn_anew_on_reset():
    layer = FixedLinear(6, 3)
    other = FixedLinear(6, 3)
    assert not torch.equal(layer.directions, other.directions)
    other.load_state_dict(layer.state_dict())
    h = torch.randn(2, 6)
    torch.testing.assert_close(other(h), layer(h))
    torch.testing.assert_close(copy.deepcopy(layer)(h), layer(h))
    other.reset_parameters()
    assert not torch.equal(layer.directions, other.directions)


def test_bad_sizes_and_names_are_refused():
    for bad, said in (
        ((0, 3, 1.0), "in_features must be a whole number of at least 1, not 0"),
        ((3, 0, 1.0), "out_features must be a whole number of at least 1, not 0"),
        ((3, 3, 0.0), r"scale must be positive and finite, not 0\.0"),
        ((3, 3, float("inf")), "scale must be positive and finite, not inf"),
    ):
        with pytest.raises(ValueError, match=said):
            FixedLinear(*bad)
    with pytest.raises(ValueError, match="unknown classifier 'etf': use 'linear' or 'fixed'"):
        make_classifier("etf", 3, 2)
    with pytest.raises(ValueError, match="unknown classifier"):
        MSG(5, 3, classifier="etf")
    with pytest.raises(ValueError, match="unknown classifier"):
        MSG(5, None, classifier="etf")
    with pytest.raises(ValueError, match="reads classes out itself: leave classifier='fixed' out"):
        SpikingGNN(5, 3, readout="conv", classifier="fixed")
    assert type(make_classifier("linear", 3, 2)) is nn.Linear
    assert type(ClassicGNN(5, None, classifier="fixed").lin) is nn.Linear  # there are no classes to read out


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_draw_directions_too(dtype):
    layer = FixedLinear(6, 3).to(dtype)
    layer.reset_parameters()
    q = layer.directions.float()
    torch.testing.assert_close(q @ q.t(), torch.eye(3), rtol=0, atol=0.02)


def test_a_layer_without_learned_weights_has_no_gradient_to_compare():
    karate = load_graph("karate", features="dense")
    torch.manual_seed(0)
    model = SpikingGNN(34, 4, 6, 2, 5, classifier="fixed")
    found = gradient_alignment(model, NodeClassification(karate), SurrogateBPTT())
    assert found[-1] is None
    assert found[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name in MODELS_BY_NAME for task in MODELS_BY_NAME[name].tasks]
)
def test_every_model_can_be_built_for_what_it_can_learn(name, task):
    more = {"dataset": "tiny", "batch_size": 4} if task == "graph-classification" else {}
    config = RunConfig(model=name, task=task, baseline="none", **more)
    assert isinstance(build_model(config, 5, 3), nn.Module)


MODELS = {
    "msg": lambda kind: MSG(34, 4, "H6", 2, 5, classifier=kind),
    "jumping": lambda kind: MSG(34, 4, "S3xH3", 3, 5, jumping="cat", classifier=kind),
    "spiking-gnn": lambda kind: SpikingGNN(34, 4, 6, 2, 5, classifier=kind),
    "classic": lambda kind: ClassicGNN(34, 4, 6, classifier=kind),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_learn_with_it(name):
    karate = load_graph("karate", features="dense")
    torch.manual_seed(0)
    model = MODELS[name]("fixed")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    training = Training(model, NodeClassification(karate), Budget(epochs=60, lr=0.02))
    while not training.finished:
        training.step()
    after = model.state_dict()
    kept = [key for key in after if key.endswith("directions")]
    assert len(kept) == 1
    assert torch.equal(after[kept[0]], before[kept[0]])
    assert any(key.endswith("growth") and not torch.equal(after[key], before[key]) for key in after)
    assert training.history[-1].loss < 0.7 * training.history[0].loss


@pytest.mark.parametrize("name", ["msg", "classic"])
def test_it_costs_what_a_learned_map_costs(name):
    karate = load_graph("karate", features="dense")
    torch.manual_seed(0)
    fixed, linear = (MODELS[name](kind).eval() for kind in ("fixed", "linear"))
    linear.load_state_dict({k: v for k, v in fixed.state_dict().items() if k in linear.state_dict()}, strict=False)
    found = []
    for model in (fixed, linear):
        with count(model) as ops, torch.no_grad():
            model(karate.x, karate.edge_index)
        assert not ops.unknown
        found.append(ops.total())
    assert found[0] == found[1]
