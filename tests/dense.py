"""Matrices of a graph as a slow loop over its edges fills them, for oracles."""

import torch


def counted(edge_index, nodes, weight=None):
    """``[target, source]``: how many edges lead from one to the other, or the sum of their weights; float64."""
    a = torch.zeros(nodes, nodes, dtype=torch.float64)
    for number, (source, target) in enumerate(edge_index.t().tolist()):
        a[target, source] += 1 if weight is None else weight[number]
    return a


def gcn(edge_index, nodes, weight=None):
    """Normalised from both sides; PyG's ``gcn_norm`` keeps one loop a node, its last one, of weight one without."""
    loops = torch.ones(nodes, dtype=torch.float64)
    for number, (source, target) in enumerate(edge_index.t().tolist()):
        if source == target and weight is not None:
            loops[source] = weight[number]
    a = counted(edge_index, nodes, weight)
    a = a - a.diag().diag() + loops.diag()
    scale = a.sum(1).rsqrt()
    return scale[:, None] * a * scale
