"""Convert, measure, summarize."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from revoice.data.corpora.manifest import Manifest
from revoice.evaluation.conversions import Convert, Memory, Vocode, Waiting, convert_all
from revoice.evaluation.examples import Example, choose_examples
from revoice.evaluation.flags import Flag, flags
from revoice.evaluation.metrics.base import METRICS, Column, Metric, Values
from revoice.evaluation.metrics.naturalness import Naturalness
from revoice.evaluation.metrics.speaker import SpeakerSimilarity
from revoice.evaluation.metrics.words import Words
from revoice.evaluation.pairs import Trial
from revoice.evaluation.recognition import Listener, Recognizer
from revoice.evaluation.summary import Record, Summary, summarize
from revoice.evaluation.verification import VERIFIERS, Verifier
from revoice.evaluation.voice_map import VoiceMap
from revoice.evaluation.workers import Workers

DEFAULT_METRICS = ("speaker", "words", "spectral", "sound", "naturalness", "speed")
SECOND = "second_"  # before the columns of a second judge
HELD = 600.0  # seconds of sources whose conversions are in memory at once, to be measured


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
        second_verifier: who judged them too, "" if nobody did.
        flags: what is wrong with it whatever its best number says, by group.
        voices: where recordings and conversions lie for the verifier, by group.
    """

    name: str
    columns: tuple[Column, ...]
    records: dict[str, list[Record]]
    summaries: dict[str, Summary]
    examples: dict[str, list[Example]]
    verifier: str
    circular: bool
    listeners: tuple[Listener, ...] = ()
    second_verifier: str = ""
    flags: dict[str, list[Flag]] = field(default_factory=dict)
    voices: dict[str, VoiceMap] = field(default_factory=dict)


def build_metrics(
    manifest: Manifest,
    names: Sequence[str] = DEFAULT_METRICS,
    verifier: str | Verifier = "resemblyzer",
    workers: Workers | None = None,
    device: str = "cpu",
    recognizer: Recognizer | None = None,
    second_recognizer: Recognizer | None = None,
    second_verifier: Verifier | None = None,
) -> list[Metric]:
    """Metrics by registry name. Reuse the list for every system evaluated on `manifest`: it remembers the recordings.

    Args:
        manifest: of the corpus that the trials come from.
        names: which, in the order of the report's tables.
        verifier: the speaker encoder that judges, or its registry name.
        workers: processes for the WORLD analyses.
        device: where the verifier runs.
        recognizer: counts the errors; without one, the metric `words` is left out.
        second_recognizer: counts them too, in columns of its own.
        second_verifier: judges the voices too, in columns of its own.
    """
    judge = VERIFIERS.build(verifier, {}, {"device": device}) if isinstance(verifier, str) else verifier
    facts = {"verifier": judge, "manifest": manifest, "workers": workers, "recognizer": recognizer}
    absent = {"words": recognizer is None, "naturalness": names is DEFAULT_METRICS and bool(Naturalness.missing())}
    metrics = []
    for name in names:
        if not absent.get(name):
            metrics.append(METRICS.build(name, {}, facts))
        if name == "words" and second_recognizer:
            metrics.append(Words(second_recognizer, manifest, prefix=SECOND))
        if name == "speaker" and second_verifier:
            metrics.append(SpeakerSimilarity(second_verifier, manifest, prefix=SECOND))
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
    device: str = "cpu",
    memory: Memory | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    possible: Callable[[Trial], bool] = lambda trial: True,
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
        device: whose memory is looked at.
        memory: of earlier conversions; None converts everything.
        progress: called with (stage, done, total).
        possible: whether the system has anything to say to a trial; where it has not, nothing is measured or counted.
    """
    flat = [(group, trial) for group, group_trials in trials.items() for trial in group_trials]
    copies = any(metric.copies_sources for metric in metrics)
    wanted = [trial for _, trial in flat if possible(trial)]
    results = convert_all(wanted, convert, vocode, manifest, batch_size, progress, copies, device, memory)
    columns = tuple(column for metric in metrics for column in metric.columns)
    measured = enumerate(_measure(results, metrics, columns, progress))
    records: dict[str, list[Record]] = {group: [] for group in trials}
    by_group: dict[str, list[tuple[int, Record]]] = {group: [] for group in trials}
    for group, trial in flat:
        if possible(trial):
            by_group[group].append(next(measured))
            records[group].append(by_group[group][-1][1])
        else:
            records[group].append(_facts(trial))
    listeners = tuple(metric.listener(stands_on) for metric in metrics if isinstance(metric, Words))
    summaries = {group: summarize(own, columns, seed) for group, own in records.items()}
    judges = [metric for metric in metrics if isinstance(metric, SpeakerSimilarity)]
    for group, summary in summaries.items():
        summary["recognizer"] = None
        summary |= {f"{listener.prefix}recognizer": listener.facts(summary) for listener in listeners}
        summary |= {f"{judge.prefix}verifier": judge.facts(records[group], seed) for judge in judges}
    errors = [listener.key("converted") for listener in sorted(listeners, key=lambda listener: listener.circular)]
    return Evaluation(
        name=name,
        columns=columns,
        records=records,
        summaries=summaries,
        examples={group: _examples(results, both) for group, both in by_group.items()},
        verifier=verifier,
        circular=circular,
        listeners=listeners,
        second_verifier=next((judge.verifier.name for judge in judges if judge.prefix), ""),
        flags={g: flags([record for _, record in both], summaries[g], errors) for g, both in by_group.items()},
        voices={g: judges[0].places([wanted[i] for i, _ in both]) for g, both in by_group.items()} if judges else {},
    )


def _examples(results: Waiting, chosen: Sequence[tuple[int, Record]]) -> list[Example]:
    return choose_examples([record for _, record in chosen], lambda place: results.results([chosen[place][0]])[0])


def _measure(
    results: Waiting,
    metrics: Sequence[Metric],
    columns: Sequence[Column],
    progress: Callable[[str, int, int], None],
) -> list[Record]:
    """A record for each conversion, measured slice after slice, of which no more than one is held."""
    for metric in metrics:
        metric.begin()
    values: list[Values] = [{} for _ in range(len(results))]
    progress("measuring", 0, len(results))
    for numbers in results.slices(HELD):
        whole = [i for i in numbers if not results.said[i].failed]
        sound = results.results(whole)
        waiting = [metric.start(sound) for metric in metrics]
        for number, finish in enumerate(waiting, 1):  # of some a recognizer takes minutes
            for i, new in zip(whole, finish(), strict=True):
                values[i].update(new)
            progress("measuring", numbers.start + len(numbers) * number // len(waiting), len(results))
    known = [own for own, said in zip(values, results.said, strict=True) if not said.failed]
    failed = {
        column.key: column.if_failed
        for column in columns
        if column.if_failed is not None
        # what could be measured of no other conversion says nothing of those that failed either
        and (not known or any(math.isfinite(own.get(column.key, math.nan)) for own in known))
    }
    return [
        _facts(trial)
        | {"seconds": results.recordings.read(trial.source).seconds, "wall_seconds": said.wall, "failed": said.failed}
        | (failed if said.failed else own)
        for trial, said, own in zip(results.trials, results.said, values, strict=True)
    ]


def _facts(trial: Trial) -> dict[str, Any]:
    """What is known of a trial that nothing was converted in."""
    return {
        "source": trial.source.id,
        "source_speaker": trial.source.speaker,
        "source_gender": trial.source.gender,
        "target_speaker": trial.target,
        "source_accent": trial.source.accent,
        "target_gender": trial.references[0].gender,
        "target_accent": trial.references[0].accent,
        "same_gender": trial.same_gender,
        "sentence": trial.source.sentence,
        "text": trial.source.text,
        "references": [row.id for row in trial.references],
        "true_target": trial.true_target.id if trial.true_target else None,
        "seconds": trial.source.seconds,
        "wall_seconds": math.nan,
        "failed": "",
    }
