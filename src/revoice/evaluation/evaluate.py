"""Convert, measure, summarize."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from revoice.audio.io import Audio, read_audio
from revoice.data.corpora.manifest import Manifest, Row
from revoice.evaluation.examples import Example, choose_examples
from revoice.evaluation.mcd import PEAK_MIN, SECONDS_MIN
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Result, Values
from revoice.evaluation.metrics.words import Words
from revoice.evaluation.pairs import Trial
from revoice.evaluation.recognition import Listener, Recognizer
from revoice.evaluation.summary import Record, Summary, summarize
from revoice.evaluation.verification import VERIFIERS
from revoice.evaluation.workers import Workers


class Request(NamedTuple):
    """A conversion to make: a source, clips of the target voice, and the voice's name for systems that know it."""

    source: Audio
    references: list[Audio]
    speaker: str


Convert = Callable[[list[Request]], Sequence[Audio]]
Vocode = Callable[[Audio], Audio]

DEFAULT_METRICS = ("speaker", "words", "spectral", "speed")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that is known of one system after an evaluation.

    Attributes:
        name: of the system.
        columns: what was measured.
        records: one dict per trial, plain values (nan where there is none), by group.
        summaries: what `summarize` makes of them, by group.
        examples: a few trials with their sound, by group.
        verifier: who judged the voices.
        circular: the system was conditioned on, or trained against, that verifier, which then flatters it.
        listeners: who counted the errors; none if nobody did.
    """

    name: str
    columns: tuple[Column, ...]
    records: dict[str, list[Record]]
    summaries: dict[str, Summary]
    examples: dict[str, list[Example]]
    verifier: str
    circular: bool
    listeners: tuple[Listener, ...] = ()


def build_metrics(
    manifest: Manifest,
    names: Sequence[str] = DEFAULT_METRICS,
    verifier: str = "resemblyzer",
    workers: Workers | None = None,
    device: str = "cpu",
    recognizer: Recognizer | None = None,
    second_recognizer: Recognizer | None = None,
) -> list[Metric]:
    """Metrics by registry name. Reuse the list for every system evaluated on `manifest`: it remembers the recordings.

    Args:
        manifest: of the corpus that the trials come from.
        names: which, in the order of the report's tables.
        verifier: registry name of the speaker encoder that judges.
        workers: processes for the WORLD analyses.
        device: where the verifier runs.
        recognizer: counts the errors; without one, the metric `words` is left out.
        second_recognizer: counts them too, in columns of its own.
    """
    judge = VERIFIERS.build(verifier, {}, {"device": device})
    facts = {"verifier": judge, "manifest": manifest, "workers": workers, "recognizer": recognizer}
    metrics = []
    for name in names:
        if name != "words" or recognizer:
            metrics.append(METRICS.build(name, {}, facts))
        if name == "words" and second_recognizer:
            metrics.append(Words(second_recognizer, manifest, prefix="second_"))
    return metrics


def run(
    trials: Mapping[str, Sequence[Trial]],
    convert: Convert,
    vocode: Vocode,
    manifest: Manifest,
    metrics: Sequence[Metric],
    *,
    name: str = "model",
    verifier: str = "resemblyzer",
    circular: bool = False,
    stands_on: Collection[str] = (),
    batch_size: int = 16,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Evaluation:
    """Evaluate one system.

    Args:
        trials: what to convert, by group ("unseen", "seen").
        convert: batch of requests -> converted clips; its wall time is what the real-time factor counts.
        vocode: a recording through the system's features and vocoder and back, the best that a conversion could sound.
        manifest: of the corpus that the trials come from.
        metrics: see `build_metrics`.
        name: of the system, for the report.
        verifier: name of the judge, for the report.
        circular: see `Evaluation`.
        stands_on: names of recognizers and encoders that the system is made of or was taught by.
        batch_size: conversions per call of `convert`; clips of like length share a call.
        seed: of the confidence intervals.
        progress: called with (stage, done, total).
    """
    flat = [(group, trial) for group, group_trials in trials.items() for trial in group_trials]
    copies = any(metric.copies_sources for metric in metrics)
    results = convert_all([trial for _, trial in flat], convert, vocode, manifest, batch_size, progress, copies)
    columns = tuple(column for metric in metrics for column in metric.columns)
    progress("measuring", 0, len(results))
    records = _measure(results, metrics, columns)
    progress("measuring", len(results), len(results))
    by_group: dict[str, list[tuple[Record, Result]]] = {group: [] for group in trials}
    for (group, _), record, result in zip(flat, records, results, strict=True):
        by_group[group].append((record, result))
    listeners = tuple(metric.listener(stands_on) for metric in metrics if isinstance(metric, Words))
    summaries = {group: summarize([record for record, _ in both], columns, seed) for group, both in by_group.items()}
    for summary in summaries.values():
        summary["recognizer"] = None
        summary |= {f"{listener.prefix}recognizer": listener.facts(summary) for listener in listeners}
    return Evaluation(
        name=name,
        columns=columns,
        records={group: [record for record, _ in both] for group, both in by_group.items()},
        summaries=summaries,
        examples={group: choose_examples(both) for group, both in by_group.items()},
        verifier=verifier,
        circular=circular,
        listeners=listeners,
    )


def convert_all(
    trials: Sequence[Trial],
    convert: Convert,
    vocode: Vocode,
    manifest: Manifest,
    batch_size: int = 16,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    copies_sources: bool = False,
) -> list[Result]:
    """All conversions first, with nothing else running, so that their time is theirs; then the copies, each once."""
    recordings: dict[str, Audio] = {}

    def read(row: Row) -> Audio:
        if row.id not in recordings:
            recordings[row.id] = read_audio(manifest.file(row))
        return recordings[row.id]

    order = sorted(range(len(trials)), key=lambda i: read(trials[i].source).seconds)
    converted: dict[int, tuple[Audio, float]] = {}
    for at in range(0, len(order), batch_size):
        batch = order[at : at + batch_size]
        requests = [
            Request(read(trials[i].source), [read(row) for row in trials[i].references], trials[i].target)
            for i in batch
        ]
        begin = time.perf_counter()
        outcomes = convert(requests)
        wall = time.perf_counter() - begin
        assert len(outcomes) == len(batch), f"{len(batch)} conversions asked for, {len(outcomes)} came"
        share = wall / sum(request.source.seconds for request in requests)
        for i, outcome, request in zip(batch, outcomes, requests, strict=True):
            converted[i] = (outcome, share * request.source.seconds)
        progress("converting", at + len(batch), len(order))
    wanted = {trial.true_target.id: trial.true_target for trial in trials if trial.true_target}
    wanted |= {trial.source.id: trial.source for trial in trials if copies_sources}
    copies: dict[str, Audio] = {}
    for done, (key, row) in enumerate(wanted.items(), start=1):
        copies[key] = vocode(read(row))
        progress("resynthesizing", done, len(wanted))
    return [_result(trial, read, copies, *converted[i]) for i, trial in enumerate(trials)]


def _result(
    trial: Trial, read: Callable[[Row], Audio], copies: Mapping[str, Audio], converted: Audio, wall: float
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
    )


def _failure(clip: Audio) -> str:
    """Why a converted clip cannot be measured, "" if it can."""
    if not np.isfinite(clip.samples).all():
        return "samples that are not finite"
    if clip.seconds < SECONDS_MIN:
        return "no sound"
    return "silence" if np.abs(clip.samples).max() < PEAK_MIN else ""


def _measure(results: Sequence[Result], metrics: Sequence[Metric], columns: Sequence[Column]) -> list[Record]:
    whole = [result for result in results if not result.failed]
    values: list[Values] = [{} for _ in whole]
    for finish in [metric.start(whole) for metric in metrics]:
        for own, new in zip(values, finish(), strict=True):
            own.update(new)
    measured = iter(values)
    failed = {column.key: column.if_failed for column in columns if column.if_failed is not None}
    return [_facts(result) | (failed if result.failed else next(measured)) for result in results]


def _facts(result: Result) -> dict[str, Any]:
    trial = result.trial
    return {
        "source": trial.source.id,
        "source_speaker": trial.source.speaker,
        "source_gender": trial.source.gender,
        "target_speaker": trial.target,
        "target_gender": trial.references[0].gender,
        "same_gender": trial.same_gender,
        "sentence": trial.source.sentence,
        "text": trial.source.text,
        "references": [row.id for row in trial.references],
        "true_target": trial.true_target.id if trial.true_target else None,
        "seconds": result.seconds,
        "wall_seconds": result.wall_seconds,
        "failed": result.failed,
    }
