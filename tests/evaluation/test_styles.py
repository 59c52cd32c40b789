"""What is heard of a style: prosody, whatever the length and the level of a clip."""

import numpy as np
import pytest

from revoice.audio.io import Audio
from revoice.evaluation.styles import POINTS, StyleListener, cents_apart, contour, prosody

RATE = 16000


def sung(f0: np.ndarray, seconds: float = 1.0, level: float = 0.1, fall: float = 1.0) -> Audio:
    """Harmonics of a contour that moves evenly through the values of `f0` in Hz, `fall` their tilt."""
    time = np.linspace(0, 1, round(seconds * RATE))
    pitch = np.interp(time, np.linspace(0, 1, len(f0)), f0)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    wave = sum(np.sin(k * phase) / k**fall for k in range(1, 40))
    return Audio((level * (0.2 * wave + noise)).astype(np.float32), RATE)


def test_level_does_not_count_and_length_hardly() -> None:
    melody = np.array([120.0, 180.0, 110.0])
    base, loud, slow = (prosody(sung(melody, *how)) for how in ((1.0, 0.1), (1.0, 0.5), (1.6, 0.1)))
    np.testing.assert_allclose(loud, base, atol=0.1)
    np.testing.assert_allclose(slow[:5], base[:5], atol=0.06)


def test_pitch_and_tilt_do() -> None:
    base = prosody(sung(np.array([120.0, 180.0])))
    high = prosody(sung(np.array([240.0, 360.0])))
    wide, dull = prosody(sung(np.array([100.0, 220.0]))), prosody(sung(np.array([120.0, 180.0]), fall=2.0))
    assert high[0] - base[0] == pytest.approx(np.log(2), abs=0.05) and wide[1] > 1.5 * base[1]
    assert dull[12] < base[12] - 0.5


def test_contours_are_compared_in_cents_at_equal_places() -> None:
    low, high = contour(sung(np.array([120.0, 180.0]))), contour(sung(np.array([240.0, 360.0]), seconds=1.5))
    assert low.shape == (POINTS,) and cents_apart(low, high) == pytest.approx(1200, abs=40)


def test_a_style_is_told_relative_to_its_speaker() -> None:
    draw = np.random.default_rng(0)
    clips, styles, speakers = [], [], []
    for who, offset in (("a", 0.0), ("b", 50.0)):
        for style, at in (("calm", 0.0), ("loud", 1.0)):
            for _ in range(20):
                clips.append(offset + at + 0.1 * draw.standard_normal(3))
                styles.append(style)
                speakers.append(who)
    listener = StyleListener(np.stack(clips), styles, speakers)
    new = np.array([[0.0] * 3, [51.0] * 3])
    assert listener.tell(new, ["a", "b"]) == ["calm", "loud"]
    assert listener.certainty(new, ["a", "b"], "loud")[1] > 0.9
    assert listener.apart(new, new).tolist() == [0, 0]
