"""How well the verifiers tell real voices apart that nobody trained on: equal error rates with 95 % intervals.

    python benchmarks/verifiers.py [--real FOLDER] [--ckpt RUN_OR_FILE ...] [--enrolment 4]

FOLDER holds vctk_mini and librispeech_mini (default: $REVOICE_SHARED/data or ../shared/data). Held out of
`experiment=verifier_real` and of Resemblyzer's published training: p225 to p228 of VCTK, and LibriSpeech's test-other.
A trial: one clip against the mean of some clips of a voice of the same corpus.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from revoice.audio.io import read_audio
from revoice.evaluation.eer import equal_error
from revoice.evaluation.verification import VERIFIERS, Verifier, enrol

HELD_OUT = ("p225", "p226", "p227", "p228")


def voices(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Files by corpus and voice, of voices with 6 or more."""
    vctk = {name: sorted((folder / "vctk_mini/wav48" / name).glob("*.wav")) for name in HELD_OUT}
    other: dict[str, list[Path]] = {}
    for path in sorted((folder / "librispeech_mini").rglob("test-other/*/*/*.flac")):
        other.setdefault(path.parts[-3], []).append(path)
    found = {"VCTK, 4 voices": vctk, "LibriSpeech test-other, 6 voices": other}
    return {title: {n: files for n, files in each.items() if len(files) >= 6} for title, each in found.items()}


def measure(verifier: Verifier, files: dict[str, list[Path]], enrolment: int) -> str:
    clips = {name: verifier.embed([read_audio(path) for path in paths]) for name, paths in files.items()}
    scores, same, pairs = [], [], []
    for asked, own in clips.items():
        for number, clip in enumerate(own):
            for name, others in clips.items():
                pool = np.delete(others, number, axis=0) if name == asked else others
                at = (number * enrolment) % len(pool)
                voice = enrol(np.roll(pool, -at, axis=0)[:enrolment])
                scores.append(float(clip @ voice))
                same.append(name == asked)
                pairs.append((name, asked))
    found = equal_error(scores, same, pairs)
    between = f"({100 * found.interval.low:.1f} to {100 * found.interval.high:.1f} %)" if found.interval else ""
    return f"{100 * found.rate:5.1f} % {between:22} {found.mated} trials of one voice, {found.nonmated} of two"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("REVOICE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser.add_argument("--real", type=Path, default=shared / "data")
    parser.add_argument("--ckpt", nargs="*", default=[])
    parser.add_argument("--enrolment", type=int, default=4)
    given = parser.parse_args()
    if not given.real.is_dir():
        print(f"skipped: no real speech in {given.real}")
        return
    judges = {"resemblyzer": VERIFIERS.build("resemblyzer", {}, {"device": "cpu"})}
    paths = given.ckpt or ([] if VERIFIERS.get("voiceprint").missing() else [None])
    judges |= {f"voiceprint {p or ''}": VERIFIERS.build("voiceprint", {"path": p}, {"device": "cpu"}) for p in paths}
    for title, files in voices(given.real).items():
        print(f"{title} ({sum(map(len, files.values()))} clips, {given.enrolment} enrolled)")
        for name, verifier in judges.items():
            print(f"  {name:40} {measure(verifier, files, given.enrolment)}")


if __name__ == "__main__":
    main()
