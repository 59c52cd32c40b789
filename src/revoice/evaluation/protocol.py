"""Which conversions an evaluation makes, chosen from a corpus by settings."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from revoice.audio.io import AudioError
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.fields.clip import load_clip
from revoice.errors import UserError, choices
from revoice.evaluation.baselines import check_baselines
from revoice.evaluation.listeners import AUTO, DEFAULT, check_recognizer
from revoice.evaluation.metrics.naturalness import Naturalness
from revoice.evaluation.pairs import GROUPS, Kinds, Trial, pick_trials
from revoice.evaluation.training_voices import TrainingVoices, sorted_out
from revoice.evaluation.verification import check_verifier
from revoice.settings import Count, Flag, Given, Names, Processes, Word, Words, settings

log = logging.getLogger(__name__)
Trials = dict[str, list[Trial]]


def _known(groups: tuple[str, ...]) -> tuple[str, ...]:
    for name in groups:
        if name not in GROUPS:
            raise choices(name, GROUPS, "group of test voices (metrics.groups)")
    if not groups:
        raise ValueError("nothing to do")
    return groups


@settings
class Protocol:
    """Which conversions are measured, and by whom (config group `metrics`).

    Attributes:
        groups: "unseen", "seen" or both.
        voices: all ordered pairs of so many voices in each group; None: all that there are.
        pairs: of these, so many ordered pairs of each kind; None: all.
        by: what makes a kind: gender, accent or both, of source and target.
        sentences_per_pair: sentences of each pair.
        same_sources: the same utterances of a voice go to every target.
        parallel: only sentences that the target says too.
        references: recordings of the target voice that the model is given; "all": what enrolment can spare.
        baselines: systems that convert nothing, as further systems of the table (`evaluation.baselines`).
        workers: processes for the analyses; None is one per core.
        recognizer: who counts errors, `{name: ..., setting: ...}`; None: nobody.
        second_recognizer: who gives a second opinion; name "auto": another one where the first is circular.
        second_verifier: who judges the voices beside Resemblyzer; name "auto": another one where that is circular.
        naturalness: DNSMOS is asked, which takes longer than all else; None: where its packages are installed.
    """

    groups: Annotated[Words, AfterValidator(_known)] = GROUPS
    voices: Annotated[Count, Field(ge=2)] | None = 8
    pairs: Count | None = None
    by: Annotated[tuple[Kinds, ...], Field(min_length=1)] = ("gender",)
    sentences_per_pair: Count = 1
    same_sources: Flag = False
    parallel: Flag = False
    references: Count | Literal["all"] = 1
    baselines: Annotated[Names, AfterValidator(check_baselines)] = ()
    workers: Processes | None = None
    recognizer: Given | Word | None = field(default_factory=lambda: {"name": DEFAULT})
    second_recognizer: Given | Word | None = field(default_factory=lambda: {"name": AUTO})
    second_verifier: Given | Word | None = field(default_factory=lambda: {"name": AUTO})
    naturalness: Flag | None = None

    def __post_init__(self) -> None:
        check_recognizer(self.recognizer, "metrics.recognizer")
        check_recognizer(self.second_recognizer, "metrics.second_recognizer", also=(AUTO,))
        check_verifier(self.second_verifier, "metrics.second_verifier", also=(AUTO,))
        if self.naturalness and (lacking := Naturalness.missing()):
            raise UserError(f"metrics.naturalness: {lacking}: pip install 'revoice[naturalness]', or leave it out")


@dataclass(frozen=True)
class Chosen:
    """The conversions of an evaluation.

    Attributes:
        trials: by group.
        left_out: which voices, recordings and trials are not among them, and why.
        source: what they come from, for the report.
        remarks: what is to be kept in mind of them.
    """

    trials: Trials
    left_out: tuple[str, ...] = ()
    source: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Of all groups together."""
        return sum(map(len, self.trials.values()))


def trials_for(
    manifest: Manifest, protocol: Protocol, trained_on: TrainingVoices, seed: int = 0, closed: str = ""
) -> Trials:
    """Trials by group. A corpus without a voice that was trained on is unseen as a whole, see `sorted_out`.

    `closed` names a system that can speak with the voices of its table alone, if there is one.

    Raises:
        UserError: no group is possible; the message says what the corpus lacks.
    """
    foreign = not trained_on.some
    manifest, gone = sorted_out(manifest, trained_on)
    trials: Trials = {}
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
                references=None if protocol.references == "all" else protocol.references, seed=seed,
                pairs=protocol.pairs, by=protocol.by, parallel=protocol.parallel, same_sources=protocol.same_sources,
            )  # fmt: skip
        except UserError as error:
            log.warning("%s voices are not evaluated: %s", group, error)
            reason = UserError(f"{error}; not {gone[group]}") if group in gone else error
    if not trials:
        whose = f"{closed} speaks with the voices of its table alone" if closed else "the corpus has no training voice"
        raise reason or UserError(f"nothing to evaluate: {whose}; groups asked for: {', '.join(protocol.groups)}")
    return trials


def usable_trials(
    manifest: Manifest, protocol: Protocol, trained_on: TrainingVoices, seed: int = 0, closed: str = ""
) -> Chosen:
    """`trials_for` of the recordings that can be read: one that cannot is told, and another takes its place."""
    gone = [note for group, note in sorted_out(manifest, trained_on)[1].items() if group in protocol.groups]
    for note in gone:
        log.warning("not evaluated as %s", note)
    heard: dict[str, str] = {}  # by utterance id: why it is of no use, "" if it is
    while True:
        trials = trials_for(manifest, protocol, trained_on, seed, closed)
        new = [row for row in needed(trials).values() if row.id not in heard]
        for row in new:
            heard[row.id] = problem_of(manifest.file(row))
            if heard[row.id]:
                log.warning("not evaluated: %s", heard[row.id])
        if not any(heard[row.id] for row in new):
            useless = [why for why in heard.values() if why]
            lost = [f"{len(useless)} recordings: {'; '.join(useless)}"] if useless else []
            return Chosen(trials, (*gone, *lost))
        manifest = manifest.with_rows(row for row in manifest if not heard.get(row.id))


def needed(trials: Trials) -> dict[str, Row]:
    """Every utterance that trials are made of and judged by, by its id."""
    chosen = [trial for group in trials.values() for trial in group]
    rows = [row for t in chosen for row in (t.source, *t.references, t.true_target, *t.enrol_target, *t.enrol_source)]
    return {row.id: row for row in rows if row is not None}


def problem_of(file: Path) -> str:
    """Why a recording is of no use, "" if it is of some."""
    try:
        load_clip(file)
    except AudioError as error:
        return str(error)
    return ""
