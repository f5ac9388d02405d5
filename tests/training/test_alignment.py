import copy
from dataclasses import dataclass

import pytest
import torch
from torch_geometric.nn import GCN, GATConv

from msg.gradients import DvM, SurrogateBPTT
from msg.neurons import IF, Sigmoid
from msg.nn import MSG, SpikingGNN
from msg.training import Augmentation, NodeClassification, gradient_alignment


def network(karate, rule, model=MSG, **options):
    torch.manual_seed(3)
    sizes = (karate.num_features, karate.num_classes)
    space = {"manifold": "H6"} if model is MSG else {"hidden_channels": 6}
    return model(*sizes, **space, gradient=rule, neuron=IF(threshold=0.05), timesteps=5, **options)


@pytest.mark.parametrize("conv", ["gcn", "sage", "gin"])
@pytest.mark.parametrize("model", [MSG, SpikingGNN])
def test_exact_bptt_agrees_with_itself(karate, model, conv):
    rule = SurrogateBPTT(Sigmoid(3.0), detach_reset=False)
    network_ = network(karate, rule, model, conv=conv, dropout=0.5)
    found = gradient_alignment(network_, NodeClassification(karate), rule)
    assert found == pytest.approx([1.0] * len(found))
    assert len(found) == (3 if model is MSG else 4)


@pytest.mark.parametrize(
    ("options", "augmentation"),
    [
        ({}, Augmentation(drop_edge=0.5)),
        ({}, Augmentation(input_dropout=0.5)),
        ({"conv": lambda i, o: GATConv(i, o, dropout=0.6)}, Augmentation()),
    ],
    ids=["edges", "features", "attention"],
)
def test_what_is_drawn_at_random_is_drawn_alike_for_both(karate, options, augmentation):
    model, task = network(karate, SurrogateBPTT(), **options), NodeClassification(karate, augmentation=augmentation)
    state = torch.get_rng_state()
    assert gradient_alignment(model, task) == pytest.approx([1.0] * 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert gradient_alignment(network(karate, DvM()), task)[-1] == pytest.approx(1.0)


def test_dvm_is_exact_in_the_last_layer_alone(karate):
    found = gradient_alignment(network(karate, DvM()), NodeClassification(karate))
    assert found[-1] == pytest.approx(1.0)
    assert all(-1 < cosine < 0.999 for cosine in found[:-1])


def test_it_is_the_cosine_of_what_backward_computes(karate):
    task, model = NodeClassification(karate), network(karate, DvM(), dropout=0.4)
    found = gradient_alignment(model, task)
    pairs = []
    for rule in (DvM(), SurrogateBPTT()):
        plain = network(karate, rule)  # the same weights, no dropout
        task.loss(plain, *task.batches(1)).backward()
        pairs.append([layer.synapse.conv.lin.weight.grad for layer in plain.stack.layers])
    wanted = [float(torch.cosine_similarity(g.flatten(), h.flatten(), dim=0)) for g, h in zip(*pairs)]
    assert found == pytest.approx(wanted, abs=1e-5)


def test_a_model_without_a_rule_is_refused(karate):
    with pytest.raises(ValueError, match="GCN has no gradient rule to compare"):
        gradient_alignment(GCN(karate.num_features, 8, 2, 4), NodeClassification(karate))


def test_the_model_is_left_alone(karate):
    model = network(karate, DvM(), dropout=0.4).eval()
    before = copy.deepcopy(model.state_dict())
    gradient_alignment(model, NodeClassification(karate))
    assert not model.training
    assert model.gradient == DvM()
    assert model.path.dropout.p == model.head.dropout.p == 0.4
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_gradient_that_points_nowhere_has_no_cosine(karate):
    silent = network(karate, DvM())
    for layer in silent.stack.layers[:-1]:
        layer.neuron.threshold = 1e6
    assert gradient_alignment(silent, NodeClassification(karate))[1:] == [None, None]

    @dataclass
    class Endless(NodeClassification):
        data: object

        def __post_init__(self):
            super().__init__(self.data)

        def loss(self, model, batch):
            return super().loss(model, batch) * float("inf")

    assert gradient_alignment(network(karate, DvM()), Endless(karate)) == [None] * 3
