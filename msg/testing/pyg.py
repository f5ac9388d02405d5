"""What PyTorch Geometric asks of its own models of nodes, demand by demand."""

import copy
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import to_torch_coo_tensor, to_torch_csr_tensor

from msg.graph import NeighborSampler
from msg.models import LayeredNetwork
from msg.testing.demand import demand


class Case(NamedTuple):
    """A model with an input that it reads.

    Attributes:
        make: makes the model anew, with parameters drawn from torch's generator.
        x: features, float32 ``[N, F]``.
        edge_index: ``[2, E]``, sorted by source, with neither duplicates nor self-loops.
    """

    make: Callable[[], nn.Module]
    x: Tensor
    edge_index: Tensor

    def model(self) -> Any:
        """The same model each time, in evaluation mode."""
        torch.manual_seed(0)
        return self.make().eval()


def _close(got: Tensor, want: Tensor, what: str) -> None:
    demand(got.shape == want.shape, f"{what}: of shape {list(want.shape)}, not {list(got.shape)}")
    # a current within rounding of a threshold may fire in one order of additions only
    same = (got - want).abs().amax(-1) <= 1e-4 * (1 + want.abs().amax(-1))
    demand(float(same.double().mean()) > 0.8, f"{what}: the same output")


def _shape(case: Case) -> None:
    out = case.model()(case.x, case.edge_index)
    demand(out.dim() == 2 and out.size(0) == len(case.x) and out.dtype == case.x.dtype, "a row a node, of its dtype")


def _edge_weight(case: Case) -> None:
    model, weight = case.model(), torch.linspace(0.1, 2, case.edge_index.size(1))
    ones, other = (model(case.x, case.edge_index, edge_weight=w) for w in (torch.ones_like(weight), weight))
    _close(ones, model(case.x, case.edge_index), "weights of one")
    demand(not torch.allclose(ones, other), "weights are read")


def _adj_t(case: Case) -> None:
    model, nodes = case.model(), len(case.x)
    want = model(case.x, case.edge_index)
    for make in (to_torch_csr_tensor, to_torch_coo_tensor):
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Sparse CSR tensor support is in beta state", category=UserWarning
            )
            adj_t = make(case.edge_index.flip(0), size=(nodes, nodes))
        _close(model(case.x, adj_t), want, f"adj_t, {adj_t.layout}")


def _weighted_adj_t(case: Case) -> None:
    model, nodes = case.model(), len(case.x)
    weight = torch.linspace(0.1, 2, case.edge_index.size(1))
    adj_t = to_torch_coo_tensor(case.edge_index.flip(0), weight, (nodes, nodes))
    _close(model(case.x, adj_t), model(case.x, case.edge_index, edge_weight=weight), "weighted adj_t")


def _edge_index(case: Case) -> None:
    model, nodes = case.model(), len(case.x)
    edges = EdgeIndex(case.edge_index, sparse_size=(nodes, nodes), sort_order="row")  # pyright: ignore[reportCallIssue]
    _close(model(case.x, edges), model(case.x, case.edge_index), "EdgeIndex")


def _batch(case: Case) -> None:
    """Two graphs side by side are each what they are alone; models that norm over nodes say so in their table."""
    model, nodes = case.model(), len(case.x)
    # another graph: what mixes nodes by a mean over all of them gives two alike what it gives one
    x, edge_index = 0.5 * case.x.flip(0), case.edge_index[:, ::2]
    out = model(torch.cat([case.x, x]), torch.cat([case.edge_index, edge_index + nodes], dim=1))
    _close(out[:nodes], model(case.x, case.edge_index), "first of a batch")
    _close(out[nodes:], model(x, edge_index), "second of a batch")


def _batch_size(case: Case) -> None:
    model = case.model()
    _close(model(case.x, case.edge_index, batch_size=3)[:3], model(case.x, case.edge_index)[:3], "batch_size")


def _loader(case: Case, hops: int, batch_size: int) -> NodeLoader:
    data = Data(x=case.x, edge_index=case.edge_index)
    return NodeLoader(data, NeighborSampler(data, [-1] * hops), batch_size=batch_size)


def _trimming(case: Case) -> None:
    model = case.model()
    hops = model.hops if isinstance(model, LayeredNetwork) else model.num_layers
    batch = next(iter(_loader(case, hops, 2)))
    want = model(batch.x, batch.edge_index)[:2]
    trimmed = model(
        batch.x,
        batch.edge_index,
        num_sampled_nodes_per_hop=batch.num_sampled_nodes,
        num_sampled_edges_per_hop=batch.num_sampled_edges,
    )
    _close(trimmed[:2], want, "trimmed layers")


def _inference(case: Case) -> None:
    model = case.model()
    with torch.no_grad():
        _close(model.inference(_loader(case, 1, 4)), model(case.x, case.edge_index), "inference")


def _compile(case: Case) -> None:
    model = case.model()
    want = model(case.x, case.edge_index)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    got = compiled(case.x, case.edge_index)
    _close(got, want, "compiled")
    got.square().sum().backward()
    demand(any(p.grad is not None for p in model.parameters()), "gradients reach weights through compiled code")
    torch._dynamo.reset()


def _export(case: Case) -> None:
    model, nodes = case.model(), torch.export.Dim("nodes", min=3)
    shapes = ({0: nodes}, {1: torch.export.Dim("edges", min=3)})
    with torch.no_grad():
        program = torch.export.export(model, (case.x, case.edge_index), dynamic_shapes=shapes).module()
        operators = [node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
        demand({operator.namespace for operator in operators} <= {"aten"}, "exported to operators of torch alone")
        for rows in (len(case.x), len(case.x) - 1):  # another graph than it was exported with
            kept = case.edge_index[:, (case.edge_index < rows).all(0)]
            _close(program(case.x[:rows], kept), model(case.x[:rows], kept), "exported")


def _func(case: Case) -> None:
    model = case.model()
    model, x = model.double(), case.x.double()  # both ways add up in their own order
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, parameters, (x, case.edge_index)).square().sum()

    found = torch.func.grad(loss)({name: p.detach() for name, p in learned.items()})
    loss(learned).backward()
    _same_gradients(found, model, "torch.func.grad is backward's of")


def _same_gradients(found: Mapping[str, Tensor], model: nn.Module, promise: str) -> None:
    """What was found, of each parameter that learns, is what ``backward`` left; nothing there stands for zeros."""
    for name, p in model.named_parameters():
        if p.requires_grad:
            want = torch.zeros_like(p) if p.grad is None else p.grad
            demand(torch.allclose(found[name], want, rtol=1e-6, atol=1e-8), f"{promise} {name}")


def _vmap(case: Case) -> None:
    models = [case.model(), case.make().eval(), case.make().eval()]
    models, x = [model.double() for model in models], case.x.double() / 4  # no point at a radius bound, which is a kink
    state, buffers = torch.func.stack_module_state(models)
    learned = {name: state.pop(name) for name, p in models[0].named_parameters() if p.requires_grad}

    def loss(learned: dict[str, Tensor], rest: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        out = torch.func.functional_call(models[0], {**learned, **rest}, (x, case.edge_index))
        return out.square().sum(), out

    found, out = torch.vmap(torch.func.grad(loss, has_aux=True))(learned, {**state, **buffers})
    for number, model in enumerate(models):
        want = model(x, case.edge_index)
        demand(torch.allclose(out[number], want), "many models at once have the outputs of each")
        want.square().sum().backward()
        each = {name: gradients[number] for name, gradients in found.items()}
        _same_gradients(each, model, "many models at once have each one's gradient of")


def _autocast(case: Case) -> None:
    model = case.model().train()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(case.x, case.edge_index)
        out.float().square().sum().backward()
        narrow = model(case.x.bfloat16(), case.edge_index)
    demand(out.dtype in (torch.bfloat16, torch.float32), "autocast gives bfloat16, or float32 where sums are last")
    demand(bool(out.isfinite().all()), "autocast is finite")
    demand(narrow.dtype == out.dtype and bool(narrow.isfinite().all()), "autocast takes narrow features")
    demand(
        all(p.grad is None or p.grad.dtype == p.dtype for p in model.parameters()), "gradients of the weights' dtype"
    )


def _half(case: Case) -> None:
    want = case.model()(case.x, case.edge_index)
    for kind in (torch.bfloat16, torch.float16):
        out = case.model().to(kind)(case.x.to(kind), case.edge_index)
        demand(out.dtype == kind and bool(out.isfinite().all()), f"{kind} in, {kind} out")
        demand(out.shape == want.shape, f"{kind}: of the same shape")


def _explain(case: Case) -> None:
    explainer = Explainer(
        case.model(),
        GNNExplainer(epochs=3),
        explanation_type="model",
        node_mask_type="attributes",
        edge_mask_type="object",
        model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )
    explanation: Any = explainer(case.x, case.edge_index)
    demand(explanation.edge_mask.shape == case.edge_index.shape[1:], "a mask of edges")
    demand(explanation.node_mask.shape == case.x.shape, "a mask of features")


def _conv_hooks(case: Case) -> None:
    model, ran = case.model(), set()
    want = model(case.x, case.edge_index)
    convs = [module for module in model.modules() if isinstance(module, MessagePassing)]
    demand(bool(convs), "there are convolutions of PyG's")
    for conv in convs:
        conv.register_forward_hook(lambda conv, *_: ran.add(conv))
    _close(model(case.x, case.edge_index), want, "with hooks")
    demand(len(ran) == len(convs), "hooks on convolutions fire")


def _attributes(case: Case) -> None:
    model = case.model()
    for name in ("in_channels", "out_channels", "num_layers", "dropout"):
        demand(hasattr(model, name), f"{name} is an attribute")


def _repr(case: Case) -> None:
    text = repr(case.model())
    demand(text.startswith(type(case.model()).__name__ + "(") and "\n" not in text, "one line when printed")


def _reset_parameters(case: Case) -> None:
    model = case.model()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.dim() > 1}
    model.reset_parameters()
    after = dict(model.named_parameters())
    demand(all(not torch.equal(after[name], p) for name, p in before.items()), "all weights are drawn anew")


def _state_dict(case: Case) -> None:
    model, buffer = case.model(), io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = case.make().eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    demand(torch.equal(other(case.x, case.edge_index), model(case.x, case.edge_index)), "state_dict is all of it")


def _deepcopy(case: Case) -> None:
    model = case.model()
    twin = copy.deepcopy(model)
    demand(torch.equal(twin(case.x, case.edge_index), model(case.x, case.edge_index)), "a copy gives the same")


DEMANDS: Mapping[str, Callable[[Case], None]] = {
    "shape": _shape,
    "edge_weight": _edge_weight,
    "adj_t": _adj_t,
    "weighted adj_t": _weighted_adj_t,
    "EdgeIndex": _edge_index,
    "batch": _batch,
    "batch_size": _batch_size,
    "trimming": _trimming,
    "inference": _inference,
    "compile": _compile,
    "export": _export,
    "torch.func": _func,
    "torch.vmap": _vmap,
    "autocast": _autocast,
    "half": _half,
    "explain": _explain,
    "hooks": _conv_hooks,
    "attributes": _attributes,
    "repr": _repr,
    "reset_parameters": _reset_parameters,
    "state_dict": _state_dict,
    "deepcopy": _deepcopy,
}
"""What PyG's ``BasicGNN`` does, by name: each raises ``AssertionError`` with the promise that is broken."""


def assert_demand(name: str, make: Callable[[], nn.Module], x: Tensor, edge_index: Tensor) -> None:
    """Assert one of the :data:`DEMANDS` of a model.

    Args:
        name: of the demand.
        make: makes the model anew, with parameters drawn from torch's generator.
        x: features it reads, float32 ``[N, F]``, at least five nodes.
        edge_index: ``[2, E]``, sorted by source, with neither duplicates nor self-loops.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    DEMANDS[name](Case(make, x, edge_index))
