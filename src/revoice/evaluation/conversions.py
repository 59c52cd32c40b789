"""The conversions of an evaluation: trial after trial becomes sound, with the time that this took and nothing else."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from revoice.audio.io import Audio, AudioError, read_audio
from revoice.conversion.adaptation import Voice
from revoice.conversion.converter import Converter
from revoice.conversion.together import Said, say_together
from revoice.data.corpora.manifest import Manifest, Row
from revoice.evaluation.mcd import PEAK_MIN, SECONDS_MIN
from revoice.evaluation.memory import peak
from revoice.evaluation.metrics.base import Result
from revoice.evaluation.pairs import Trial


class Request(NamedTuple):
    """A conversion to make.

    Attributes:
        source: what is to be said.  references: clips of the target voice.
        speaker: name of that voice, for systems that know it.
        truth: that voice saying the same, for baselines alone.
    """

    source: Audio
    references: list[Audio]
    speaker: str
    truth: Audio | None = None


class Memory(Protocol):
    """What a system said before, so that it need not say it again."""

    def recall(self, request: Request) -> tuple[Audio, float] | None:
        """The conversion and the seconds that it took; None if it is not known."""

    def keep(self, request: Request, said: Audio, seconds: float) -> None:
        """Remember a conversion."""


Convert = Callable[[list[Request]], Sequence[Audio]]
Vocode = Callable[[Audio], Audio]


def convert_all(
    trials: Sequence[Trial],
    convert: Convert,
    vocode: Vocode,
    manifest: Manifest,
    batch_size: int = 16,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    copies_sources: bool = False,
    device: str = "cpu",
    memory: Memory | None = None,
) -> list[Result]:
    """All conversions first, with nothing else running, so that their time is theirs; then the copies, each once."""
    recordings: dict[str, Audio] = {}

    def read(row: Row) -> Audio:
        if row.id not in recordings:
            recordings[row.id] = read_audio(manifest.file(row))
        return recordings[row.id]

    def asked(trial: Trial) -> Request:
        truth = read(trial.true_target) if trial.true_target else None
        return Request(read(trial.source), [read(row) for row in trial.references], trial.target, truth)

    converted: dict[int, tuple[Audio, float]] = {}
    for i, trial in enumerate(trials if memory else ()):
        known = memory.recall(asked(trial)) if memory else None
        if known is not None:
            converted[i] = known
    # clips of like length share a batch, and within it those of one source
    new = [i for i in range(len(trials)) if i not in converted]
    order = sorted(new, key=lambda i: (read(trials[i].source).seconds, trials[i].source.id))
    with peak(device) as needed:
        for at in range(0, len(order), batch_size):
            batch = order[at : at + batch_size]
            requests = [asked(trials[i]) for i in batch]
            begin = time.perf_counter()
            outcomes = convert(requests)
            wall = time.perf_counter() - begin
            assert len(outcomes) == len(batch), f"{len(batch)} conversions asked for, {len(outcomes)} came"
            share = wall / sum(request.source.seconds for request in requests)
            for i, outcome, request in zip(batch, outcomes, requests, strict=True):
                converted[i] = (outcome, share * request.source.seconds)
                if memory:
                    memory.keep(request, *converted[i])
            progress("converting", len(trials) - len(order) + at + len(batch), len(trials))
    wanted = {trial.true_target.id: trial.true_target for trial in trials if trial.true_target}
    wanted |= {trial.source.id: trial.source for trial in trials if copies_sources}
    copies: dict[str, Audio] = {}
    for done, (key, row) in enumerate(wanted.items(), start=1):
        copies[key] = vocode(read(row))
        progress("resynthesizing", done, len(wanted))
    used = needed.megabytes if order else float("nan")
    return [_result(trial, read, copies, used, *converted[i]) for i, trial in enumerate(trials)]


def _result(
    trial: Trial,
    read: Callable[[Row], Audio],
    copies: Mapping[str, Audio],
    peak_mb: float,
    converted: Audio,
    wall: float,
) -> Result:
    source, truth = read(trial.source), trial.true_target
    return Result(
        trial=trial,
        source=source,
        references=tuple(read(row) for row in trial.references),
        converted=converted,
        true_target=read(truth) if truth else None,
        ceiling=copies[truth.id] if truth else None,
        source_copy=copies.get(trial.source.id),
        seconds=source.seconds,
        wall_seconds=wall,
        failed=_failure(converted),
        peak_mb=peak_mb,
    )


def _failure(clip: Audio) -> str:
    """Why a converted clip cannot be measured, "" if it can."""
    if not np.isfinite(clip.samples).all():
        return "samples that are not finite"
    if clip.seconds < SECONDS_MIN:
        return "no sound"
    return "silence" if np.abs(clip.samples).max() < PEAK_MIN else ""


def convert_batch(converter: Converter) -> Convert:
    """What `evaluate.run` wants of a system; a target voice is analyzed once."""
    by_name, by_nothing = converter.model.target == "speaker", converter.model.target == "none"
    controls = converter.controls({})
    made: dict[tuple[int, ...] | str, tuple[list[Audio], Voice]] = {}  # by the identity of clips, which it keeps alive

    def voice(request: Request) -> Voice:
        key = request.speaker if by_name else () if by_nothing else tuple(map(id, request.references))
        if key not in made:
            told = request.speaker if by_name else [] if by_nothing else request.references
            made[key] = request.references, converter.voice(told)
        return made[key][1]

    def convert(requests: list[Request]) -> list[Audio]:
        asked = [(request.source, voice(request)) for request in requests]
        return [_audio(said, converter.spec.sample_rate) for said in say_together(converter, asked, controls)]

    return convert


def _audio(said: Said, rate: int) -> Audio:
    """A conversion; nothing finite where it fails, which the report counts."""
    try:
        return Audio(np.concatenate([*said.blocks]), rate)
    except AudioError:
        return Audio(np.full(1, np.nan, np.float32), rate)
