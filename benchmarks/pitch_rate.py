"""f0 at the default search rate against f0 at the rate of the recording: how much faster, and how much differs.

python benchmarks/pitch_rate.py [FOLDER_OF_AUDIO [files]]

Without a folder: clips of the embedded corpus, spoken for the occasion.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from revoice.audio.io import read_audio
from revoice.audio.pitch import ANALYSIS_RATE, pitch_for
from revoice.audio.presets import load_preset
from revoice.data.corpora.espeak.make import Recipe, make_corpus


def read(folder: Path, wanted: int, rate: int) -> list[np.ndarray]:
    """Some clips from all over a folder."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".flac", ".wav"))
    if not files:
        sys.exit(f"no .wav or .flac file under {folder}")
    return [read_audio(p, rate).samples for p in files[:: max(1, len(files) // wanted)][:wanted]]


def main() -> None:
    """Print both speeds, their ratio and the differences."""
    spec = load_preset("mel_22k")
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    if len(sys.argv) > 1:
        clips = read(Path(sys.argv[1]), wanted, spec.sample_rate)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_corpus(Path(folder) / "corpus", Recipe(sentences=4, test_sentences=2, max_voices=8))
            clips = read(Path(folder), wanted, spec.sample_rate)
    seconds = sum(map(len, clips)) / spec.sample_rate
    pitch_for(clips[0], spec)  # imports and plans
    found, speed = {}, {}
    for name, rate in (("full", None), ("low", ANALYSIS_RATE)):
        began = time.perf_counter()
        found[name] = np.concatenate([pitch_for(clip, spec, rate=rate).f0 for clip in clips])
        speed[name] = seconds / (time.perf_counter() - began)
    both = (found["full"] > 0) & (found["low"] > 0)
    cents = 1200 * np.abs(np.log2(found["low"][both] / found["full"][both]))
    print(f"{len(clips)} clips, {seconds:.0f} s, one process")
    print(f"search at {spec.sample_rate} Hz: {speed['full']:.0f} x real time")
    print(f"search at {ANALYSIS_RATE} Hz:  {speed['low']:.0f} x real time")
    print(f"ratio {speed['low'] / speed['full']:.1f}x")
    print(f"voicing differs in {((found['full'] > 0) != (found['low'] > 0)).mean():.2%} of frames")
    print(f"voiced in both: median {np.median(cents):.2f} cents, {(cents > 84).mean():.2%} differ by more than 5 %")


if __name__ == "__main__":
    main()
