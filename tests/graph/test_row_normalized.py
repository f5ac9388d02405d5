import torch

from msg.graph import Graph


def _dense(edge_index, weight, nodes):
    a = torch.zeros(nodes, nodes, dtype=torch.float64)
    for k, (j, i) in enumerate(edge_index.t().tolist()):
        a[i, j] += 1 if weight is None else weight[k]
    loops = {int(j) for j, i in edge_index.t().tolist() if i == j}
    a += torch.diag(torch.tensor([i not in loops for i in range(nodes)]).double())
    return a / a.sum(1, keepdim=True)


def test_each_node_is_the_mean_of_itself_and_its_neighbours(edge_index):
    x = torch.randn(7, 3, dtype=torch.float64)
    for weight in (None, torch.rand(edge_index.size(1), dtype=torch.float64)):
        graph = Graph(edge_index, weight, 7)
        want = _dense(edge_index, weight, 7) @ x
        assert torch.allclose(graph.row_normalized(torch.float64).matmul(x), want)
        assert graph.row_normalized(torch.float64) is graph.row_normalized(torch.float64)
    assert torch.equal(Graph(edge_index[:, :0], None, 7).row_normalized(torch.float64).matmul(x), x)


def test_weights_may_have_a_gradient_and_sum_to_zero(edge_index):
    weight = torch.rand(edge_index.size(1), dtype=torch.float64).requires_grad_()
    x = torch.randn(7, 3, dtype=torch.float64)
    Graph(edge_index, weight, 7).row_normalized(torch.float64).matmul(x).square().sum().backward()
    assert float(weight.grad.abs().sum()) > 0
    none = Graph(torch.tensor([[0], [1]]), torch.tensor([-1.0]), 2).row_normalized(torch.float64)
    assert torch.equal(none.matmul(x[:2]), torch.stack([x[0], 0 * x[1]]))
