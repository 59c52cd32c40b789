"""Confidence intervals of means by resampling."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000


class Interval(NamedTuple):
    """The 95 % percentile interval."""

    low: float
    high: float


def weighted_mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Mean of `values`, nan if there are none."""
    return float(np.average(values, weights=weights)) if len(values) else float("nan")


def interval(
    values: Sequence[float],
    clusters: Sequence[object],
    weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Interval | None:
    """95 % percentile bootstrap interval of the weighted mean (Efron, 1979).

    Whole clusters are drawn with replacement, since several values of one pair of voices are not independent. Pairs
    that share a voice are treated as independent: the interval speaks of these voices, not of all voices.

    Args:
        values: (n,) finite numbers.
        clusters: (n,) what each value belongs to (a pair of voices).
        weights: (n,), default 1.
        seed: the same numbers give the same interval.

    Returns:
        None with fewer than two clusters.
    """
    index = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    if len(index) < 2:
        return None
    member = np.array([index[name] for name in clusters])
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    sums = np.bincount(member, weights=weight * np.asarray(values, dtype=float))
    totals = np.bincount(member, weights=weight)
    drawn = np.random.default_rng(seed).integers(len(index), size=(RESAMPLES, len(index)))
    means = sums[drawn].sum(axis=1) / totals[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(low), float(high))
