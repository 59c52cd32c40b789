"""Silence at the ends."""

import librosa
import numpy as np
import pytest

from revoice.audio.trim import Trim, trim_silence


def test_the_rule_is_librosa_s():
    rng = np.random.default_rng(1)
    for _ in range(40):
        size = int(rng.integers(50, 60000))
        shape = np.interp(np.arange(size), [0, size * 0.3, size * 0.6, size], [0, 1, 1, 1e-4])
        clip, top_db = (rng.normal(0, 0.3, size) * shape).astype(np.float32), rng.uniform(10, 60)
        found = trim_silence(clip, 16000, top_db)
        assert [found.start, found.end] == librosa.effects.trim(clip, top_db=top_db)[1].tolist()


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_silent_clip_is_kept_whole(size):
    assert trim_silence(np.zeros(size, np.float32), 16000, 30) == Trim(0, size)


def test_the_middle_is_never_cut():
    clip = np.zeros(60000, np.float32)
    clip[20000:22000] = clip[40000:42000] = 0.5
    found = trim_silence(clip, 16000, 30)
    assert found.start <= 20000 and found.end >= 42000 and found.end - found.start < 30000
