import numpy as np
import pytest

from revoice.evaluation.mcd import Analysis
from revoice.evaluation.pitch_metrics import VOICED_MIN, agreement, agreement_along

CONTOUR = 120.0 * 2.0 ** (0.3 * np.sin(np.linspace(0.0, 9.0, 100)))


def test_a_fifth_higher_is_the_same_melody_700_cents_away() -> None:
    found = agreement(CONTOUR, CONTOUR * 2.0 ** (7 / 12))
    assert found.correlation == pytest.approx(1.0)
    assert found.rmse_cents == pytest.approx(700.0)
    assert found.frames == 100


def test_mirrored_melody() -> None:
    assert agreement(CONTOUR, 120.0**2 / CONTOUR).correlation == pytest.approx(-1.0)


def test_only_frames_voiced_in_both_count_and_the_longer_contour_is_cut() -> None:
    a, b = CONTOUR.copy(), np.concatenate([CONTOUR * 2.0, [400.0] * 50])
    a[:10], b[90:100] = 0.0, 0.0
    found = agreement(a, b)
    assert found.frames == 80
    assert found.rmse_cents == pytest.approx(1200.0)


def test_too_few_voiced_frames_give_nan() -> None:
    sparse = np.zeros(100)
    sparse[: VOICED_MIN - 1] = 100.0
    found = agreement(sparse, CONTOUR)
    assert found.frames == VOICED_MIN - 1
    assert np.isnan(found.correlation) and np.isnan(found.rmse_cents)
    assert agreement(np.zeros(0), CONTOUR).frames == 0


def test_a_flat_contour_has_a_distance_but_no_correlation() -> None:
    found = agreement(np.full(100, 120.0), CONTOUR)
    assert np.isnan(found.correlation)
    assert found.rmse_cents == pytest.approx(1200.0 * 0.3 * np.sqrt(np.mean(np.sin(np.linspace(0.0, 9.0, 100)) ** 2)))


def test_along_a_path_the_slow_copy_agrees() -> None:
    slow = Analysis(np.zeros((0, 13)), np.zeros(0, np.int64), np.repeat(CONTOUR, 2))
    fast = Analysis(np.zeros((0, 13)), np.zeros(0, np.int64), CONTOUR)
    path = np.stack([np.arange(200), np.repeat(np.arange(100), 2)], axis=1)
    found = agreement_along(slow, fast, path)
    assert found.correlation == pytest.approx(1.0) and found.rmse_cents == pytest.approx(0.0)
    assert agreement(slow.f0, fast.f0).correlation < 0.8
