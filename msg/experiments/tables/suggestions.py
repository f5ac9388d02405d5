"""Which settings are tried next: a tree-structured Parzen estimator that sees batches of what was tried before."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from msg.experiments.tables.spaces import Between, Choice, Dimension, Scalar, Space

_AT_RANDOM = 8
"""So many trials are drawn before any is modelled."""


def suggest(
    space: Space,
    told: Sequence[tuple[Mapping[str, Scalar], float | None]],
    count: int,
    beginnings: Sequence[Mapping[str, Scalar]] = (),
) -> list[dict[str, Scalar]]:
    """A batch of settings. It depends on what is told alone, so a search that was killed goes on as it would have.

    The very first are the beginnings; without any, those that every dimension calls so. The others are drawn at random,
    then by the estimator of `Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization
    <https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization>`_ as Optuna has it, over all
    dimensions together; settings of the same batch are taken for bad ones, so that they differ.

    Args:
        space: what is searched.
        told: settings that were tried, with their metric, ``None`` where there is none; larger is better.
        count: how many are wanted.
        beginnings: whole settings that are tried before any other.
    """
    import optuna

    if not space:
        return [{} for _ in range(count)]
    dimensions = {name: _distribution(dimension) for name, dimension in space.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=_AT_RANDOM, multivariate=True, constant_liar=True, seed=len(told)
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for settings, value in told:
            # of what has no metric it is known that it is worse than all that have one
            state = optuna.trial.TrialState.PRUNED if value is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(params=dict(settings), distributions=dimensions, value=value, state=state)
            )
        asked = [study.ask(dimensions).params for _ in range(count)]
    found = [{name: space[name].settled(one[name]) for name in space} for one in asked]
    known = beginnings or ({name: dimension.first for name, dimension in space.items()},)
    ahead = [dict(one) for one in known[len(told) : len(told) + count]]
    return [*ahead, *found[len(ahead) :]]


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    assert isinstance(dimension, Between)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
