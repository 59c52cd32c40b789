"""Confidence intervals of means, and tests of differences, by resampling."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
_Z2 = 1.959964**2  # the square of the normal distribution's 97.5 % point


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
    with one degree of freedom less than there are voices in the trials that have the number (of sources or of targets,
    whichever are fewer; fewer than three say nothing: both directions of a pair have their weight in common). Where
    voices or sentences matter it covers about 95 % (`tests/evaluation/test_bootstrap.py` counts); where nothing but
    noise differs, it is wider than it need be.

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
        self.sides = [np.array(places, int) for places in sides]
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

    def voices(self, used: NDArray[np.bool_]) -> int:
        """How many voices the used trials (n,) have, on the side with fewer of them; a side with one only is fixed."""
        several = [n for n in (len(np.unique(side[used])) for side in self.sides) if n > 1]
        return min(several, default=0)

    def error(self, values: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Standard error of the weighted mean of values (n,), without those that are not finite; nan if unknown."""
        return self._seen(values, weights).error

    def interval(
        self,
        values: Sequence[float],
        weights: Sequence[float] | None = None,
        share: bool = False,
        least: float = 0.0,
    ) -> Interval | None:
        """95 % interval of the weighted mean, not beyond the smallest and the largest value.

        Args:
            values: (n,) numbers; those that are not finite are left out.
            weights: (n,), default 1.
            share: whether every value is between `least` and 1. Where all are the same, nothing is spread, and so large
                a part of what was not seen may be `least` or 1 as Wilson's interval (1927) of as many trials as there
                are voices tells: 8 of 8 may be two thirds of all.
            least: the lowest that a share may be; -1 of a difference of two.

        Returns:
            None below three voices, and of other numbers that all are the same: nothing tells how far they may go.
        """
        seen = self._seen(values, weights)
        if not np.isfinite(seen.error):
            return None
        if seen.constant:
            part = _Z2 / (seen.voices + _Z2)
            low, high = seen.mean - part * (seen.mean - least), seen.mean + part * (1.0 - seen.mean)
            return Interval(low, high) if share else None
        reach = _student(seen.voices - 1) * seen.error
        return Interval(float(max(seen.mean - reach, seen.low)), float(min(seen.mean + reach, seen.high)))

    def p_value(self, differences: Sequence[float], weights: Sequence[float] | None = None) -> float:
        """How likely a mean difference this far from 0 is, were there none; two-sided; nan if that cannot be told.

        Student's test; a sign test over the voices where all differences are the same, since nothing is spread then.
        """
        from scipy.stats import t

        seen = self._seen(differences, weights)
        if not np.isfinite(seen.error):
            return float("nan")
        if seen.constant:
            return 2 * 0.5**seen.voices if abs(seen.mean) > 1e-12 else 1.0
        return float(2 * t.sf(abs(seen.mean) / seen.error, seen.voices - 1))

    def _seen(self, values: ArrayLike, weights: ArrayLike | None) -> "_Seen":
        value = np.asarray(values, float)
        weight = np.ones(len(value)) if weights is None else np.asarray(weights, float)
        used = np.isfinite(value) & (weight > 0)
        voices = self.voices(used)
        if voices < 3:
            nan = float("nan")
            return _Seen(voices, nan, nan, nan, nan)
        value, weight = value[used], weight[used]
        drawn = self.weight[:, used] * weight
        # weights that sum to one are a little too even: their spread is that of n + 1 voices, and the truth's of n - 1
        correction = np.sqrt((voices + 1) / (voices - 1))
        with np.errstate(invalid="ignore"):
            error = float((drawn @ value / drawn.sum(1)).std() * correction)
        return _Seen(voices, float(np.average(value, weights=weight)), error, float(value.min()), float(value.max()))


class _Seen(NamedTuple):
    """What there is of a number: its mean, the standard error of that, and the smallest and largest value."""

    voices: int
    mean: float
    error: float
    low: float
    high: float

    @property
    def constant(self) -> bool:
        """Whether all values are the same, but for rounding."""
        return self.error <= 1e-12 * max(1.0, abs(self.mean))


def _places(names: Sequence[object]) -> list[int]:
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [index[name] for name in names]


def _student(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
