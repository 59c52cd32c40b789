"""Confidence intervals of means, and tests of differences, by resampling."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def weighted_mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Mean of `values`, nan if there are none or none has a weight."""
    if not len(values) or (weights is not None and not np.sum(weights)):
        return float("nan")
    return float(np.average(values, weights=weights))


def interval(
    values: Sequence[float],
    clusters: Sequence[object],
    weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Interval | None:
    """95 % percentile bootstrap interval of the weighted mean (Efron, 1979).

    Whole clusters are drawn with replacement, since several values of one cluster are not independent. For conversions,
    where one value belongs to two voices and an utterance at once, see `Resampling`.

    Args:
        values: (n,) finite numbers.
        clusters: (n,) what each value belongs to (a voice).
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


class Resampling:
    """Bootstrap of conversions over voices and utterances at once: what other voices and sentences might have given.

    Every conversion belongs to a source voice, a target voice and an utterance. Each voice and each utterance draws a
    weight (exponential, mean 1), and a conversion weighs as much as its three together, multiplied (Owen and Eckles,
    "Bootstrapping data arrays of arbitrary order", Annals of Applied Statistics 2012). A voice keeps its weight
    whether it is source or target. The spread of the weighted means is the standard error; the interval is Student's,
    with one degree of freedom less than there are voices. Where voices or sentences matter it covers about 95 %
    (`tests/evaluation/test_bootstrap.py` counts); where nothing but noise differs, it is wider than it need be.

    Args:
        sources, targets: (n,) voices of each conversion.
        utterances: (n,) what is said in each.
        seed: the same numbers give the same interval.
    """

    def __init__(
        self, sources: Sequence[object], targets: Sequence[object], utterances: Sequence[object], seed: int = 0
    ) -> None:
        draws = np.random.default_rng(seed)
        sides = [_places(sources), _places(targets)]
        several = [places for places, side in zip(sides, (sources, targets), strict=True) if len(set(side)) > 1]
        self.voices = min((len(set(places)) for places in several), default=0)  # of the side with fewer
        both = _places([*sources, *targets])
        own = draws.exponential(size=(RESAMPLES, len(set(both))))
        weight = np.ones((RESAMPLES, len(sources)))
        for side, places in zip((sources, targets), np.split(np.array(both), 2) if len(both) else [], strict=False):
            if len(set(side)) > 1:
                weight *= own[:, places]
        said = _places(utterances)
        if len(set(said)) > 1:
            weight *= draws.exponential(size=(RESAMPLES, len(set(said))))[:, said]
        self.weight: NDArray[np.float64] = weight

    def error(self, values: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Standard error of the weighted mean of values (n,), without those that are not finite; nan if unknown."""
        value = np.asarray(values, float)
        used = np.isfinite(value)
        if self.voices < 2 or not used.any():
            return float("nan")
        weight = self.weight[:, used]
        if weights is not None:
            weight = weight * np.asarray(weights, float)[used]
        # weights that sum to one are a little too even: their spread is that of n + 1 voices, and the truth's of n - 1
        correction = np.sqrt((self.voices + 1) / (self.voices - 1))
        with np.errstate(invalid="ignore"):
            return float((weight @ value[used] / weight.sum(1)).std() * correction)

    def interval(self, values: Sequence[float], weights: Sequence[float] | None = None) -> Interval | None:
        """95 % interval of the weighted mean, not beyond the smallest and the largest value; None with one voice."""
        used = [i for i, value in enumerate(values) if np.isfinite(value)]
        error = self.error(values, weights)
        if not np.isfinite(error):
            return None
        finite = [values[i] for i in used]
        mean = weighted_mean(finite, None if weights is None else [weights[i] for i in used])
        reach = _student(self.voices - 1) * error
        return Interval(float(max(mean - reach, min(finite))), float(min(mean + reach, max(finite))))

    def p_value(self, differences: Sequence[float], weights: Sequence[float] | None = None) -> float:
        """How likely a mean difference this far from 0 is, were there none; two-sided; nan if that cannot be told."""
        from scipy.stats import t

        used = [i for i, value in enumerate(differences) if np.isfinite(value)]
        error = self.error(differences, weights)
        if not np.isfinite(error):
            return float("nan")
        mean = weighted_mean([differences[i] for i in used], None if weights is None else [weights[i] for i in used])
        if error < 1e-12:
            return 1.0 if abs(mean) < 1e-12 else 0.0
        return float(2 * t.sf(abs(mean) / error, self.voices - 1))


def _places(names: Sequence[object]) -> list[int]:
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [index[name] for name in names]


def _student(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
