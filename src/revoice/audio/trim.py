"""Silence at the ends of a clip."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trim:
    """The part of a clip that is kept: samples[start:end]."""

    start: int
    end: int


def trim_silence(
    samples: np.ndarray, sample_rate: int, top_db: float, frame_length: int = 2048, hop_length: int = 512
) -> Trim:
    """Cut leading and trailing frames whose level is more than `top_db` under the loudest frame.

    The rule of `librosa.effects.trim`: root mean squares of frames centred on multiples of the hop, zeros beyond
    the ends. A clip without any signal is kept whole.

    Args:
        samples: (S,) mono.
        sample_rate: Hz (frames are counted in samples, as the published systems do at every rate).
        top_db: distance to the loudest frame, positive.
        frame_length: samples of a frame.  hop_length: samples between frames.

    >>> clip = np.concatenate([np.zeros(8000), np.ones(8000), np.zeros(8000)])
    >>> trim_silence(clip, 16000, top_db=30)
    Trim(start=7168, end=17408)
    """
    del sample_rate
    padded = np.pad(np.asarray(samples, dtype=np.float64), frame_length // 2)
    total = np.concatenate([[0.0], np.cumsum(padded * padded)])
    first = np.arange(0, len(padded) - frame_length + 1, hop_length)
    level = np.sqrt(np.maximum(total[first + frame_length] - total[first], 0.0) / frame_length)
    decibels = 20.0 * np.log10(np.maximum(level, 1e-5))
    loud = np.flatnonzero(decibels > decibels.max(initial=-100.0) - top_db)
    if not len(loud):
        return Trim(0, len(samples))
    return Trim(int(loud[0]) * hop_length, min(len(samples), (int(loud[-1]) + 1) * hop_length))
