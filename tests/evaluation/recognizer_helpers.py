"""A recognizer that needs no model: it reads the melody of the tones."""

import numpy as np

from revoice.audio.io import Audio
from revoice.evaluation.recognition import Recognizer, Transcript


class Bands(Recognizer):
    """Where the loudest band is, ten times a second: what is said, for tones."""

    name = "bands"
    weights = "none"
    stands_on = ("teacher",)
    known_error = {"somewhere": {"rate": 0.25}}

    def transcribe(self, clips):
        self.heard = getattr(self, "heard", 0) + len(clips)
        return [self._one(clip) for clip in clips]

    def _one(self, clip: Audio) -> Transcript:
        size = clip.sample_rate // 10
        frames = clip.samples[: len(clip.samples) // size * size].reshape(-1, size)
        spectra = np.abs(np.fft.rfft(frames, axis=1))[:, 60:300:10]
        return Transcript.of_text("".join(chr(97 + int(k)) for k in spectra.argmax(axis=1)))


class Letters(Recognizer):
    """Says what it is told, clip by clip."""

    name = "letters"

    def __init__(self, *texts: str, unit: str = "characters") -> None:
        self.texts, self.unit, self.asked = list(texts), unit, []

    def transcribe(self, clips):
        self.asked.append(len(clips))
        said, self.texts = self.texts[: len(clips)], self.texts[len(clips) :]
        return [Transcript.of_text(t) if self.unit == "characters" else Transcript.of_phones(t.split()) for t in said]
