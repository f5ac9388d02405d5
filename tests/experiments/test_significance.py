import math

import numpy as np
import pytest
from scipy import stats

from msg.experiments.significance import against_best, holm, paired_p

FIRST = {100: 0.91, 101: 0.93, 102: 0.90, 103: 0.95, 104: 0.92}
SECOND = {104: 0.91, 103: 0.93, 102: 0.90, 101: 0.90, 100: 0.90, 7: 0.1}


def test_it_is_the_paired_t_test_over_shared_seeds():
    seeds = [100, 101, 102, 103, 104]
    a, b = ([one[seed] for seed in seeds] for one in (FIRST, SECOND))
    assert paired_p(FIRST, SECOND) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    difference = np.subtract(a, b)
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(5))
    assert paired_p(FIRST, SECOND) == pytest.approx(2 * stats.t.sf(t, df=4))


def test_rows_without_spread_or_shared_seeds():
    assert paired_p(FIRST, FIRST) == 1.0
    assert paired_p({0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.25}) == 0.0
    assert paired_p({0: 0.5, 1: 0.5}, {1: 0.25, 2: 0.25}) is None


def test_holm_by_hand():
    # the smallest times 4, the next times 3, ..., never less than the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_against_the_best_mean():
    best, ps = against_best({"a": SECOND | {7: 0.91}, "b": FIRST, "none": {}, "apart": {5: 0.2}})
    assert best == "b"
    assert ps == {"a": pytest.approx(paired_p(FIRST, SECOND))}
    assert against_best({"none": {}}) == (None, {})
