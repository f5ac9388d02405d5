"""
Which manifold fits a graph?
============================

Distances in a tree grow like those in hyperbolic space, distances along a ring like those
on a circle. An embedding of the shortest paths shows it without any model.
"""
# sphinx_gallery_thumbnail_number = 2

import networkx
import torch
from matplotlib.figure import Figure

from msg.geometry import embed, plot_embedding

GRAPHS = {
    "binary tree": networkx.balanced_tree(2, 5),
    "ring": networkx.cycle_graph(40),
    "grid": networkx.convert_node_labels_to_integers(networkx.grid_2d_graph(7, 7)),
}
SPACES = ["E2", "H2", "S2"]
STEPS = 300


def hops(graph):
    """Lengths of all shortest paths."""
    return networkx.floyd_warshall_numpy(graph)


found = {
    name: {space: embed(hops(graph), space, steps=STEPS) for space in SPACES}
    for name, graph in GRAPHS.items()
}

# %%
# The mean relative error of distances in each plane: the lower, the better the space
# fits.

figure = Figure(figsize=(7, 3), layout="constrained")
axes = figure.subplots()
for place, space in enumerate(SPACES):
    errors = [spaces[space].distortion for spaces in found.values()]
    axes.bar(
        [number + 0.25 * place for number in range(len(found))],
        errors,
        width=0.22,
        label=space,
    )
axes.set(
    ylabel="relative error of distances",
    xticks=[number + 0.25 for number in range(len(found))],
)
axes.set_xticklabels(list(found))
axes.legend()

# %%
# The tree in the disk, coloured by depth.

depth = torch.tensor(
    list(networkx.single_source_shortest_path_length(GRAPHS["binary tree"], 0).values())
)
figure = plot_embedding(
    found["binary tree"]["H2"].manifold, found["binary tree"]["H2"].points, depth
)
