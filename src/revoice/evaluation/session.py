"""Checkpoints against a corpus: the trials, the conversions and the files that are left."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from revoice.atomic import REPORT, sums_of
from revoice.audio.io import Audio, AudioError
from revoice.conversion.adaptation import Voice
from revoice.conversion.converter import Converter
from revoice.data.corpora.manifest import Manifest
from revoice.data.fields.clip import load_clip
from revoice.errors import UserError, choices
from revoice.evaluation.evaluate import Convert, Evaluation, Request, build_metrics, run
from revoice.evaluation.listeners import AUTO, DEFAULT, check_recognizer, choose
from revoice.evaluation.pairs import GROUPS, Trial, pick_trials
from revoice.evaluation.report import write_metrics, write_report, write_trials
from revoice.evaluation.workers import Workers
from revoice.settings import Count, Given, Processes, Word, Words, settings
from revoice.version import __version__

log = logging.getLogger(__name__)
FILES = ("report.html", "trials.csv")  # beside `metrics.json`


def _known(groups: tuple[str, ...]) -> tuple[str, ...]:
    for name in groups:
        if name not in GROUPS:
            raise choices(name, GROUPS, "group of test voices (metrics.groups)")
    if not groups:
        raise ValueError("nothing to do")
    return groups


@settings
class Protocol:
    """Which conversions are measured (config group `metrics`).

    Attributes:
        groups: "unseen", "seen" or both.
        voices: all ordered pairs of so many voices in each group.
        sentences_per_pair: sentences of each pair.
        references: recordings of the target voice that the model is given.
        workers: processes for the analyses; None is one per core.
        recognizer: who counts errors, `{name: ..., setting: ...}`; None: nobody.
        second_recognizer: who gives a second opinion; name "auto": another one where the first is circular.
    """

    groups: Annotated[Words, AfterValidator(_known)] = GROUPS
    voices: Annotated[Count, Field(ge=2)] = 8
    sentences_per_pair: Count = 1
    references: Count = 1
    workers: Processes | None = None
    recognizer: Given | Word | None = field(default_factory=lambda: {"name": DEFAULT})
    second_recognizer: Given | Word | None = field(default_factory=lambda: {"name": AUTO})

    def __post_init__(self) -> None:
        check_recognizer(self.recognizer, "metrics.recognizer")
        check_recognizer(self.second_recognizer, "metrics.second_recognizer", also=(AUTO,))


def trials_for(
    manifest: Manifest, protocol: Protocol, trained_on: Sequence[str], seed: int = 0, closed: str = ""
) -> dict[str, list[Trial]]:
    """Trials by group. A corpus that shares no voice with the training data is unseen as a whole.

    `closed` names a system that can speak with the voices of its table alone, if there is one.

    Raises:
        UserError: no group is possible; the message says what the corpus lacks.
    """
    foreign = not set(trained_on) & set(manifest.speakers)
    if foreign:
        manifest = manifest.with_rows(replace(row, split="test_unseen") for row in manifest)
    trials: dict[str, list[Trial]] = {}
    reason: UserError | None = None
    for group in protocol.groups:
        if group == "seen" and foreign:
            continue
        if group == "unseen" and closed:
            log.info("unseen voices are not evaluated: %s speaks with the voices of its table", closed)
            continue
        try:
            trials[group] = pick_trials(
                manifest, group, speakers=protocol.voices, sentences_per_pair=protocol.sentences_per_pair,
                references=protocol.references, seed=seed,
            )  # fmt: skip
        except UserError as error:
            log.warning("%s voices are not evaluated: %s", group, error)
            reason = error
    if not trials:
        whose = f"{closed} speaks with the voices of its table alone" if closed else "the corpus has no training voice"
        raise reason or UserError(f"nothing to evaluate: {whose}; groups asked for: {', '.join(protocol.groups)}")
    return trials


def usable_trials(
    manifest: Manifest, protocol: Protocol, trained_on: Sequence[str], seed: int = 0, closed: str = ""
) -> dict[str, list[Trial]]:
    """`trials_for` of the recordings that can be read: one that cannot is told, and another takes its place."""
    heard: dict[str, str] = {}  # by utterance id: why it is of no use, "" if it is
    while True:
        trials = trials_for(manifest, protocol, trained_on, seed, closed)
        chosen = [trial for group in trials.values() for trial in group]
        rows = {row.id: row for t in chosen for row in (t.source, *t.references, t.true_target) if row is not None}
        new = [row for row in rows.values() if row.id not in heard]
        for row in new:
            heard[row.id] = _problem(manifest.file(row))
            if heard[row.id]:
                log.warning("not evaluated: %s", heard[row.id])
        if not any(heard[row.id] for row in new):
            return trials
        manifest = manifest.with_rows(row for row in manifest if not heard.get(row.id))


def _problem(file: Path) -> str:
    try:
        load_clip(file)
    except AudioError as error:
        return str(error)
    return ""


def evaluate_systems(
    converters: Mapping[str, Converter],
    manifest: Manifest,
    protocol: Protocol,
    folder: Path,
    seed: int = 0,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate systems on the same trials and write `metrics.json`, `trials.csv` and `report.html` into `folder`.

    Args:
        converters: by name of the system.
        manifest: of the corpus, with splits.
        protocol: which conversions.
        folder: of the report.
        seed: of the trials and the confidence intervals.
        extra: further entries for the top of `metrics.json`; callables are called last, so that a duration includes the
            report.
    """
    speakers = sorted({name for c in converters.values() for name in c.loaded.description.speakers})
    closed = next((name for name, c in converters.items() if c.model.target == "speaker"), "")
    trials = usable_trials(manifest, protocol, speakers, seed, closed)
    evaluations = {}
    listening = choose(
        protocol.recognizer, protocol.second_recognizer, {name: c.model.stands_on for name, c in converters.items()}
    )
    with Workers(_workers(protocol)) as workers:
        metrics = build_metrics(
            manifest, workers=workers, recognizer=listening.first, second_recognizer=listening.second
        )
        for name, converter in converters.items():
            evaluations[name] = run(
                trials, _batch(converter), converter.copy_synthesis, manifest, metrics,
                name=name, circular=_knows_verifier(converter), stands_on=converter.model.stands_on, seed=seed,
            )  # fmt: skip
    count = sum(len(group) for group in trials.values())
    first = next(iter(converters.values()))
    steps = next((c.adaptation.steps for c in converters.values() if c.model.adapts), 0)
    systems = [f"{name}: {c.model.name} ({c.loaded.sha256})" for name, c in converters.items()]
    facts = {
        "systems" if len(converters) > 1 else "model": systems,
        "data": f"{manifest.corpus}, {len(manifest.speakers)} voices, manifest {manifest.digest()}",
        "conversions": f"{count}, each given {protocol.references} clip(s) of the target voice"
        + (f", {steps} steps of adaptation to them" if steps else ""),
        "vocoder": first.vocoder.name, "revoice": __version__,
    }  # fmt: skip
    write_report(folder / "report.html", list(evaluations.values()), "Voice conversion report", facts, listening.remark)
    write_trials(folder / "trials.csv", list(evaluations.values()))
    write_metrics(folder / REPORT, {**_payload(evaluations, converters, extra or {}), **sums_of(folder, FILES)})
    return evaluations


def _knows_verifier(converter: Converter) -> bool:
    return "embedding" in converter.model.requires.fields or "resemblyzer" in converter.model.stands_on


def _payload(
    evaluations: Mapping[str, Evaluation], converters: Mapping[str, Converter], extra: Mapping[str, Any]
) -> dict[str, Any]:
    about = {name: {**c.describe(), "controls": asdict(c.controls({}))} for name, c in converters.items()}
    head = {"version": __version__, **{key: value() if callable(value) else value for key, value in extra.items()}}
    if len(evaluations) == 1:
        name, evaluation = next(iter(evaluations.items()))
        return {**head, **about[name], **evaluation.summaries}
    return {**head, "systems": {name: {**about[name], **e.summaries} for name, e in evaluations.items()}}


def _batch(converter: Converter) -> Convert:
    by_name = converter.model.target == "speaker"
    made: dict[tuple[int, ...] | str, tuple[list[Audio], Voice]] = {}  # by the identity of clips, which it keeps alive

    def voice(request: Request) -> Voice:
        key = request.speaker if by_name else tuple(map(id, request.references))
        if key not in made:
            made[key] = request.references, converter.voice(request.speaker if by_name else request.references)
        return made[key][1]

    def convert(requests: list[Request]) -> list[Audio]:
        return [converter.convert(request.source, voice(request)) for request in requests]

    return convert


def _workers(protocol: Protocol) -> int:
    from revoice.data.prepare.workers import usable_cpus

    return usable_cpus() if protocol.workers is None else protocol.workers
