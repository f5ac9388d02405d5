"""Four threads that share one model get, each for its own graph, what one alone gets: to the bit."""

import collections
import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from msg.nn import MSG, SGC, CachedGCN, ConvergentGNN, SpikingGCN

pytestmark = pytest.mark.reliability

THREADS, OUTPUTS, GRAPHS = 4, 2000, 7
NODES, EDGES, FEATURES, CLASSES = 60, 240, 12, 4

MODELS = {
    "MSG": lambda: MSG(FEATURES, CLASSES, manifold="H8", timesteps=4),
    "SpikingGCN": lambda: SpikingGCN(FEATURES, CLASSES, timesteps=6),
    "SGC": lambda: SGC(FEATURES, CLASSES),
    "ConvergentGNN": lambda: ConvergentGNN(FEATURES, CLASSES, hidden_channels=8, steps=5),
    "CachedGCN": lambda: CachedGCN(FEATURES, 8, 3, CLASSES),
}


def graphs():
    """Graphs of one size, so that a wrong one raises no error; features dense and sparse, some edges with weights."""
    for number in range(GRAPHS):
        x = torch.rand(NODES, FEATURES) * (torch.rand(NODES, FEATURES) < 0.5)
        edge_index = torch.randint(NODES, (2, EDGES))
        weight = torch.rand(EDGES) if number % 3 == 0 else None
        yield x.to_sparse() if number % 2 else x, edge_index, weight


def fresh(graph):
    """The same graph in other tensors, which may come to lie where those of another one were."""
    return [None if part is None else part.clone() for part in graph]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("name", list(MODELS))
def test_threads_get_their_own_graph(name, mode):
    model, pool = MODELS[name]().eval(), list(graphs())
    start, found, lock = threading.Barrier(THREADS), collections.Counter(different=0, another=0), threading.Lock()

    def alone():
        torch.set_num_threads(1)
        with mode():
            # nothing that the one model remembers is there for the other
            return [copy.deepcopy(model)(*fresh(graph)) for graph in pool]

    with ThreadPoolExecutor(1) as one:
        expected = one.submit(alone).result()
    assert all(not torch.equal(a, b) for number, a in enumerate(expected) for b in expected[:number])

    def work(number):
        torch.set_num_threads(1)
        draw, seen = random.Random(number), collections.Counter()
        start.wait()
        for _ in range(OUTPUTS // THREADS):
            chosen = draw.randrange(GRAPHS)
            graph = pool[chosen] if draw.random() < 0.5 else fresh(pool[chosen])
            with mode():
                # tensors that are made in inference mode have no version
                out = model(*(fresh(graph) if draw.random() < 0.2 else graph))
            if torch.equal(out, expected[chosen]):
                seen["same"] += 1
            else:
                seen["another" if any(torch.equal(out, other) for other in expected) else "different"] += 1
        with lock:
            found.update(seen)

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, number) for number in range(THREADS)]:
            done.result()
    print(name, mode.__name__, dict(found))
    assert found == {"same": OUTPUTS, "different": 0, "another": 0}, found
