import pytest
import torch
from sklearn.feature_selection import SelectKBest, chi2
from torch_geometric.data import Data

from msg.datasets import normalize_features, top_features

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta")


def graph(features=7, nodes=40):
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 3, (nodes, features), generator=generator).float()
    y = torch.randint(0, 3, (nodes,), generator=generator)
    x[:, 2] += 4 * (y == 1)
    x[:, 5] += 4 * (y == 2)
    x[:, 3] = 0
    train = torch.zeros(nodes, dtype=torch.bool)
    train[: nodes // 2] = True
    return Data(x=x, edge_index=torch.zeros(2, 0, dtype=torch.long), y=y, train_mask=train)


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_the_features_that_scikit_learn_would_keep(count):
    data = graph()
    mask = data.train_mask
    oracle = SelectKBest(chi2, k=count).fit(data.x[mask].numpy(), data.y[mask].numpy())
    assert torch.equal(top_features(data, count).x, data.x[:, torch.from_numpy(oracle.get_support())])
    if count == 2:
        assert torch.equal(top_features(data, 2).x, data.x[:, [2, 5]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo, torch.sparse_csc])
def test_sparse_features_stay_sparse(layout, dtype):
    data = graph()
    sparse = data.clone()
    sparse.x = data.x.to(dtype).to_sparse(layout=layout)
    found = top_features(sparse, 3)
    assert found.x.layout == torch.sparse_csr
    assert found.x.dtype == dtype
    assert torch.equal(found.x.to_dense(), top_features(data, 3).x.to(dtype))
    assert torch.equal(sparse.x.to_dense(), data.x.to(dtype))


def test_labels_of_other_nodes_are_not_read_and_the_graph_is_not_changed():
    data, other = graph(), graph()
    other.y[~other.train_mask] = 0
    assert torch.equal(top_features(data, 2).x, top_features(other, 2).x)
    assert data.x.size(1) == 7
    assert top_features(data, 2).y is data.y


@pytest.mark.parametrize("count", [0, 8])
def test_impossible_counts(count):
    with pytest.raises(ValueError, match=f"top_features must be in 1..7, the number of features, not {count}"):
        top_features(graph(), count)


def test_negative_features_are_refused():
    data = graph()
    data.x[30, 1] = -1.0
    with pytest.raises(ValueError, match="needs features that are not negative, such as counts"):
        top_features(data, 2)


@pytest.mark.parametrize("convert", [torch.Tensor.byte, torch.Tensor.int, torch.Tensor.float, torch.Tensor.tolist])
def test_a_mask_of_zeros_and_ones_is_no_list_of_nodes(convert):
    data, other = graph(), graph()
    other.train_mask = convert(data.train_mask)
    assert torch.equal(top_features(other, 3).x, top_features(data, 3).x)


@pytest.mark.parametrize("convert", [torch.Tensor.byte, torch.Tensor.int, torch.Tensor.numpy, torch.Tensor.tolist])
def test_labels_and_features_of_other_types(convert):
    data, other = graph(), graph()
    other.y, other.x = convert(data.y), convert(data.x)
    assert torch.equal(top_features(other, 3).x.double(), top_features(data, 3).x.double())


def test_what_are_no_labels_or_masks_is_refused():
    data = graph()
    data.train_mask = torch.arange(20)
    with pytest.raises(ValueError, match=r"train_mask of shape .* from a list of nodes make mask"):
        top_features(data, 2)
    data = graph()
    data.y = data.y / 2
    with pytest.raises(ValueError, match=r"labels of type torch\.float32, not integers"):
        top_features(data, 2)
    with pytest.raises(ValueError, match=r"top_features must be in 1\.\.7"):
        top_features(graph(), 2.5)


@pytest.mark.parametrize("layout", [torch.strided, torch.sparse_csr, torch.sparse_coo])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float64])
def test_counts_are_divided_by_their_sum(layout, dtype):
    counts = torch.tensor([[1, 1, 0], [0, 2, 6], [0, 0, 0]], dtype=dtype)
    data = Data(x=counts if layout == torch.strided else counts.to_sparse(layout=layout))
    found = normalize_features(data).x
    assert found.dtype == (dtype if dtype.is_floating_point else torch.float32)
    want = torch.tensor([[0.5, 0.5, 0], [0, 0.25, 0.75], [0, 0, 0]], dtype=found.dtype)
    assert torch.equal(found.to_dense(), want)
    assert data.x.dtype == dtype
