"""What networks do not hear of a recording: offset, rumble, and how soft or loud it is beyond what they know."""

import numpy as np
import pytest

from revoice.audio.usual import FRAME, LEVEL, frame_powers, speech_power, usual_gain, without_rumble

RATE = 16000


def tone(hertz: float, amplitude: float = 0.1, seconds: float = 2.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_what_has_neither_offset_nor_rumble_is_given_back() -> None:
    for samples in (tone(110), tone(110) + tone(30, 0.03), tone(110, seconds=0.1), np.zeros(0, np.float32)):
        assert without_rumble(samples, RATE) is samples


def test_offset_and_rumble_go_and_the_voice_stays() -> None:
    voice = tone(110)
    assert np.abs(without_rumble(voice + np.float32(0.05), RATE) - voice).max() < 1e-6
    made = without_rumble(voice + tone(20, 0.3), RATE)
    assert made.dtype == np.float32
    middle = slice(RATE // 2, -RATE // 2)
    assert np.abs(made - voice)[middle].max() < 0.01


def test_speech_is_measured_without_its_pauses_and_offset() -> None:
    voice = tone(110)
    parted = np.concatenate([voice, np.zeros(4 * RATE, np.float32)]) + np.float32(0.2)
    power = speech_power(frame_powers(parted, round(FRAME * RATE)))
    assert power == pytest.approx(0.005, rel=0.02)
    assert len(frame_powers(np.ones(641), 320)) == 3


@pytest.mark.parametrize(("decibels", "changes"), [(-50, True), (-30, False), (-15, False), (-5, True)])
def test_only_what_no_network_knows_is_brought_to_a_usual_level(decibels: float, changes: bool) -> None:
    power = 10 ** (decibels / 10)
    gain = usual_gain(power)
    assert (gain != 1.0) == changes
    if changes:
        assert gain**2 * power == pytest.approx(LEVEL)
    assert usual_gain(0.0) == 1.0
