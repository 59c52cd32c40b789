"""How many times faster than real time each anonymizer is on one core.

python benchmarks/anonymizers.py [FOLDER_OF_AUDIO [files]]

Without a folder: clips of the embedded corpus, spoken for the occasion. Processor time is counted, which other programs
on the machine lengthen less than that of a clock; `wall` is that of the clock.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one core, before numpy is there

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from revoice.audio.anonymization import ANONYMIZERS
from revoice.audio.anonymizers.world import DEFAULT, analyzed
from revoice.audio.io import read_audio
from revoice.data.corpora.espeak.make import Recipe, make_corpus

RATE = 16000
WORLD = {key: value for key, value in DEFAULT.items() if key != "name"}
METHODS = {
    "default": ("world", WORLD),
    "default, 5 ms": ("world", {**WORLD, "period": 5.0}),
    "f0_zero": ("world", {"f0_zero": True}),
    "published": ("world", {"f0_noise": 0.1, "envelope_blur": 3.0, "aperiodicity_noise": 0.1, "faithful": True}),
    "mcadams": ("mcadams", {}),
    "noise": ("noise", {}),
}


def clips_of(folder: Path, wanted: int) -> list[np.ndarray]:
    """Some clips from all over a folder."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".flac", ".wav"))
    if not files:
        sys.exit(f"no .wav or .flac file under {folder}")
    return [read_audio(p, RATE).samples for p in files[:: max(1, len(files) // wanted)][:wanted]]


def main() -> None:
    """Print a line for each method, and what the analysis of Harvest would cost instead."""
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    if len(sys.argv) > 1:
        clips = clips_of(Path(sys.argv[1]), wanted)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_corpus(Path(folder) / "corpus", Recipe(sentences=4, test_sentences=2, max_voices=8))
            clips = clips_of(Path(folder), wanted)
    seconds = sum(map(len, clips)) / RATE
    print(f"{len(clips)} clips, {seconds:.0f} s at {RATE} Hz, one process, one thread")
    for title, (name, settings) in METHODS.items():
        anonymizer = ANONYMIZERS.build(name, settings)
        anonymizer(clips[0], RATE)  # imports and plans
        spent, wall = time.process_time(), time.perf_counter()
        for clip in clips:
            anonymizer(clip, RATE)
        spent, wall = time.process_time() - spent, time.perf_counter() - wall
        print(f"{title:16} {seconds / spent:8.1f} x real time a core   {seconds / wall:8.1f} x wall")
    began = time.process_time()
    for clip in clips:
        analyzed(clip.astype(np.float64), RATE, 10.0)
    ours = time.process_time() - began
    import pyworld

    began = time.process_time()
    for clip in clips:
        pyworld.harvest(clip.astype(np.float64), RATE)
    print(f"whole analysis {1000 * ours / seconds:.0f} ms a second of sound; Harvest's f0 alone "
          f"{1000 * (time.process_time() - began) / seconds:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
