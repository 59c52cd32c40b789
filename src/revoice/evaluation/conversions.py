"""The conversions of an evaluation: trial after trial becomes sound, with the time that this took and nothing else.

While an evaluation lasts, the recordings that are converted and those that tell the voices are held. What grows with
the number of conversions (themselves, the targets' own recordings of the sentences, copies) waits on a `Shelf`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
from revoice.evaluation.shelf import Kept, Shelf


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


@dataclass
class Recordings:
    """Clips of a corpus. Sources and references are read once, and are the same object ever after."""

    manifest: Manifest
    known: dict[str, Audio] = field(default_factory=dict)

    def read(self, row: Row) -> Audio:
        """A source or a reference."""
        if row.id not in self.known:
            self.known[row.id] = self.look(row)
        return self.known[row.id]

    def look(self, row: Row) -> Audio:
        """A recording that is wanted now and then, and not held."""
        return self.known[row.id] if row.id in self.known else read_audio(self.manifest.file(row))

    def asked(self, trial: Trial, truth: bool = True) -> Request:
        """What a trial asks of a system; only to know what was asked before, it does without the `truth`."""
        told = self.look(trial.true_target) if truth and trial.true_target else None
        return Request(self.read(trial.source), [self.read(row) for row in trial.references], trial.target, told)


class OnShelf(NamedTuple):
    """A conversion on the shelf.

    Attributes:
        clip: where it lies.
        wall: seconds that it took.
        failed: see `Result`.
    """

    clip: Kept
    wall: float
    failed: str


@dataclass(frozen=True)
class Waiting:
    """All that a system said to trials, to be had a few at a time.

    Attributes:
        trials: what was asked for.
        said: to each of them.
        copies: resynthesized recordings, by row id.
        recordings, shelf: where sound comes from.
        peak_mb: see `Result`.
    """

    trials: Sequence[Trial]
    said: Sequence[OnShelf]
    copies: dict[str, Kept]
    recordings: Recordings
    shelf: Shelf
    peak_mb: float

    def __len__(self) -> int:
        return len(self.trials)

    def slices(self, seconds: float) -> Iterator[range]:
        """Numbers of trials in a row whose sources last so long together, or of one whose source alone is longer."""
        first, total = 0, 0.0
        for i, trial in enumerate(self.trials):
            length = self.recordings.read(trial.source).seconds
            if i > first and total + length > seconds:
                yield range(first, i)
                first, total = i, 0.0
            total += length
        if first < len(self.trials):
            yield range(first, len(self.trials))

    def results(self, numbers: Sequence[int]) -> list[Result]:
        """Those of some trials, with their sound; each copy is read once."""
        rows = {row.id for i in numbers for row in (self.trials[i].source, self.trials[i].true_target) if row}
        copies = {key: self.shelf.get(self.copies[key]) for key in rows & self.copies.keys()}
        return [self._result(i, copies) for i in numbers]

    def _result(self, i: int, copies: dict[str, Audio]) -> Result:
        trial, said, read = self.trials[i], self.said[i], self.recordings.read
        source, truth = read(trial.source), trial.true_target
        return Result(
            trial=trial,
            source=source,
            references=tuple(read(row) for row in trial.references),
            converted=self.shelf.get(said.clip),
            true_target=self.recordings.look(truth) if truth else None,
            ceiling=copies[truth.id] if truth else None,
            source_copy=copies.get(trial.source.id),
            seconds=source.seconds,
            wall_seconds=said.wall,
            failed=said.failed,
            peak_mb=self.peak_mb,
        )


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
) -> Waiting:
    """All conversions first, with nothing else running, so that their time is theirs; then the copies, each once."""
    recordings, shelf = Recordings(manifest), Shelf()
    converted: dict[int, OnShelf] = {}

    def keep(i: int, outcome: Audio, wall: float) -> None:
        converted[i] = OnShelf(shelf.put(outcome), wall, _failure(outcome))

    for i, trial in enumerate(trials if memory else ()):
        known = memory.recall(recordings.asked(trial, truth=False)) if memory else None
        if known is not None:
            keep(i, *known)
    # clips of like length share a batch, and within it those of one source
    new = [i for i in range(len(trials)) if i not in converted]
    order = sorted(new, key=lambda i: (recordings.read(trials[i].source).seconds, trials[i].source.id))
    with peak(device) as needed:
        for at in range(0, len(order), batch_size):
            batch = order[at : at + batch_size]
            requests = [recordings.asked(trials[i]) for i in batch]
            begin = time.perf_counter()
            outcomes = convert(requests)
            wall = time.perf_counter() - begin
            assert len(outcomes) == len(batch), f"{len(batch)} conversions asked for, {len(outcomes)} came"
            share = wall / sum(request.source.seconds for request in requests)
            for i, outcome, request in zip(batch, outcomes, requests, strict=True):
                keep(i, outcome, share * request.source.seconds)
                if memory:
                    memory.keep(request, outcome, converted[i].wall)
            progress("converting", len(trials) - len(order) + at + len(batch), len(trials))
    wanted = {trial.true_target.id: trial.true_target for trial in trials if trial.true_target}
    wanted |= {trial.source.id: trial.source for trial in trials if copies_sources}
    copies: dict[str, Kept] = {}
    for done, (key, row) in enumerate(wanted.items(), start=1):
        copies[key] = shelf.put(vocode(recordings.look(row)))
        progress("resynthesizing", done, len(wanted))
    used = needed.megabytes if order else float("nan")
    return Waiting(trials, [converted[i] for i in range(len(trials))], copies, recordings, shelf, used)


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
