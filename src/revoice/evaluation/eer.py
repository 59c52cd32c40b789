"""How well a verifier tells voices apart: the equal error rate of its scores, with an interval.

Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from revoice.evaluation.bootstrap import Interval

RESAMPLES = 1000  # of voices, for an interval
_GRID = 2000  # scores that a resample is told apart by, at most


@dataclass(frozen=True)
class EqualError:
    """An equal error rate and what it was counted on.

    Attributes:
        rate: 0..1; 0.5 is guessing, and more than that means that other voices score higher than the own one.
        threshold: the score at which both errors are equal.
        mated, nonmated: trials of the same voice, and of two.
        interval: 95 %, over the voices; None where there are fewer than three.
    """

    rate: float
    threshold: float
    mated: int
    nonmated: int
    interval: Interval | None = None


def equal_error_rate(mated: ArrayLike, nonmated: ArrayLike) -> EqualError:
    """Where as many trials of one voice score below the threshold as trials of two voices score above it.

    Between two thresholds the errors are those of the line between them (the curve itself, not its convex hull): scores
    that all are equal give 0.5.

    Args:
        mated: (n,) scores of trials of the same voice; higher is more alike.
        nonmated: (m,) scores of trials of two voices.

    Returns:
        Without an interval; nan without trials of either kind.

    >>> equal_error_rate([0.9, 0.8, 0.4], [0.5, 0.2, 0.1]).rate.__round__(4)
    0.3333
    """
    own, other = np.sort(np.asarray(mated, float)), np.sort(np.asarray(nonmated, float))
    if not len(own) or not len(other):
        return EqualError(float("nan"), float("nan"), len(own), len(other))
    steps = np.unique(np.concatenate([own, other]))
    miss = np.append(np.searchsorted(own, steps, "left"), len(own)) / len(own)
    alarm = np.append(len(other) - np.searchsorted(other, steps, "left"), 0) / len(other)
    rate, place = _crossing(miss, alarm)
    thresholds = np.append(steps, steps[-1])
    low = int(place)
    high = min(low + 1, len(steps))
    threshold = thresholds[low] + (place - low) * (thresholds[high] - thresholds[low])
    return EqualError(rate, float(threshold), len(own), len(other))


def equal_error(
    scores: ArrayLike,
    same: ArrayLike,
    pairs: Sequence[tuple[object, object]],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> EqualError:
    """The equal error rate of trials with a 95 % bootstrap interval over the voices.

    Trials that share a voice are not independent: whole voices are drawn with replacement, and a trial counts as often
    as its two voices are drawn, multiplied (a trial of one voice as often as that is).

    Args:
        scores: (n,) finite, higher is more alike.
        same: (n,) whether a trial is of one voice.
        pairs: (n,) the enrolled and the asked voice of each trial.
        seed: the same trials give the same interval.
        resamples: bootstrap samples.
    """
    values, own = np.asarray(scores, float), np.asarray(same, bool)
    found = equal_error_rate(values[own], values[~own])
    names = {name: i for i, name in enumerate(dict.fromkeys(name for pair in pairs for name in pair))}
    if len(names) < 3 or not np.isfinite(found.rate):
        return found
    voices = np.array([(names[a], names[b]) for a, b in pairs])
    grid = np.unique(np.quantile(values, np.linspace(0.0, 1.0, _GRID)))
    step = np.searchsorted(grid, values, "left").clip(max=len(grid) - 1)
    draws, rates = np.random.default_rng(seed), []
    for _ in range(resamples):
        times = np.bincount(draws.integers(len(names), size=len(names)), minlength=len(names))
        weight = np.where(own, times[voices[:, 0]], times[voices[:, 0]] * times[voices[:, 1]])
        rates.append(_weighted(step, weight, own, len(grid)))
    kept = [rate for rate in rates if np.isfinite(rate)]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (float("nan"), float("nan"))
    return EqualError(found.rate, found.threshold, found.mated, found.nonmated, Interval(float(low), float(high)))


def _weighted(step: NDArray[np.int64], weight: NDArray[np.int64], own: NDArray[np.bool_], size: int) -> float:
    """The rate (nan without trials of either kind) of trials that stand on steps of a grid and count more than once."""
    mated = np.bincount(step[own], weights=weight[own], minlength=size)
    nonmated = np.bincount(step[~own], weights=weight[~own], minlength=size)
    if not mated.sum() or not nonmated.sum():
        return float("nan")
    miss = np.concatenate([[0.0], np.cumsum(mated)]) / mated.sum()
    alarm = 1.0 - np.concatenate([[0.0], np.cumsum(nonmated)]) / nonmated.sum()
    return _crossing(miss, alarm)[0]


def _crossing(miss: NDArray[np.float64], alarm: NDArray[np.float64]) -> tuple[float, float]:
    """Where rising misses meet falling false alarms: the error, and the (fractional) index."""
    after = int(np.argmax(miss >= alarm))  # the last point always is: 1 against 0
    if after == 0:
        return float(miss[0] + alarm[0]) / 2, 0.0
    before = after - 1
    gap, closed = alarm[before] - miss[before], miss[after] - alarm[after]
    share = gap / (gap + closed)
    return float(miss[before] + share * (miss[after] - miss[before])), before + share
