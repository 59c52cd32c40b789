"""How many times faster than real time the converter that ships is, and how long a newcomer waits for the first result.

    python benchmarks/converter_speed.py [--threads 2] [--seconds 5 15] [--ckpt default]

The source is the embedded voice p901, repeated to the length asked for; the target one clip of p905.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from revoice.audio.io import Audio, read_audio, write_audio
from revoice.cli.try_it import embedded
from revoice.conversion.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs="*", default=[5.0, 15.0])
    parser.add_argument("--ckpt", default="default")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    source, targets = embedded(Path("data") / "synthetic")
    clip = read_audio(source)
    converter = load(given.ckpt)
    voice = converter.voice(targets)
    for seconds in given.seconds:
        samples = np.resize(clip.samples, round(seconds * clip.sample_rate))
        long = Audio(samples, clip.sample_rate)
        converter.convert(long, voice)
        began = time.perf_counter()
        for _ in range(3):
            converter.convert(long, voice)
        each = (time.perf_counter() - began) / 3
        print(f"{seconds:g} s of speech in {each:.2f} s: {seconds / each:.1f}x faster than real time")
    path = Path("outputs") / "converter_speed.wav"
    write_audio(path, np.resize(clip.samples, 5 * clip.sample_rate), clip.sample_rate)
    command = [
        sys.executable,
        "-c",
        "from revoice.cli.convert import main; main()",
        f"ckpt={given.ckpt}",
        f"src={path}",
        f"tgt={targets[0]}",
    ]
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    subprocess.run([*command, f"out={path.with_suffix('')}_out.wav"], check=True, capture_output=True, env=environment)
    print(f"convert.py of a 5 s clip, from pressing enter to the end: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
