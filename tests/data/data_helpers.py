"""Tiny speech-like recordings for the tests of this folder."""

from pathlib import Path

import numpy as np
import soundfile


def tone(seconds: float = 0.5, f0: float = 120.0, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """A harmonic tone with a little noise, (S,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    harmonics = sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 12))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.1 * harmonics + 0.003 * noise).astype(np.float32)


def write_tone(path: Path, seconds: float = 0.5, f0: float = 120.0, rate: int = 16000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, f0, rate, seed), rate)
    return path


def touch(path: Path, text: str = "") -> Path:
    """A file of which only the name or the text matters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def speakers_folder(root: Path, speakers: int = 3, clips: int = 4, rate: int = 16000) -> Path:
    """A `folder` corpus: s0, s1, ... with clips of different lengths and a text each (shared between speakers)."""
    for s in range(speakers):
        for c in range(clips):
            seed = s * clips + c
            path = root / f"s{s}" / f"clip{c}.wav"
            write_tone(path, seconds=0.3 + 0.1 * (seed % 4), f0=100 + 20 * s + 3 * c, rate=rate, seed=seed)
            touch(path.with_suffix(".txt"), f"words of sentence {c}")
    return root
