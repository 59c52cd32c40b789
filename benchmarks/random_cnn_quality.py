"""What random-CNN style transfer does to voices, for any settings, beside what costs nothing.

    python benchmarks/random_cnn_quality.py --data data=vctk data.root=DIR --settings kernel=3x3,seed=1 stop=0
    python benchmarks/random_cnn_quality.py --data data=synthetic --voices 5

Each setting is a list of `name=value` after commas, controls of the model or its own arguments; the defaults come
first. All ordered pairs of so many voices are converted, given one clip of the target voice, and judged by other
recordings: cosine to the target and to the source speaker, the share closer to the target, the error rate of what a
recognizer hears against what it hears in the source (`--recognizer`), and how much of the source is still there, the
correlation of log-mel spectrograms whose mean over time is taken away (1: all of it). Beside them:
the source as it is, through features and Griffin-Lim alone, mixed with the target's clip, and the target's clip itself.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from revoice.audio.features import extract
from revoice.audio.io import Audio, resample
from revoice.audio.loudness import match_loudness
from revoice.audio.presets import config_dir, load_preset
from revoice.audio.speaker import speaker_encoder
from revoice.conversion.converter import Converter
from revoice.conversion.load import load
from revoice.data.config import build
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.fields.clip import load_clip
from revoice.evaluation.listeners import DEFAULT, build_recognizer
from revoice.evaluation.pairs import Trial
from revoice.evaluation.recognition import mean_rate
from revoice.evaluation.session import Protocol, usable_trials
from revoice.evaluation.training_voices import TrainingVoices
from revoice.models.random_cnn.model import TransferControls

SPEC, MEL = load_preset("log1p_22k"), load_preset("mel_22k")
CONTROLS = {field.name for field in fields(TransferControls)}
Make = Callable[[Audio, Audio], Audio]


def converter(text: str) -> Converter:
    """The system of one setting."""
    given = dict(pair.split("=", 1) for pair in text.split(",") if pair)
    values: dict[str, Any] = {name: OmegaConf.create(f"x: {value}").x for name, value in given.items()}
    vocoder = {name.removeprefix("vocoder."): values.pop(name) for name in list(values) if name.startswith("vocoder.")}
    controls = {name: values.pop(name) for name in list(values) if name in CONTROLS}
    spoken = {"name": "griffin_lim", **vocoder}
    return load(model="random_cnn", settings=values, features=SPEC, vocoder=spoken, controls=controls)


def mixed(source: Audio, target: Audio) -> Audio:
    """Both at once, equally loud, as long as the source."""
    other = resample(target.samples, target.sample_rate, source.sample_rate)
    other = np.resize(match_loudness(other, source.sample_rate, -20.0), len(source.samples))
    own = match_loudness(source.samples, source.sample_rate, -20.0)
    return Audio(0.5 * (own + other), source.sample_rate)


def cut(clip: Audio, seconds: float) -> Audio:
    """The middle of a clip."""
    size = round(seconds * clip.sample_rate) or len(clip.samples)
    start = max(0, (len(clip.samples) - size) // 2)
    return Audio(clip.samples[start : start + size], clip.sample_rate)


def kept(source: Audio, made: Audio) -> float:
    """Correlation of log-mel spectrograms without their means over time."""
    logs = []
    for clip in (source, made):
        samples = match_loudness(resample(clip.samples, clip.sample_rate, MEL.sample_rate), MEL.sample_rate, -20.0)
        logs.append(extract(samples, MEL).clamp(min=-7.0))
    frames = min(log.shape[1] for log in logs)
    first, second = (log[:, :frames] - log[:, :frames].mean(dim=1, keepdim=True) for log in logs)
    return float((first * second).sum() / (first.norm() * second.norm()).clamp(min=1e-9))


class Judge:
    """Speakers by the mean embedding of their clips other than those in a trial."""

    def __init__(self, manifest: Manifest, trials: Sequence[Trial]) -> None:
        self.manifest, self.encoder = manifest, speaker_encoder("cpu")
        used = {row.id for t in trials for row in (t.source, *t.references)}
        self.means = {}
        for speaker in {name for t in trials for name in (t.source.speaker, t.target)}:
            rows = [row for row in manifest if row.speaker == speaker]
            rows = ([row for row in rows if row.id not in used] or rows)[:10]
            self.means[speaker] = torch.nn.functional.normalize(self.embed([self.read(r) for r in rows]).mean(0), dim=0)

    def read(self, row: Row) -> Audio:
        return load_clip(self.manifest.file(row)).audio

    def embed(self, clips: list[Audio]) -> torch.Tensor:
        rate = SPEC.sample_rate
        return self.encoder.embed([Audio(resample(c.samples, c.sample_rate, rate), rate) for c in clips])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["data=synthetic"])
    parser.add_argument("--settings", nargs="*", default=[])
    parser.add_argument("--voices", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cut", type=float, default=3.0, help="seconds of the middle of each clip; 0: all of it")
    parser.add_argument("--recognizer", default=DEFAULT)
    options = parser.parse_args()
    recognizer = build_recognizer(options.recognizer)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        data: Any = OmegaConf.to_container(compose("evaluate", options.data).data, resolve=True)
    manifest = build(data).manifest()
    how = Protocol(groups=("unseen",), voices=options.voices)
    trials = usable_trials(manifest, how, TrainingVoices(), options.seed).trials["unseen"]
    judge = Judge(manifest, trials)
    systems: dict[str, Make] = {
        "source as it is": lambda source, target: source,
        "source, Griffin-Lim": lambda source, target: converter("").copy_synthesis(source),
        "source and target mixed": mixed,
        "target's clip": lambda source, target: target,
    }
    for text in ["", *options.settings]:
        made = converter(text)
        systems[text or "defaults"] = lambda source, target, made=made: made.convert(source, target)  # type: ignore[misc]
    print(f"{len(trials)} conversions, {manifest.corpus}, errors by {recognizer.name if recognizer else 'nobody'}")
    print(f"{'':<44}{'to target':>10}{'to source':>10}{'closer':>8}{'errors':>8}{'kept':>7}{'seconds':>9}")
    for name, make in systems.items():
        rows, clips = [], []
        for trial in trials:
            source, target = (cut(judge.read(r), options.cut) for r in (trial.source, trial.references[0]))
            began = time.perf_counter()
            clip = make(source, target)
            spent = time.perf_counter() - began
            clips += [source, clip]
            own = judge.embed([clip])[0]
            to_target, to_source = (float(own @ judge.means[n]) for n in (trial.target, trial.source.speaker))
            rows.append((to_target, to_source, to_target > to_source, kept(source, clip), spent))
        m = np.mean(np.array(rows, dtype=float), axis=0)
        heard = recognizer.transcribe(clips) if recognizer else []
        errors = mean_rate(list(zip(heard[::2], heard[1::2], strict=True)))
        print(f"{name:<44}{m[0]:>10.3f}{m[1]:>10.3f}{m[2]:>8.2f}{errors:>8.3f}{m[3]:>7.2f}{m[4]:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
