import numpy as np
import pytest

from revoice.evaluation.bootstrap import interval, weighted_mean


def test_interval_of_normal_numbers_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = interval(values, range(400))
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(400), rel=0.1)


def test_values_of_one_pair_are_drawn_together() -> None:
    """Ten copies of each value tell nothing new: the interval stays as wide."""
    values = np.random.default_rng(1).normal(0.0, 1.0, 30)
    alone = interval(values, range(30))
    copies = interval(np.repeat(values, 10), np.repeat(range(30), 10))
    assert copies == pytest.approx(alone)
    pretended = interval(np.repeat(values, 10), range(300))
    assert pretended.high - pretended.low < 0.5 * (alone.high - alone.low)


def test_seeded() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 20)
    assert interval(values, range(20), seed=3) == interval(values, range(20), seed=3)
    assert interval(values, range(20), seed=3) != interval(values, range(20), seed=4)


def test_weights() -> None:
    assert weighted_mean([1.0, 3.0], [3.0, 1.0]) == 1.5
    low, high = interval([1.0, 3.0], ["a", "b"], [3.0, 1.0])
    assert (low, high) == (1.0, 3.0)


def test_nothing_to_draw_from() -> None:
    assert interval([1.0, 2.0], ["same", "same"]) is None
    assert interval([], []) is None
    assert np.isnan(weighted_mean([]))
