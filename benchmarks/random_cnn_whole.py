"""A whole conversion by random-CNN style transfer: how long it takes, and the memory it needs.

    python benchmarks/random_cnn_whole.py [--seconds 4 30] [--settings "" kernel=3x1,channels=32,window=1000000]

Both clips last so many seconds: utterances of two voices of the embedded corpus, joined. The time is that of
`convert.py` after its imports: features, style, search and Griffin-Lim. Memory is the largest resident set of a
process of its own, torch included. Settings as in random_cnn_quality.py; the defaults are "".
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from random_cnn_quality import SPEC, converter, cut
from scale import alone

from revoice.audio.io import Audio, read_audio
from revoice.data.corpora.espeak.make import Recipe, make_corpus


def clip(folder: Path, voice: int, seconds: float) -> Audio:
    """So many seconds of one voice."""
    speakers = sorted({file.parent for file in folder.rglob("*.flac")})
    files = sorted(speakers[voice].glob("*.flac"))
    joined = np.concatenate([read_audio(file, SPEC.sample_rate).samples for file in files])
    if len(joined) < seconds * SPEC.sample_rate:
        raise SystemExit(
            f"the corpus has {len(joined) / SPEC.sample_rate:.0f} s of a voice, --seconds asks {seconds:g}"
        )
    return cut(Audio(joined, SPEC.sample_rate), seconds)


def whole(folder: Path, seconds: float, settings: str) -> tuple[float, float]:
    """(seconds it took, MiB at most) of one conversion."""
    source, target = clip(folder, 0, seconds), clip(folder, -1, seconds)
    system = converter(settings)
    began = time.perf_counter()
    system.convert(source, target)
    spent = time.perf_counter() - began
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[4.0, 30.0])
    parser.add_argument("--settings", nargs="+", default=[""])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_corpus(folder / "corpus", Recipe(sentences=20, test_sentences=2, max_voices=8))
        for settings in options.settings:
            print(settings or "defaults")
            for seconds in options.seconds:
                spent, memory = alone(whole, folder, seconds, settings)
                print(f"  both clips {seconds:g} s: {spent:.1f} s, {memory / 1024:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
