"""Silence at the ends of a clip."""

from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np

from revoice.audio.io import Audio, AudioError, is_silent, read_audio


@dataclass(frozen=True)
class Trim:
    """The part of a clip that is kept: samples[start:end]."""

    start: int
    end: int


def read_speech(clip: str | Path | Audio, trim_db: float | None = None) -> tuple[Audio, float]:
    """A recording at its own rate without the silence at its ends, and the seconds cut off its beginning.

    Training and conversion both read clips by it, and resample afterwards, so that a trim is the same for every rate.

    Args:
        clip: a file, or what was in it.
        trim_db: what is this many dB below the loudest frame is silence; None keeps the ends.

    Raises:
        AudioError: the recording is unusable or silent.
    """
    audio = clip if isinstance(clip, Audio) else read_audio(Path(clip).expanduser())
    if is_silent(audio.samples):
        name = "a recording" if isinstance(clip, Audio) else clip
        raise AudioError(f"{name}: is silent, expected speech")
    if trim_db is None:
        return audio, 0.0
    kept = trim_silence(audio.samples, audio.sample_rate, trim_db)
    return Audio(audio.samples[kept.start : kept.end], audio.sample_rate), kept.start / audio.sample_rate


def trim_silence(
    samples: np.ndarray, sample_rate: int, top_db: float, frame_length: int = 2048, hop_length: int = 512
) -> Trim:
    """Cut leading and trailing frames whose level is more than `top_db` under the loudest frame.

    The rule of `librosa.effects.trim`: root mean squares of frames centered on multiples of the hop, zeros beyond
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
    half, block = frame_length // 2, gcd(frame_length // 2, frame_length - frame_length // 2, hop_length)
    energy = _energies(np.asarray(samples), block)  # of blocks that frames begin and end with
    total = np.concatenate([np.zeros(half // block + 1), np.cumsum(energy)])
    total = np.pad(total, (0, frame_length // block), mode="edge")
    first = np.arange(0, len(samples) + 2 * half - frame_length + 1, hop_length) // block
    level = np.sqrt(np.maximum(total[first + frame_length // block] - total[first], 0.0) / frame_length)
    decibels = 20.0 * np.log10(np.maximum(level, 1e-5))
    loud = np.flatnonzero(decibels > decibels.max(initial=-100.0) - top_db)
    if not len(loud):
        return Trim(0, len(samples))
    return Trim(int(loud[0]) * hop_length, min(len(samples), (int(loud[-1]) + 1) * hop_length))


def _energies(samples: np.ndarray, block: int) -> np.ndarray:
    """Sums of squares (blocks,) float64 of samples (S,), the last block filled up with zeros."""
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    rest = samples[len(whole) * block :].astype(np.float64)
    return np.append(np.einsum("ij,ij->i", whole, whole).astype(np.float64), (rest * rest).sum())
