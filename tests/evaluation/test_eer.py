"""Equal error rates of scores whose rate is known."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from revoice.evaluation.eer import equal_error, equal_error_rate


@pytest.mark.parametrize(
    ("mated", "nonmated", "rate"),
    [
        ([1.0, 2.0], [-1.0, 0.0], 0.0),
        ([-1.0, 0.0], [1.0, 2.0], 1.0),
        ([0.0, 0.0, 0.0], [0.0, 0.0], 0.5),
        ([0.9, 0.8, 0.4], [0.5, 0.2, 0.1], 1 / 3),
        ([1.0, 3.0], [0.0, 2.0], 0.5),
        ([1, 2, 3, 4], [0, 1.5, 0.5, 0.7], 0.25),
        ([0.5], [0.5, 0.4, 0.3, 0.2], 0.2),  # on the line from (0, 1/4) to (1, 0)
    ],
)
def test_known_sets(mated: list[float], nonmated: list[float], rate: float) -> None:
    assert equal_error_rate(mated, nonmated).rate == pytest.approx(rate)


def test_normal_scores_give_the_rate_of_theory() -> None:
    draws = np.random.default_rng(0)
    for distance in (0.0, 1.0, 3.0):
        found = equal_error_rate(draws.normal(distance, 1, 200_000), draws.normal(0, 1, 200_000))
        assert found.rate == pytest.approx(norm.cdf(-distance / 2), abs=0.003)
        assert found.threshold == pytest.approx(distance / 2, abs=0.05)


def test_order_scale_and_sign() -> None:
    draws = np.random.default_rng(1)
    own, other = draws.normal(0.7, 1, 57), draws.normal(0, 1, 231)
    rate = equal_error_rate(own, other).rate
    assert equal_error_rate(draws.permutation(own), draws.permutation(other)).rate == rate
    assert equal_error_rate(np.exp(own), np.exp(other)).rate == pytest.approx(rate)
    assert equal_error_rate(-other, -own).rate == pytest.approx(rate)
    assert equal_error_rate(-own, -other).rate == pytest.approx(1 - rate, abs=0.02)


def test_no_trials_no_rate() -> None:
    assert np.isnan(equal_error_rate([], [1.0]).rate) and np.isnan(equal_error_rate([1.0], []).rate)


def trials(voices: int, clips: int, distance: float, seed: int):
    """Scores of voices whose enrollment is lucky or not, which makes trials depend on each other."""
    draws = np.random.default_rng(seed)
    luck = draws.normal(0, 0.7, voices)
    pairs = [(a, b) for a, b in product(range(voices), repeat=2) for _ in range(clips)]
    same = [a == b for a, b in pairs]
    scores = [distance * own + luck[a] + draws.normal() for (a, _), own in zip(pairs, same, strict=True)]
    return scores, same, pairs


def test_the_interval_is_about_the_voices_and_repeats_itself() -> None:
    found = equal_error(*trials(20, 4, 1.5, 0))
    assert found.interval is not None and found.interval.low < found.rate < found.interval.high
    assert (found.mated, found.nonmated) == (80, 1520)
    assert found == equal_error(*trials(20, 4, 1.5, 0))
    few, many = equal_error(*trials(8, 4, 1.5, 0)), equal_error(*trials(60, 4, 1.5, 0), resamples=200)
    assert few.interval and many.interval
    assert few.interval.high - few.interval.low > many.interval.high - many.interval.low
    assert equal_error([1.0, 0.0], [True, False], [("a", "a"), ("a", "b")]).interval is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = norm.cdf(-1.5 / 2 / np.sqrt(1 + 0.7**2))
    held = 0
    for seed in range(40):
        between = equal_error(*trials(24, 3, 1.5, seed), resamples=200).interval
        held += between is not None and between.low <= truth <= between.high
    assert held >= 34
