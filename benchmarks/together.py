"""How much quicker a folder is converted when files of equal length go through model and vocoder at once.

    python benchmarks/together.py [--threads 1] [--files 16] [--seconds 0.5 1 2 5] [--at-once 4] [--ckpt default]

Pieces of the embedded voice p901 as files, converted to p905 by the command's own function, once one by one and once
together, in turn, five times; the quickest are compared. The last line is a folder in which no two lengths are equal.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from revoice.audio.io import Audio, read_audio
from revoice.cli.try_it import embedded
from revoice.conversion import jobs
from revoice.conversion.converter import Converter
from revoice.conversion.load import load
from revoice.conversion.outputs import find_sources, find_target, plan


def folder_of(pieces: list[np.ndarray], rate: int, folder: Path) -> Path:
    """The pieces as files."""
    folder.mkdir()
    for number, samples in enumerate(pieces):
        Audio(samples, rate).save(folder / f"{number:03}.wav")
    return folder


def timed(converter: Converter, clips: Path, target: Path, out: Path, at_once: int) -> float:
    """Seconds of CPU time for the folder, which others on the machine disturb less than those of the clock."""
    jobs.TOGETHER = at_once
    to = find_target([str(target)], out)
    planned = plan(find_sources([str(clips)], out), to, out)
    began = time.process_time()
    result = jobs.convert_files(converter, planned, to, converter.controls({}))
    assert len(result.written) == len(planned)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--seconds", type=float, nargs="*", default=[0.5, 1.0, 2.0, 5.0])
    parser.add_argument("--at-once", type=int, default=jobs.TOGETHER)
    parser.add_argument("--ckpt", default="default")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    source, targets = embedded(Path("data") / "synthetic")
    clip = read_audio(source)
    converter = load(given.ckpt, given.device)
    converter.convert(clip, targets[0])
    with tempfile.TemporaryDirectory() as text:
        place = Path(text)
        folders = {}
        for seconds in given.seconds:
            size = round(seconds * clip.sample_rate)
            pieces = [np.resize(np.roll(clip.samples, -997 * n), size) for n in range(given.files)]
            folders[f"{seconds:g} s each"] = folder_of(pieces, clip.sample_rate, place / f"{seconds:g}")
        sizes = np.linspace(1.0, 4.0, given.files) * clip.sample_rate
        pieces = [np.resize(np.roll(clip.samples, -997 * n), round(size)) for n, size in enumerate(sizes)]
        folders["1 to 4 s, all unlike"] = folder_of(pieces, clip.sample_rate, place / "unlike")
        for name, clips in folders.items():
            found: dict[int, list[float]] = {1: [], given.at_once: []}
            for turn in range(5):
                for at_once, times in sorted(found.items(), reverse=bool(turn % 2)):
                    times.append(timed(converter, clips, targets[0], place / f"{clips.name}_{at_once}_{turn}", at_once))
            alone, together = (min(times) for times in found.values())
            ratio = f"{alone:.2f} s one by one, {together:.2f} s together, {alone / together:.2f}x"
            print(f"{given.files} files, {name}: {ratio}", flush=True)


if __name__ == "__main__":
    main()
