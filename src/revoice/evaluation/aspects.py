"""Speech taken apart: whether an aspect that is swapped moves its own measure, and leaves the others where they were.

Every conversion is given the target voice saying the same sentence. A measure is a distance to that recording; how far
a conversion has gone is told as a share of the way from the source (through features and vocoder) to the target
(likewise): 0 is where the source was, 1 is the target. Of every conversion the error rate stands beside it. So does the
target's recording moved to the source's level of pitch: who speaks is heard by the pitch, too, and what a timbre can
reach without it is that.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from revoice.audio.anonymization import ANONYMIZERS
from revoice.audio.features import extract
from revoice.audio.io import Audio, read_audio, resample
from revoice.audio.pitch import pitch_for
from revoice.audio.presets import load_preset
from revoice.conversion.converter import Converter
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.pairs import Trial, pick_trials, said
from revoice.evaluation.recognition import SHORT, Recognizer, mean_rate
from revoice.evaluation.training_voices import TrainingVoices, sorted_out
from revoice.evaluation.verification import Verifier, enrol
from revoice.nn.alignment import align
from revoice.settings import Count, Flag, settings

log = logging.getLogger(__name__)
NOTHING, COPY, BOUND = "nothing swapped", "source, vocoder alone", "target at source's pitch"
CONVERSIONS: dict[str, dict[str, Any]] = {
    NOTHING: {"aspects": ()},
    "rhythm": {"aspects": ("rhythm",)},
    "pitch": {"aspects": ("pitch",)},
    "timbre": {"aspects": ("timbre",)},
    "timbre and level": {"aspects": ("timbre", "level")},
    "rhythm, pitch, timbre": {"aspects": ("rhythm", "pitch", "timbre")},
    "without content": {"aspects": (), "without": ("content",)},
    "without rhythm": {"aspects": (), "without": ("rhythm",)},
    "without pitch": {"aspects": (), "without": ("pitch",)},
}
TIMBRE = "timbre"
MEASURES = {
    TIMBRE: "1 - cosine",
    "pitch median": "cents",
    "pitch contour": "cents",
    "duration": "s",
    "phone timing": "s",
}  # with their units; beside them `timbre (VERIFIER)` of a second judge
_SPEC, _CEPSTRA = "speechsplit_16k", 20
_LEAST = 0.1  # of the source's distance: below it there is no way to have gone a share of


@settings
class AspectProtocol:
    """Which conversions are measured.

    Attributes:
        name: "aspects".
        voices: all ordered pairs of so many unseen voices.
        sentences_per_pair: sentences of each pair, said by both and never trained on.
        other_emotion: the target says the sentence in another emotion than the source, each in turn: another melody.
    """

    name: Literal["aspects"] = "aspects"
    voices: Count = 8
    sentences_per_pair: Count = 1
    other_emotion: Flag = False


Voices = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Sound:
    """What is measured of a clip: cepstra (T, 20) without their means, f0 (T,) in Hz, length, embeddings by judge."""

    cepstra: NDArray[np.float64]
    f0: NDArray[np.float32]
    seconds: float
    voices: Voices


@dataclass(frozen=True)
class Matrix:
    """The measures of one system.

    Attributes:
        distances: by conversion, of `MEASURES` and of the other judges; those of `COPY` are the source's.
        ways: the same as shares of the way to the target; nan where source and target hardly differ.
        errors: rate by conversion and recognizer.
        contours: the pitch converter's, the source's at the target's mean, and that mean, against the target's: cents,
            by how many the first is worse than the second, and shares of frames that one alone takes for voiced.
        trials: how many.
    """

    distances: dict[str, dict[str, float]]
    ways: dict[str, dict[str, float]]
    errors: dict[str, dict[str, float]]
    contours: dict[str, float]
    trials: int


def parallel_trials(manifest: Manifest, protocol: AspectProtocol, trained_on: TrainingVoices, seed: int) -> list[Trial]:
    """Trials of unseen voices of which the target says the same sentence.

    Raises:
        UserError: the corpus has none.
    """
    manifest, gone = sorted_out(manifest, trained_on)
    if "unseen" in gone:
        log.warning("not evaluated as %s", gone["unseen"])
    found = pick_trials(
        manifest, "unseen", speakers=protocol.voices, sentences_per_pair=protocol.sentences_per_pair, seed=seed
    )
    if protocol.other_emotion:
        found = said_otherwise(found, manifest)
    found = [trial for trial in found if trial.true_target is not None]
    if not found and protocol.other_emotion:
        raise UserError(
            f"corpus '{manifest.corpus}': no sentence that an unseen voice says in another emotion than another one "
            "does: take evaluation.other_emotion=false or such a corpus, as data=synthetic_emotions"
        )
    if not found:
        raise UserError(
            f"corpus '{manifest.corpus}': no sentence that two unseen voices say, as aspects are swapped by"
        )
    return found


def said_otherwise(trials: Sequence[Trial], manifest: Manifest) -> list[Trial]:
    """Trials whose true target says the sentence in another emotion than the source; each trial takes the next one.

    An emotion that nobody told is no other one: such a trial has no true target.
    """
    spoken: dict[tuple[str, str], list[Row]] = {}
    for row in manifest.select("test_unseen"):
        spoken.setdefault((row.speaker, said(row)), []).append(row)
    found = []
    for number, trial in enumerate(trials):
        rows = spoken.get((trial.target, said(trial.source)), [])
        others = [row for row in rows if row.emotion and trial.source.emotion not in (None, row.emotion)]
        found.append(replace(trial, true_target=others[number % len(others)] if others else None))
    return found


def measure(
    converter: Converter, trials: Sequence[Trial], manifest: Manifest, verifiers: Sequence[Verifier],
    recognizers: Sequence[Recognizer],
) -> Matrix:  # fmt: skip
    """All conversions of all trials, their timbre judged by the first verifier and, beside it, by the others.

    Raises:
        UserError: the model swaps no aspects.
    """
    if not {"aspects", "without"} <= {each.name for each in fields(converter.model.Controls)}:
        raise UserError(f"{converter.model.name} swaps no aspects of speech: evaluation=aspects takes a speechsplit")
    if converter.model.target != "clips":
        raise UserError(
            f"this {converter.model.name} speaks with the voices of its table: evaluation=aspects takes one that is "
            "told a voice by recordings (model.voice=embedding)"
        )
    judges = {f"{TIMBRE} ({each.name})" if number else TIMBRE: each for number, each in enumerate(verifiers)}
    clips = _Clips(manifest, judges)
    voices = {row.id: converter.voice(clips.audio(row)) for t in trials if (row := t.true_target)}
    copies = {row.id: converter.copy_synthesis(clips.audio(row)) for t in trials for row in (t.source, _truth(t))}
    made: dict[str, list[Audio]] = {COPY: [copies[t.source.id] for t in trials]}
    for name, controls in CONVERSIONS.items():
        made[name] = [converter.convert(clips.audio(t.source), voices[_truth(t).id], **controls) for t in trials]
    made[BOUND] = [at_pitch_of(clips.audio(t.source), clips.audio(_truth(t))) for t in trials]
    found = {name: _distances(sounds, trials, clips) for name, sounds in made.items()}
    distances, end = _means(found, _distances([copies[_truth(t).id] for t in trials], trials, clips))
    ways = {name: _ways(each, distances[COPY], end) for name, each in distances.items()}
    errors = _errors(made, trials, clips, recognizers)
    lacks = getattr(converter.model, "untrained", "") == "pitch"
    return Matrix(distances, ways, errors, {} if lacks else _contours(converter, trials, clips), len(trials))


def at_pitch_of(source: Audio, target: Audio) -> Audio:
    """The target's recording by WORLD, its median f0 moved to that of the source; as it is if one has none."""
    spec = load_preset(_SPEC)
    f0 = pitch_for(resample(source.samples, source.sample_rate, spec.sample_rate), spec).f0
    if not (f0 > 0).any():
        return target
    level = float(np.median(f0[f0 > 0]))
    moved = ANONYMIZERS.build("world", {"f0_range": [level, level]})(target.samples, target.sample_rate)
    return Audio(moved, target.sample_rate)


class _Clips:
    """Recordings and what is measured of them, each once."""

    def __init__(self, manifest: Manifest, judges: Mapping[str, Verifier]) -> None:
        self.manifest, self.judges = manifest, judges
        self._audio: dict[str, Audio] = {}
        self._sounds: dict[str, Sound] = {}

    def audio(self, row: Row) -> Audio:
        if row.id not in self._audio:
            self._audio[row.id] = read_audio(self.manifest.file(row))
        return self._audio[row.id]

    def sound(self, row: Row) -> Sound:
        if row.id not in self._sounds:
            self._sounds[row.id] = self.heard(self.audio(row))
        return self._sounds[row.id]

    def voices(self, rows: Sequence[Row]) -> Voices:
        return {name: enrol(np.stack([self.sound(row).voices[name] for row in rows])) for name in self.judges}

    def heard(self, clip: Audio) -> Sound:
        spec = load_preset(_SPEC)
        samples = resample(clip.samples, clip.sample_rate, spec.sample_rate)
        mel = extract(samples, spec).clamp(0, 1).double().numpy()
        k = np.arange(1, _CEPSTRA + 1)[:, None]
        cepstra = np.cos(np.pi / len(mel) * k * (np.arange(len(mel)) + 0.5)) @ mel
        cepstra -= cepstra.mean(axis=1, keepdims=True)
        voices = {name: judge.embed([clip])[0] for name, judge in self.judges.items()}
        return Sound(cepstra.T, pitch_for(samples, spec).f0, clip.seconds, voices)


def _truth(trial: Trial) -> Row:
    assert trial.true_target is not None
    return trial.true_target


def _distances(made: Sequence[Audio], trials: Sequence[Trial], clips: _Clips) -> dict[str, NDArray[np.float64]]:
    """By measure, of each trial; nan where there is no pitch to compare."""
    found = [
        _apart(clips.heard(clip), clips.sound(_truth(trial)), clips.voices(trial.enrol_target))
        for clip, trial in zip(made, trials, strict=True)
    ]
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def _means(
    found: Mapping[str, Mapping[str, NDArray[np.float64]]], end: Mapping[str, NDArray[np.float64]]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Mean distances by conversion and measure, and of the targets' copies `end`, over the same trials.

    These are those whose source and target can be compared, by their copies. A conversion that has lost what is
    measured, as one without any voicing its pitch, has gone nowhere: it counts as the source.
    """
    start = found[COPY]
    known = {name: np.isfinite(start[name]) & np.isfinite(values) for name, values in end.items()}
    means = {
        key: {
            name: _mean(np.where(np.isfinite(values), values, start[name])[known[name]])
            for name, values in each.items()
        }
        for key, each in found.items()
    }
    return means, {name: _mean(values[known[name]]) for name, values in end.items()}


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else np.nan


def _ways(found: Mapping[str, float], start: Mapping[str, float], end: Mapping[str, float]) -> dict[str, float]:
    """Distances as shares of the way; nan where the source is hardly farther from the target than the target's copy."""
    far = {key: start[key] - end[key] for key in found}
    known = {key: far[key] > max(_LEAST * start[key], 1e-6) for key in found}
    return {key: (start[key] - value) / far[key] if known[key] else np.nan for key, value in found.items()}


def _apart(clip: Sound, target: Sound, voices: Voices) -> dict[str, float]:
    """Distances by measure."""
    path = align(clip.cepstra, target.cepstra).path
    cents = 1200 * (_log2(clip.f0)[path[:, 0]] - _log2(target.f0)[path[:, 1]])
    both = np.isfinite(cents)
    median = 1200 * (np.nanmedian(_log2(clip.f0)) - np.nanmedian(_log2(target.f0))) if both.any() else np.nan
    frame = target.seconds / len(target.f0)
    found = {
        "pitch median": abs(float(median)),
        "pitch contour": float(np.sqrt(np.mean(cents[both] ** 2))) if both.any() else np.nan,
        "duration": abs(clip.seconds - target.seconds),
        "phone timing": float(np.abs(path[:, 0] - path[:, 1]).mean() * frame),
    }
    timbre = {name: 1 - float(clip.voices[name] @ voice) for name, voice in voices.items()}
    return timbre | found


def _log2(f0: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.where(f0 > 0, np.log2(np.maximum(f0, 1e-3)), np.nan)


def _errors(
    made: Mapping[str, Sequence[Audio]], trials: Sequence[Trial], clips: _Clips, recognizers: Sequence[Recognizer]
) -> dict[str, dict[str, float]]:
    """Of what each recognizer hears in the sources, how much is wrong; nan if it hears nothing in any."""
    errors: dict[str, dict[str, float]] = {name: {} for name in made}
    for recognizer in recognizers:
        originals = recognizer.transcribe([clips.audio(trial.source) for trial in trials])
        key = f"{SHORT[recognizer.unit]} ({recognizer.name})"
        for name, sounds in made.items():
            heard = recognizer.transcribe(list(sounds))
            errors[name][key] = mean_rate(list(zip(originals, heard, strict=True)))
    return errors


@torch.no_grad()
def _contours(converter: Converter, trials: Sequence[Trial], clips: _Clips) -> dict[str, float]:
    """The target's contour in the source's rhythm by the pitch converter, beside the source's own at the target's mean.

    What hardly moves is often nearer than what moves otherwise, so that mean alone is measured, too ("flat").
    """
    cents: dict[str, list[float]] = {"converter": [], "scaled source": [], "flat": []}
    voicing: dict[str, list[float]] = {name: [] for name in cents}
    controls = converter.controls({"aspects": ("pitch", "timbre"), "timing": "codes"})
    for trial in trials:
        source, target = (converter.analyzed(converter.audio(clips.audio(r))) for r in (trial.source, _truth(trial)))
        assert source.f0 is not None and target.f0 is not None
        own, theirs = source.f0[0].cpu().numpy(), target.f0[0].cpu().numpy()
        found = converter.model.pitch(source, [target], controls)
        assert found is not None
        mean = np.nanmean(_log2(theirs))
        contours = {
            "converter": found[0].cpu().numpy(),
            "scaled source": own * 2.0 ** (mean - np.nanmean(_log2(own))),
            "flat": np.where(own > 0, 2.0**mean, 0.0),
        }
        path = align(*(_envelope(each.features[0].clamp(0, 1)) for each in (source, target))).path
        wanted = _log2(theirs)[path[:, 1]]
        given = {name: _log2(f0)[path[:, 0]] for name, f0 in contours.items()}
        both = np.isfinite(wanted) & np.all([np.isfinite(each) for each in given.values()], axis=0)
        for name, each in given.items():
            if both.any():
                cents[name].append(float(1200 * np.sqrt(np.mean((each[both] - wanted[both]) ** 2))))
            voicing[name].append(float(np.mean(np.isfinite(each) != np.isfinite(wanted))))
    found_cents = {f"{name} (cents)": float(np.mean(values)) for name, values in cents.items() if values}
    worse = np.array(cents["converter"]) - np.array(cents["scaled source"])
    if len(worse) > 1:  # of pairs, which share voices: the true one is rather larger
        found_cents["converter less scaled source (cents)"] = float(worse.mean())
        found_cents["its standard error"] = float(worse.std(ddof=1) / len(worse) ** 0.5)
    return found_cents | {f"{name} (voicing errors)": float(np.mean(values)) for name, values in voicing.items()}


def _envelope(mel: torch.Tensor) -> NDArray[np.float64]:
    bands = len(mel)
    basis = np.cos(np.pi / bands * np.arange(1, _CEPSTRA + 1)[:, None] * (np.arange(bands) + 0.5))
    cepstra = basis @ mel.double().cpu().numpy()
    return (cepstra - cepstra.mean(axis=1, keepdims=True)).T
