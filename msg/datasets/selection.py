"""Other features: fewer, or of another scale."""

import copy
from numbers import Integral

import numpy as np
import torch
from torch_geometric.data import Data

from msg.datasets.arguments import as_int64, boolean_masks
from msg.datasets.matrices import as_scipy, sparse_tensor


def top_features(data: Data, count: int) -> Data:
    """Return a shallow copy of a graph with its ``best_features`` alone, in their order; arguments are as there."""
    return with_features(data, best_features(data, count))


def best_features(data: Data, count: int) -> np.ndarray:
    r"""Return the sorted columns of the ``count`` features of highest :math:`\chi^2`.

    The statistic compares the sum of a feature over the training nodes of each class with what it would be if feature
    and class were independent (:func:`sklearn.feature_selection.chi2`). The labels of validation and test nodes are not
    read.

    Args:
        data: a graph with ``x [N, F]``, dense or sparse, not negative, ``y [N]`` and ``train_mask [N]``.
        count: how many to keep.

    Raises:
        ValueError: if ``count`` is not in ``1..F``, a feature is negative, labels are no integers, or the mask is none.
    """
    x = torch.as_tensor(data["x"])
    if not isinstance(count, Integral) or not 1 <= count <= x.size(1):
        raise ValueError(f"top_features must be in 1..{x.size(1)}, the number of features, not {count}")
    train = boolean_masks({"train_mask": data["train_mask"]}, x.size(0))["train_mask"].numpy()
    labels = as_int64(data["y"], "labels").cpu().numpy()
    features = as_scipy(x)
    if features.min() < 0:
        raise ValueError(
            "top_features needs features that are not negative, such as counts: shift or square them first"
        )
    from sklearn.feature_selection import chi2  # brings its estimators along, which no other caller needs

    found, _ = chi2(features[train], labels[train])
    scores = np.nan_to_num(found, nan=-1.0)  # of a feature that no training node has
    # stable, so that the choice among equals does not depend on the machine
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def with_features(data: Data, columns: np.ndarray) -> Data:
    """Return a shallow copy of a graph with some of its features, dense or sparse (then they become CSR)."""
    x, result = torch.as_tensor(data["x"]), copy.copy(data)
    if x.layout == torch.strided:
        result.x = x[:, torch.from_numpy(columns).to(x.device)]
    else:
        result.x = sparse_tensor(as_scipy(x)[:, columns]).to(x)
    return result


def normalize_features(data: Data) -> Data:
    r"""Return a shallow copy of a graph with each node's features divided by their sum, :math:`x_{vf}/\sum_g |x_{vg}|`.

    Of counts the same as :class:`torch_geometric.transforms.NormalizeFeatures`, which leaves sums below 1 and subtracts
    the least feature. Sparse features stay sparse. A node without features keeps none.

    Args:
        data: a graph with ``x [N, F]``, dense or sparse.
    """
    x, result = torch.as_tensor(data["x"]), copy.copy(data)
    x = x if x.is_floating_point() else x.float()  # quotients of counts
    if x.layout == torch.strided:
        result.x = torch.nn.functional.normalize(x, p=1.0, dim=-1)
        return result
    features = as_scipy(x)
    total = np.asarray(abs(features).sum(1)).reshape(-1, 1)
    result.x = sparse_tensor(features.multiply(1 / np.maximum(total, 1e-12)).tocsr()).to(x)
    return result
