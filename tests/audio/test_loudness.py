"""Loudness against the numbers of the standard."""

from math import inf

import numpy as np
import pytest

from revoice.audio.loudness import hushed, loudness_db, match_level, match_loudness


def sine(rate, level_db=0.0, seconds=3.0, hz=997.0):
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_a_full_scale_997_hz_sine_is_minus_3_01(rate):
    assert loudness_db(sine(rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness_db(sine(rate, -30), rate) == pytest.approx(-33.01, abs=0.05)


def test_pauses_are_gated_out():
    speech = sine(16000, -20)
    gaps = np.concatenate([speech, np.zeros(64000), speech, 1e-3 * speech])
    assert loudness_db(gaps, 16000) == pytest.approx(loudness_db(speech, 16000), abs=0.6)


def test_low_frequencies_count_less():
    assert loudness_db(sine(16000, hz=30), 16000) < loudness_db(sine(16000), 16000) - 5


def test_short_and_silent_clips():
    assert loudness_db(sine(16000, seconds=0.1), 16000) == pytest.approx(-3.01, abs=0.3)
    assert loudness_db(np.zeros(16000), 16000) == -inf
    assert loudness_db(np.zeros(0), 16000) == -inf
    silent = np.zeros(8000, np.float32)
    assert match_loudness(silent, 16000, -20) is silent
    assert np.array_equal(match_loudness(sine(16000), 16000, -inf), sine(16000))


def test_matching_reaches_the_level_but_never_clips():
    quiet = sine(16000, -40).astype(np.float32)
    louder = match_loudness(quiet, 16000, -23.0)
    assert louder.dtype == np.float32 and loudness_db(louder, 16000) == pytest.approx(-23, abs=0.01)
    peaky = quiet.copy()
    peaky[500] = 0.9
    assert np.abs(match_loudness(peaky, 16000, -5.0)).max() == pytest.approx(1.0)


def test_what_is_too_quiet_for_loudness_is_matched_by_power():
    faint, loud = sine(48000, -77).astype(np.float32), sine(16000, -20).astype(np.float32)
    assert loudness_db(faint, 48000) == -inf
    made = match_level(loud, 16000, faint, 48000)
    assert made.std() == pytest.approx(faint.std(), rel=1e-4)
    assert not match_level(loud, 16000, np.zeros(16000), 16000).any()
    assert not match_level(np.zeros(16000), 16000, faint, 48000).any()
    audible = sine(48000, -30)
    by_loudness = match_loudness(loud, 16000, loudness_db(audible, 48000))
    assert np.array_equal(match_level(loud, 16000, audible, 48000), by_loudness)


def test_pauses_are_as_quiet_as_the_reference_s_and_what_is_said_stays():
    said, noise = sine(16000, -20, seconds=1.0), 1e-2 * np.random.default_rng(0).standard_normal(16000)
    reference = np.concatenate([said, 1e-4 * noise, said])
    made = hushed(np.concatenate([said, noise, said]), reference, 16000)
    pause = slice(16000 + 1600, 32000 - 1600)
    assert made[pause].std() < 2e-4 and np.array_equal(made[: 16000 - 320], said[:-320])
    assert made[pause].std() == pytest.approx(1e-2 * noise.std(), rel=0.2)  # 40 dB and no more
    louder = np.concatenate([said, 0.1 * said, said])
    assert hushed(louder, louder + 0.01, 16000) is louder, "nothing there is a pause"
    short = said[:1000]
    assert hushed(short, 1e-6 * short, 16000) is short, "too short for one"
