"""The most memory that an evaluation takes while the number of its conversions grows.

    python benchmarks/evaluation_memory.py [--sources 20] [--targets 20] [--seconds 8]

Every source is converted to every target, as in the protocol `knn_vc`, by a system that plays the source back, and
judged by Resemblyzer. Noise of several lengths and colors stands for the recordings.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from revoice.audio.io import Audio, write_audio
from revoice.data.corpora.manifest import Manifest, Row
from revoice.evaluation.evaluate import build_metrics, run
from revoice.evaluation.memory import Peak
from revoice.evaluation.pairs import Trial

RATE = 22050


def corpus(folder: Path, voices: int, seconds: float) -> Manifest:
    """Two recordings of each voice: what it says, and what it is known by."""
    draw, rows = np.random.default_rng(0), []
    for voice in range(voices):
        for name, length in ((f"{voice}_says", seconds * draw.uniform(0.8, 1.2)), (f"{voice}_known", 3.0)):
            noise = np.convolve(draw.standard_normal(int(length * RATE)), draw.standard_normal(40), mode="same")
            write_audio(folder / f"{name}.wav", (0.02 * noise).astype(np.float32), RATE)
            rows.append(Row(id=name, path=f"{name}.wav", speaker=str(voice), sentence=name, seconds=length))
    return Manifest("noise", folder, ()).with_rows(rows)


def all_pairs(manifest: Manifest, sources: int, targets: int) -> list[Trial]:
    """Every source to every target."""
    rows = {row.id: row for row in manifest}
    known = [rows[f"{sources + target}_known"] for target in range(targets)]
    return [
        Trial(
            source=rows[f"{source}_says"], references=(target,), true_target=None,
            enrol_target=(target,), enrol_source=(rows[f"{source}_known"],),
        )
        for source in range(sources) for target in known
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=20)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest = corpus(Path(folder), given.sources + given.targets, given.seconds)
        metrics = build_metrics(manifest, ("speaker", "speed"))
        for targets in (1, given.targets):  # the first loads what there is to load
            trials = all_pairs(manifest, given.sources, targets)
            most = Peak()
            most.begin()
            run(
                {"all": trials}, lambda requests: [Audio(each.source.samples + 0, RATE) for each in requests],
                lambda clip: clip, manifest, metrics,
            )  # fmt: skip
            most.end()
            sound = sum(trial.source.seconds for trial in trials)
            print(f"{len(trials):5} conversions, {sound:6.0f} s of sound: {most.megabytes:6.0f} MB at most", flush=True)


if __name__ == "__main__":
    main()
