"""What the tests share: every manifold, both precisions, one small graph. A new manifold is one entry here."""

import gc
import itertools
import os
import warnings
from collections import Counter

import hypothesis
import pytest
import torch

gc.disable()  # until all is imported and collected, see below
with warnings.catch_warnings():
    # geoopt 0.5.1 and PyG script functions as they are imported, which torch 2.13 deprecates
    warnings.filterwarnings("ignore", message="`torch.jit")
    import geoopt
    import torch_geometric.nn  # noqa: F401

    from msg.manifolds import log0, parse_signature, path
    from msg.nn import MSG, SpikingGNN


def _wide(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _own(manifold, dim: int):
    return lambda: (manifold(), dim)


MANIFOLDS = {
    "E3": lambda: parse_signature("E3"),
    "H3": lambda: parse_signature("H3"),
    "S3": lambda: parse_signature("S3"),
    "P3": lambda: parse_signature("P3"),
    "U3": lambda: parse_signature("U3"),
    "L3": lambda: parse_signature("L3"),
    "H1": lambda: parse_signature("H1"),
    "S1": lambda: parse_signature("S1"),
    "U3(k<0)": _own(lambda: geoopt.Stereographic(k=_wide(-0.7), learnable=True), 3),
    "U3(k>0)": _own(lambda: geoopt.Stereographic(k=_wide(0.7), learnable=True), 3),
    "U3(k~0-)": _own(lambda: geoopt.Stereographic(k=_wide(-1e-7), learnable=True), 3),
    "U3(k~0+)": _own(lambda: geoopt.Stereographic(k=_wide(1e-7), learnable=True), 3),
    "Lorentz(k=2)": _own(lambda: geoopt.Lorentz(k=2.0, learnable=True), 3),
    "SphereProjection": _own(geoopt.SphereProjection, 3),
    "PoincareBall(c=0.5)": _own(lambda: geoopt.PoincareBall(c=0.5), 3),
    "H2xS3": lambda: parse_signature("H2xS3"),
    "E1xH2xS2xP2xU2": lambda: parse_signature("E1xH2xS2xP2xU2"),
}


# the same examples in every run where a failure must be repeatable; elsewhere new ones each time
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

if "PYTEST_XDIST_WORKER" in os.environ:
    # several processes share the cores
    torch.set_num_threads(1)


def pytest_sessionstart():
    """Of processes that begin side by side without a cache, each compiles for all what no other compiles."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker.startswith("gw"):
        return
    single, double = torch.float32, torch.float64
    if int(worker[2:]) % 2:
        models = [(SpikingGNN, "gcn", double), (SpikingGNN, "sage", double), (SpikingGNN, "sage", single)]
    else:
        models = [(MSG, "gcn", single)]
        v = torch.rand(3, 4, dtype=double, requires_grad=True)
        log0(geoopt.Lorentz(), path(geoopt.Lorentz(), [v], 0.1)).sum().backward()
    for kind, conv, dtype in models:
        x, edge_index = torch.rand(3, 4, dtype=dtype), torch.tensor([[0, 1], [1, 2]])
        kind(4, 2, timesteps=2, conv=conv).to(dtype)(x, edge_index).sum().backward()


@pytest.hookimpl(tryfirst=True)  # before those that are slow are left out
def pytest_collection_modifyitems(items):
    """Of a function marked ``covering``, those combinations that bring nothing new are slow."""
    functions = {}
    for item in items:
        if item.get_closest_marker("covering") and hasattr(item, "callspec") and not item.get_closest_marker("slow"):
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for of_one in functions.values():
        chosen = _covering([item.callspec.params for item in of_one])
        for number in set(range(len(of_one))) - chosen:
            of_one[number].add_marker(pytest.mark.slow)


def _covering(rows):
    """Numbers of few rows among which every pair of values of two parameters occurs; every value, where these are two.

    Args:
        rows: values of the parameters, by name.
    """
    columns = [[repr(row[name]) for row in rows] for name in rows[0]]
    # each value as the row where it is first seen, so that names whose values always come together are one parameter
    factors = list(dict.fromkeys(tuple(column.index(value) for value in column) for column in columns))
    values = [list(enumerate(row)) for row in zip(*factors)]
    brings = [set(itertools.combinations(row, 2 if len(factors) > 2 else 1)) for row in values]
    missing, chosen, used = set().union(*brings), set(), Counter()
    while missing:
        # of those that bring as much, what was used least: else all manifolds would be tested in the same precision
        best = max(
            range(len(rows)),
            key=lambda number: (len(brings[number] & missing), -sum(used[one] for one in values[number])),
        )
        chosen.add(best)
        used.update(values[best])
        missing -= brings[best]
    return chosen


def pytest_collection_finish():
    """What is there by now stays until the end: a full collection of garbage that walked it took half a second."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _seed():
    seed = int(os.environ.get("MSG_TEST_SEED", "0"))
    # without a GPU, torch.manual_seed notes down who asked, in case that one turns up: a fiftieth of the suite's time
    torch.manual_seed(seed) if torch.cuda.is_available() else torch.default_generator.manual_seed(seed)


@pytest.fixture
def dyadic():
    """Rounds a tensor, or all parameters of a module, to multiples of 1/64.

    Sums of few products of such numbers are exact in either precision and in any order. So the shape of a matrix, the
    threads and the instructions of a processor change no bit of a current, and rounding decides no spike.
    """

    @torch.no_grad()
    def rounded(value):
        tensors = [value] if isinstance(value, torch.Tensor) else list(value.parameters())
        for tensor in tensors:
            tensor.mul_(64).round_().div_(64)
        return value

    return rounded


@pytest.fixture(autouse=True)
def _one_thread(request):
    """Graphs that are trained on here are small: they gain nothing from threads, and lose much on a busy machine."""
    if not {"cli", "experiments", "training"} & set(request.path.parts):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _drawing(request):
    """Small runs take most of their time to draw what no test looks at: their figures are made, and not rendered."""
    if not {"cli", "experiments"} & set(request.path.parts):
        yield None
        return
    from matplotlib.figure import Figure

    drawing = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(b"not rendered"))
        yield drawing


@pytest.fixture
def rendered(_drawing, monkeypatch):
    """What a test asks for that looks at the pictures of a run."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", _drawing)


@pytest.fixture
def library():
    """Imports a module of another library, or skips the test where the extra ``neuromorphic`` is not installed."""

    def imported(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, as they are imported
            return pytest.importorskip(name, reason='needs pip install "msg-graph[neuromorphic]"')

    return imported


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=list(MANIFOLDS))
def space(request):
    """A supported manifold and its intrinsic dimension, made anew."""
    return MANIFOLDS[request.param]()


@pytest.fixture
def edge_index():
    """A directed graph on 7 nodes with a self-loop, a duplicate edge, and node 6 isolated."""
    return torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1, 1, 0], [1, 2, 0, 3, 4, 5, 3, 2, 0, 4]])
