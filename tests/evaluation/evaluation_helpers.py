"""Voice-like tones, and a verifier that needs no network."""

import numpy as np

from revoice.audio.io import Audio
from revoice.evaluation.verification import Verifier

RATE = 16000
VOICES = {  # pitch in Hz, vocal tract (scales the formants), gender, split
    "anna": (210.0, 1.15, "F", "test_unseen"),
    "bert": (110.0, 0.95, "M", "test_unseen"),
    "cleo": (190.0, 1.10, "F", "test_unseen"),
    "dirk": (95.0, 0.90, "M", "test_unseen"),
    "emma": (230.0, 1.20, "F", "test_seen"),
    "finn": (120.0, 1.00, "M", "test_seen"),
}


def speak(pitch: float, tract: float, sentence: int, seconds: float = 0.8, rate: int = RATE) -> np.ndarray:
    """Harmonics with a melody and three moving formants that the sentence decides; silence at both ends."""
    draw = np.random.default_rng(sentence)
    time = np.arange(int(seconds * rate)) / rate
    rates, depths = draw.uniform(1.0, 3.0, 4), draw.uniform(0.05, 0.2, 4)
    f0 = pitch * (1.0 + depths[0] * np.sin(2 * np.pi * rates[0] * time / seconds))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    wave = np.zeros_like(time)
    for k in range(1, int(0.45 * rate / f0.max())):
        gain = 0.003 + np.exp(-k * f0 / 300.0)  # a strong fundamental, as voices have
        for n, center in enumerate((550.0, 1500.0, 2700.0), start=1):
            formant = tract * center * (1.0 + depths[n] * np.sin(2 * np.pi * rates[n] * time / seconds))
            gain = gain + np.exp(-(((k * f0 - formant) / 180.0) ** 2)) / n
        wave += gain * np.sin(k * phase)
    edge = np.clip(np.minimum(time, seconds - time) / 0.05 - 0.5, 0.0, 1.0)
    return (0.2 * edge * wave + 1e-5 * draw.standard_normal(len(time))).astype(np.float32)


class Timbre(Verifier):
    """The shape of the average spectrum."""

    name = "timbre"

    def embed(self, clips):
        self.embedded = getattr(self, "embedded", 0) + len(clips)
        bands = [np.abs(np.fft.rfft(clip.samples, 2 * RATE))[: RATE // 2].reshape(50, -1).mean(1) for clip in clips]
        shapes = np.array([np.sqrt(band) for band in bands])
        return (shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).astype(np.float32)


def copy(clip: Audio) -> Audio:
    """A vocoder that loses next to nothing."""
    return Audio((0.9 * clip.samples).astype(np.float32), clip.sample_rate)
