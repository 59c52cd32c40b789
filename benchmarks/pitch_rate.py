"""f0 at the default search rate against f0 at the rate of the recording: how much faster, and how much differs.

python benchmarks/pitch_rate.py FOLDER_OF_AUDIO [files]
"""

import sys
import time
from pathlib import Path

import numpy as np

from revoice.audio.io import read_audio
from revoice.audio.pitch import ANALYSIS_RATE, pitch_for
from revoice.audio.presets import load_preset


def main() -> None:
    """Print both speeds, their ratio and the differences."""
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/pitch_rate.py FOLDER_OF_AUDIO [files]")
    spec = load_preset("mel_22k")
    files = sorted(p for p in Path(sys.argv[1]).rglob("*") if p.suffix in (".flac", ".wav"))
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    clips = [read_audio(p, spec.sample_rate).samples for p in files[:: max(1, len(files) // wanted)][:wanted]]
    if not clips:
        sys.exit(f"no .wav or .flac file under {sys.argv[1]}")
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
