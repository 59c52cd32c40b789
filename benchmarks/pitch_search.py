"""How well each search finds a pitch that is known exactly, in clean recordings and in worse ones, and how fast.

    python benchmarks/pitch_search.py [--clips 12] [--real FOLDER] [--methods dio harvest world rapt network]

Held-out clips (unseen embedded voices; with --real or $REVOICE_REAL, VCTK p225 to p228, LibriSpeech test-other and CMU
ARCTIC) are said again by WORLD, after which their pitch is the one that WORLD was given. Then they are made worse: pink
noise or three other voices 10 dB below, a room of 0.5 s, a telephone's 300 to 3,400 Hz.

right: share of the voiced frames found within 50 cents.  gross: share of those found voiced that are more than a fifth
off.  voicing: share of all frames whose voicing is wrong. Means over clips; frames of 10 ms.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyworld
import torch
from numpy.typing import NDArray

from revoice.audio.io import read_audio
from revoice.audio.pitch import ANALYSIS_RATE, METHODS, pitch
from revoice.data.corpora.espeak.make import Recipe, make_corpus

RATE, HOP, LONGEST = 16000, 160, 8  # Hz, samples, seconds
EMBEDDED = Recipe(sentences=2, test_sentences=8, per_voice=2, tested_voices=0, max_voices=1)
Samples = NDArray[np.float64]
Worse = Callable[[Samples, np.random.Generator], Samples]


def resynthesized(samples: Samples) -> tuple[Samples, Samples]:
    """A clip said again, and the pitch (T,) in Hz that it was given, 0 where it is noise."""
    f0, times = pyworld.harvest(samples, RATE, f0_floor=50, f0_ceil=800, frame_period=1000 * HOP / RATE)
    noise = pyworld.d4c(samples, f0, times, RATE)
    f0 = np.where(noise.min(axis=1) < 1 - 1e-6, f0, 0.0)
    envelope = pyworld.cheaptrick(samples, f0, times, RATE)
    return pyworld.synthesize(f0, envelope, pyworld.d4c(samples, f0, times, RATE), RATE, 1000 * HOP / RATE), f0


def below(samples: Samples, other: Samples, decibels: float) -> Samples:
    """With something else so much below it."""
    return samples + other * np.std(samples) / np.std(other) * 10 ** (-decibels / 20)


def pink(samples: Samples, rng: np.random.Generator) -> Samples:
    """With pink noise 10 dB below."""
    spectrum = np.fft.rfft(rng.normal(size=len(samples)))
    return below(samples, np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), len(samples)), 10)


def room(samples: Samples, rng: np.random.Generator) -> Samples:
    """In a room that is heard for half a second, as loud as the voice itself."""
    tail = rng.normal(size=RATE // 2) * 10 ** (-3 * np.arange(RATE // 2) / (RATE // 2))
    tail[:32] = 0
    tail /= np.sqrt((tail**2).sum())
    tail[0] = 1
    return np.convolve(samples, tail)[: len(samples)]


def telephone(samples: Samples, rng: np.random.Generator) -> Samples:
    """Its 300 to 3,400 Hz."""
    spectrum, hertz = np.fft.rfft(samples), np.fft.rfftfreq(len(samples), 1 / RATE)
    return np.fft.irfft(np.where((hertz > 300) & (hertz < 3400), spectrum, 0), len(samples))


def babble(clips: list[Samples]) -> Worse:
    """With three other voices 10 dB below in all."""

    def worse(samples: Samples, rng: np.random.Generator) -> Samples:
        chosen = [np.resize(clips[n], len(samples)) for n in rng.choice(len(clips), 3, replace=False)]
        return below(samples, sum((np.roll(c / np.std(c), rng.integers(len(c))) for c in chosen), np.zeros(1)), 10)

    return worse


def scores(found: Samples, truth: Samples) -> list[float]:
    """right, gross and voicing; see above."""
    size = min(len(found), len(truth))
    found, truth = found[:size], truth[:size]
    voiced, both = truth > 0, (truth > 0) & (found > 0)
    off = np.abs(np.log2(found[both] / truth[both]))
    return [
        float((off < 50 / 1200).sum() / max(voiced.sum(), 1)),
        float((off > 7 / 12).mean()) if both.any() else 1.0,
        float(((found > 0) != voiced).mean()),
    ]


def held_out(real: str | None, count: int) -> dict[str, list[Path]]:
    """Clips of voices that nothing was trained on, by corpus."""
    folder = Path(tempfile.mkdtemp(prefix="pitch-"))
    make_corpus(folder, EMBEDDED)
    sets = {"embedded": sorted(folder.rglob("p9*.flac"))}
    if real:
        base = Path(real)
        vctk = [
            sorted((base / "vctk_mini" / "wav48" / name).glob("*.wav")) for name in ("p225", "p226", "p227", "p228")
        ]
        sets["vctk"] = [path for group in zip(*vctk, strict=False) for path in group]
        sets["librispeech"] = sorted((base / "librispeech_mini").rglob("test-other/**/*.flac"))
        sets["arctic"] = sorted((base / "arctic_mini").rglob("*.wav"))
    rng = np.random.default_rng(0)
    return {name: [paths[n] for n in rng.permutation(len(paths))[:count]] for name, paths in sets.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12, help="of each corpus")
    parser.add_argument("--real", default=os.environ.get("REVOICE_REAL"))
    parser.add_argument("--methods", nargs="*", default=[m for m in METHODS if m != "rapt" or find_spec("pysptk")])
    given = parser.parse_args()
    torch.set_num_threads(1)
    for corpus, paths in held_out(given.real, given.clips).items():
        known = [resynthesized(read_audio(p, RATE).samples[: LONGEST * RATE].astype(np.float64)) for p in paths]
        clips = [clip for clip, _ in known]
        conditions: dict[str, Worse] = {
            "clean": lambda samples, rng: samples,
            "noise": pink,
            "voices": babble(clips),
            "room": room,
            "telephone": telephone,
        }
        for name, worse in conditions.items():
            rng = np.random.default_rng(1)
            heard = [worse(clip, rng) for clip in clips]
            for method in given.methods:
                rate = ANALYSIS_RATE if method == "dio" else None
                began, rows = time.perf_counter(), []
                for samples, (_, truth) in zip(heard, known, strict=True):
                    found = pitch(samples, RATE, HOP, len(samples) // HOP + 1, method, 60.0, 600.0, rate=rate)
                    rows.append(scores(found.f0.astype(np.float64), truth))
                speed = sum(map(len, heard)) / RATE / (time.perf_counter() - began)
                right, gross, voicing = np.mean(rows, axis=0)
                print(
                    f"{corpus:<12} {name:<10} {method:<8} right {right:.3f}  gross {gross:.3f}  voicing {voicing:.3f}"
                    f"  {speed:4.0f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
