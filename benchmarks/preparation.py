"""Preparation against real time on one core: seconds of 48 kHz FLAC turned into stored fields per second of work.

    python benchmarks/preparation.py [--minutes 120] [--workers 2] [--repeats 5]

Decoding, trimming, resampling, features and writing are included; starting and ending the worker processes is not.
Machines are not equally fast from one minute to the next: one worker and several take turns, and the medians count.
On a machine that is busy with something else only the processor's own time of the one process says something:
`--repeats 0` leaves the workers out.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch

from revoice.audio.presets import load_preset
from revoice.data.fields.base import build_field
from revoice.data.prepare.compute import Chunk, compute_chunk, rescue_chunk
from revoice.data.prepare.shards import ShardWriter
from revoice.data.prepare.workers import ordered_map

RATE = 48000
FIELDS = (("features",), ("features", "f0"), ("features", "f0", "embedding"))
CHUNK = 16
LEAST = 6  # minutes


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """Syllables of a harmonic tone over noise, silent at both ends."""
    generator = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 60 * generator.random() + 20 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3.0 * t + generator.random()), 0, 1) * ((t > 0.4) & (t < seconds - 0.4))
    return 0.08 * tone * syllables + 0.0005 * generator.standard_normal(len(t))


def corpus(folder: Path, minutes: float) -> tuple[list[Path], float]:
    """FLAC files: 64 different ones, repeated under other names."""
    lengths = np.random.default_rng(0).uniform(2.0, 6.0, 64)
    made, total = [], 0.0
    while total < minutes * 60:
        number = len(made) % 64
        path = folder / f"{len(made):05d}.flac"
        if len(made) < 64:
            soundfile.write(path, speech_like(lengths[number], number), RATE, subtype="PCM_16")
        else:
            os.link(made[number], path)
        made.append(path)
        total += lengths[number]
    return made, total


class Speed(NamedTuple):
    """Seconds of audio per second by the clock, and per second of this process's processor."""

    clock: float
    processor: float


def prepare(files: list[Path], labels: tuple[str, ...], workers: int, out: Path) -> Speed:
    """From the first chunk that is done to the last."""
    spec = load_preset("mel_22k")
    fields = tuple(build_field(label, spec) for label in labels)
    chunks = [
        Chunk(0, False, tuple((f.stem, f.name, f) for f in files[i : i + CHUNK]), fields, 30.0)
        for i in range(0, len(files), CHUNK)
    ]
    writers = [ShardWriter(out / field.folder, 0, field.label) for field in fields]
    seconds, began, ended = 0.0, _now(), _now()
    warm = 2 * max(workers, 1)
    with closing(ordered_map(compute_chunk, chunks, workers, rescue_chunk)) as results:
        for number, outcomes in enumerate(results):
            for outcome in outcomes:
                for field, writer in zip(fields, writers, strict=True):
                    writer.add(outcome.id, outcome.arrays[field.label], outcome.seconds, outcome.start)
            if number == warm:
                began = _now()
            elif number > warm:
                seconds += sum(outcome.seconds for outcome in outcomes)
            ended = _now()
    for writer in writers:
        writer.close()
    return Speed(*(seconds / (after - before) for before, after in zip(began, ended, strict=True)))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.minutes < LEAST:
        parser.error(f"--minutes={options.minutes:g}: of less there are too few chunks, expected {LEAST} or more")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, seconds = corpus(folder, options.minutes)
        print(f"{len(files)} files, {seconds / 60:.1f} min of {RATE} Hz FLAC")
        for labels in FIELDS:
            one = prepare(files, labels, 0, folder / "one")
            own = f"{one.processor:.0f} x by its processor ({3600 / one.processor:.1f} s an hour of speech)"
            print(f"{' + '.join(labels):<28} one process {one.clock:>6.0f} x real time by the clock, {own}", flush=True)
            turns = []
            for _ in range(options.repeats):
                turns.append([prepare(files, labels, n, folder / f"w{n}").clock for n in (1, options.workers)])
                print(f"{'':<28} 1 worker {turns[-1][0]:>6.0f} x, {options.workers} workers {turns[-1][1]:>6.0f} x, "
                      f"ratio {turns[-1][1] / turns[-1][0]:.2f}", flush=True)  # fmt: skip
            ratios = [several / alone for alone, several in turns]
            if not ratios:
                continue
            print(f"{'':<28} median ratio {statistics.median(ratios):.2f} of {len(ratios)}", flush=True)


if __name__ == "__main__":
    main()
