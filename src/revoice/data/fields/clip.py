"""What fields are computed from: one decoded, trimmed recording."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from revoice.audio.io import Audio, resample
from revoice.audio.trim import read_speech


@dataclass(frozen=True)
class Clip:
    """A recording at its own sample rate; each other rate is computed once and shared by all fields.

    Attributes:
        audio: trimmed samples at the file's rate.
        seconds: duration of the file before trimming.
        start: seconds cut off its beginning.
        phones: what is said, (name, start in seconds of the file) in order; None if that is not known.
    """

    audio: Audio
    seconds: float
    start: float = 0.0
    phones: Sequence[tuple[str, float]] | None = None
    _rates: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def at(self, sample_rate: int) -> np.ndarray:
        """Samples (S,) at `sample_rate`."""
        if sample_rate not in self._rates:
            self._rates[sample_rate] = resample(self.audio.samples, self.audio.sample_rate, sample_rate)
        return self._rates[sample_rate]


def load_clip(path: Path, trim_db: float | None = None) -> Clip:
    """Decode a file and cut the silence at its ends; the waveform of which all stored fields are computed.

    Args:
        path: audio file.
        trim_db: what is this many dB below the loudest frame is silence; None keeps the ends. Trimming happens at
            the file's own rate, so that it is the same for every feature preset.

    Raises:
        AudioError: the file is unusable or silent.
    """
    audio, _ = read_speech(path)
    if trim_db is None:
        return Clip(audio, audio.seconds)
    trimmed, start = read_speech(audio, trim_db)
    return Clip(trimmed, audio.seconds, start)
