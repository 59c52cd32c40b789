"""Pitch on the frames of a spec."""

import numpy as np
import pytest

from revoice.audio.pitch import UNVOICED, log_f0_statistics, normalize_log_f0, pitch, pitch_for
from revoice.audio.presets import load_preset, preset_names
from revoice.data.fields.f0 import F0
from revoice.errors import UserError


def glide(rate, low=110.0, high=220.0, seconds=1.0):
    """A harmonic tone and its true f0 at every sample."""
    f0 = np.linspace(low, high, int(rate * seconds))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    return sum(np.sin(k * phase) / k for k in range(1, 9)) * 0.1, f0


@pytest.mark.parametrize("name", preset_names())
def test_frames_are_those_of_the_features_and_in_time_with_them(name):
    spec = load_preset(name)
    wave, truth = glide(spec.sample_rate)
    found = pitch_for(wave, spec, rate=None)
    assert found.f0.shape == found.voiced.shape == (spec.frames(len(wave)),)
    assert found.f0.dtype == np.float32 and found.voiced.mean() > 0.9
    centers = np.arange(len(found.f0)) * spec.hop + spec.frame_offset
    inside = found.voiced & (centers > 2000) & (centers < len(wave) - 2000)
    error = found.f0[inside] - truth[centers[inside]]
    drift_per_hop = 110.0 * spec.hop / spec.sample_rate
    assert np.abs(error).max() < 0.6 and abs(error.mean()) < 0.1 * drift_per_hop


@pytest.mark.parametrize("name", preset_names())
def test_the_fast_search_at_a_low_rate_finds_the_same_contour(name):
    spec = load_preset(name)
    wave, _ = glide(spec.sample_rate)
    fast, full = pitch_for(wave, spec), pitch_for(wave, spec, rate=None)
    both = fast.voiced & full.voiced
    assert (fast.voiced == full.voiced).mean() > 0.98
    cents = 1200 * np.abs(np.log2(fast.f0[both] / full.f0[both]))
    assert np.median(cents) < 1 and np.quantile(cents, 0.97) < 10


@pytest.mark.parametrize(("rate", "hop"), [(16000, 80), (16000, 256), (22050, 256), (48000, 300)])
def test_rapt_is_in_time_with_the_frames(rate, hop):
    pytest.importorskip("pysptk", reason="pip install 'revoice[rapt]'")
    wave, truth = glide(rate)
    frames = 1 + len(wave) // hop
    found = pitch(wave, rate, hop, frames, method="rapt")
    centers = np.arange(frames) * hop
    inside = found.voiced & (centers > rate / 10) & (centers < len(wave) - rate / 10)
    assert len(found.f0) == frames and inside.mean() > 0.75
    early = 1000 * (found.f0[inside] - truth[centers[inside]]).mean() / 110.0  # ms; the glide rises by 110 Hz a second
    assert abs(early) < 2


def test_rapt_without_its_package_is_one_line_before_any_work(monkeypatch):
    monkeypatch.setattr("revoice.audio.pitch.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'revoice\[rapt\]'"):
        F0(load_preset("mel_22k"), method="rapt")


def test_harvest_agrees():
    wave, truth = glide(16000, seconds=0.5)
    found = pitch(wave, 16000, 160, 51, method="harvest")
    assert np.abs(found.f0[5:45] - truth[np.arange(5, 45) * 160]).max() < 1.5


def test_silence_and_noise_are_unvoiced():
    wave, _ = glide(16000)
    wave[6000:10000] = 0
    found = pitch(wave, 16000, 160, 100)
    assert not found.voiced[42:58].any() and found.voiced[10:30].all() and (found.f0[~found.voiced] == 0).all()


@pytest.mark.parametrize("frames", [1, 7, 30, 200])
def test_the_number_of_frames_is_exact_whatever_the_length(frames):
    wave, _ = glide(16000, seconds=0.3)
    assert pitch(wave, 16000, 160, frames).f0.shape == (frames,)
    assert pitch(wave[:50], 16000, 160, frames, offset=80).f0.shape == (frames,)
    assert pitch(wave, 16000, 160, frames, rate=5512).f0.shape == (frames,)
    assert pitch(wave[:50], 16000, 160, frames, offset=80, rate=5512).f0.shape == (frames,)


def test_wrong_settings_are_one_line_errors():
    with pytest.raises(UserError, match="did you mean 'harvest'"):
        pitch(np.zeros(1600), 16000, 160, 11, method="harvst")
    with pytest.raises(UserError, match="0 < floor < ceil"):
        pitch(np.zeros(1600), 16000, 160, 11, floor=500, ceil=100)


@pytest.mark.parametrize(
    "settings",
    [{"rate": 1000}, {"ceil": 4000.0, "rate": 7999}, {"ceil": 3000.0}, {"floor": 700.0}],
)
def test_a_search_that_is_impossible_is_refused_before_any_work(settings):
    with pytest.raises(UserError, match="0 < floor < ceil <="):
        F0(load_preset("mel_22k"), **settings)
    F0(load_preset("mel_22k"), ceil=4000.0, rate=None)


def test_a_hop_that_is_no_whole_number_of_samples_stays_in_time():
    wave, truth = glide(22050, seconds=4.0)
    found = pitch(wave, 22050, 220.5, 400, rate=5512)
    at = np.arange(100, 380)
    assert np.abs(found.f0[at] - truth[np.round(at * 220.5).astype(int)]).max() < 0.6


def test_normalized_contours():
    contour = np.array([np.log(100), UNVOICED, np.log(200), np.log(150)])
    statistics = log_f0_statistics(contour)
    assert statistics.mean == pytest.approx(np.log([100, 200, 150]).mean())
    normal = normalize_log_f0(contour, statistics)
    assert normal[1] == UNVOICED and normal[[0, 2, 3]].min() >= 0 and normal[[0, 2, 3]].max() <= 1
    assert normal[[0, 2, 3]].mean() == pytest.approx(0.5)


def test_contours_without_voice_or_spread_are_guarded():
    unvoiced = np.full(5, UNVOICED)
    assert np.array_equal(normalize_log_f0(unvoiced, log_f0_statistics(unvoiced)), unvoiced)
    monotone = np.full(5, np.log(120.0))
    assert normalize_log_f0(monotone, log_f0_statistics(monotone)) == pytest.approx(np.full(5, 0.5))
