import numpy as np
import pytest
from evaluation_helpers import RATE, VOICES, speak

from revoice.errors import UserError
from revoice.evaluation import mcd
from revoice.evaluation.mcd import (
    SCALE_DB,
    Analysis,
    analyze,
    distortion,
    frequency_transform,
    loud_frames,
    mel_cepstra,
)


def voice(name: str, sentence: int = 0) -> np.ndarray:
    pitch, tract, _, _ = VOICES[name]
    return speak(pitch, tract, sentence)


def power_of(cepstrum: np.ndarray, bins: int = 513) -> np.ndarray:
    """Power spectrum (1, bins) whose log amplitude is the cosine series of `cepstrum`."""
    omega = np.linspace(0.0, np.pi, bins)
    return np.exp(2.0 * np.cos(omega[:, None] * np.arange(len(cepstrum))) @ cepstrum)[None]


def test_without_warping_it_is_the_plain_cepstrum() -> None:
    cepstrum = np.random.default_rng(0).standard_normal(14) * 0.3
    np.testing.assert_allclose(mel_cepstra(power_of(cepstrum), alpha=0.0)[0], cepstrum, atol=1e-9)
    np.testing.assert_array_equal(frequency_transform(20, 13, 0.0), np.eye(14, 20))


@pytest.mark.parametrize("alpha", [0.1, 0.35, 0.42])
def test_warped_series_gives_the_same_spectrum(alpha: float) -> None:
    cepstrum = np.random.default_rng(1).standard_normal(12) * 0.3
    mel = frequency_transform(len(cepstrum), 200, alpha) @ cepstrum
    omega = np.linspace(0.0, np.pi, 257)
    warped = omega + 2.0 * np.arctan2(alpha * np.sin(omega), 1.0 - alpha * np.cos(omega))
    plain = np.cos(omega[:, None] * np.arange(12)) @ cepstrum
    np.testing.assert_allclose(np.cos(warped[:, None] * np.arange(201)) @ mel, plain, atol=1e-9)


def test_mel_cepstra_of_an_envelope_that_is_a_warped_cosine() -> None:
    omega = np.linspace(0.0, np.pi, 513)
    warped = omega + 2.0 * np.arctan2(0.42 * np.sin(omega), 1.0 - 0.42 * np.cos(omega))
    envelope = np.exp(2.0 * (0.7 + 0.5 * np.cos(3 * warped) - 0.2 * np.cos(11 * warped)))[None]
    expected = np.zeros(14)
    expected[[0, 3, 11]] = 0.7, 0.5, -0.2
    np.testing.assert_allclose(mel_cepstra(envelope)[0], expected, atol=1e-9)


def test_the_scale_is_the_rms_level_difference_in_db() -> None:
    """Over the warped axis, and without c0, two envelopes that differ by a cosine series differ by MCD dB in rms."""
    difference = np.array([0.0, 0.3, -0.2, 0.1])
    points = np.linspace(0.0, np.pi, 10001)
    level = 20.0 / np.log(10.0) * np.cos(points[:, None] * np.arange(4)) @ difference
    assert SCALE_DB * np.linalg.norm(difference) == pytest.approx(np.sqrt(np.mean(level**2)), rel=1e-3)


def test_distortion_is_scaled_mean_over_the_path() -> None:
    a = Analysis(np.zeros((3, 13)), np.array([2, 3, 4]), np.zeros(9))
    b = Analysis(np.eye(13)[[0, 0, 0]] * 2.0, np.array([0, 5, 6]), np.zeros(9))
    found = distortion(a, b)
    assert found.mcd == pytest.approx(2.0 * 10.0 * np.sqrt(2.0) / np.log(10.0))
    assert found.path.tolist() == [[2, 0], [3, 5], [4, 6]]


def test_frames_40_db_under_the_loudest_are_dropped() -> None:
    levels = np.array([0.0, -39.9, -40.1, -80.0, -10.0])
    assert loud_frames(np.ones((5, 9)) * 10.0 ** (levels[:, None] / 10.0)).tolist() == [0, 1, 4]


def test_identity_and_gain() -> None:
    clip = voice("bert")
    here = analyze(clip, RATE)
    assert distortion(here, here).mcd == 0.0
    assert distortion(here, analyze(0.05 * clip, RATE)).mcd < 0.02


def test_loudness_is_not_part_of_it() -> None:
    """A slow fade changes c0 alone."""
    clip = voice("anna")
    here, faded = analyze(clip, RATE), analyze(clip * np.linspace(1.0, 0.2, len(clip)), RATE)
    assert here.cepstra.shape == (len(here.frames), 13)
    assert distortion(here, faded).mcd < 0.5


def test_silence_around_a_clip_does_not_count() -> None:
    clip = voice("anna")
    padded = np.concatenate([np.zeros(8000, np.float32), clip, np.zeros(4000, np.float32)])
    assert distortion(analyze(clip, RATE), analyze(padded, RATE)).mcd < 0.5


def test_order_of_distances() -> None:
    """The same words slower < the same words in another voice; symmetric."""
    pitch, tract, _, _ = VOICES["bert"]
    here = analyze(voice("bert"), RATE)
    slower = distortion(here, analyze(speak(pitch, tract, 0, seconds=1.1), RATE)).mcd
    other = analyze(voice("anna"), RATE)
    away = distortion(here, other).mcd
    assert slower < 1.5 < 0.5 * away
    assert distortion(other, here).mcd == pytest.approx(away, rel=1e-9)


def test_any_rate_is_brought_to_16_khz() -> None:
    pitch, tract, _, _ = VOICES["dirk"]
    one, other = (analyze(speak(pitch, tract, 0, rate=rate), rate) for rate in (32000, 44100))
    assert len(one.f0) == len(other.f0) == 161
    assert distortion(one, other).mcd < 0.3


def test_pitch_is_found() -> None:
    found = analyze(voice("bert"), RATE).f0
    assert np.median(found[found > 0]) == pytest.approx(VOICES["bert"][0], rel=0.06)


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (np.zeros(RATE), "silent"),
        (np.ones(RATE // 20), "0.050 s"),
        (np.full(RATE, np.nan), "not numbers"),
    ],
)
def test_what_cannot_be_analyzed(clip: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        analyze(clip, RATE)


def test_a_quiet_recording_is_not_silence() -> None:
    clip = voice("emma")
    quiet = clip * (10 * mcd.PEAK_MIN / np.abs(clip).max())
    assert distortion(analyze(clip, RATE), analyze(quiet, RATE)).mcd < 0.1
