"""Which conversions an evaluation makes: chosen from a corpus by settings, or read from a file."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from revoice.atomic import digest, write_text
from revoice.audio.io import AudioError
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.fields.clip import load_clip
from revoice.errors import UserError, choices
from revoice.evaluation.baselines import check_baselines
from revoice.evaluation.listeners import AUTO, DEFAULT, check_recognizer
from revoice.evaluation.pairs import GROUPS, Kinds, Trial, pick_trials
from revoice.evaluation.verification import check_verifier
from revoice.foreign import parse_json
from revoice.settings import Count, Flag, Given, Names, Natural, Place, Processes, Word, Words, from_mapping, settings

log = logging.getLogger(__name__)
FORMAT = 1
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

    def __post_init__(self) -> None:
        check_recognizer(self.recognizer, "metrics.recognizer")
        check_recognizer(self.second_recognizer, "metrics.second_recognizer", also=(AUTO,))
        check_verifier(self.second_verifier, "metrics.second_verifier", also=(AUTO,))


@settings
class ConversionSettings:
    """How conversions are evaluated beside what is measured (config group `evaluation`, `conversion`).

    Attributes:
        name: "conversion".
        protocol: a file that says which conversions, in place of the choice that `metrics` describes.
        cache: folder that keeps conversions, embeddings and what was heard, by content; None: nothing is kept.
    """

    name: Literal["conversion"] = "conversion"
    protocol: Place | None = None
    cache: Place | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None:
            read_protocol(self.protocol)


@dataclass(frozen=True)
class Chosen:
    """The conversions of an evaluation.

    Attributes:
        trials: by group.
        left_out: how many trials of a protocol's file have recordings that cannot be read, and why.
        source: what they come from, for the report.
    """

    trials: Trials
    left_out: tuple[str, ...] = ()
    source: str = ""

    @property
    def count(self) -> int:
        """Of all groups together."""
        return sum(map(len, self.trials.values()))


def trials_for(
    manifest: Manifest, protocol: Protocol, trained_on: Sequence[str], seed: int = 0, closed: str = ""
) -> Trials:
    """Trials by group. A corpus that shares no voice with the training data is unseen as a whole.

    `closed` names a system that can speak with the voices of its table alone, if there is one.

    Raises:
        UserError: no group is possible; the message says what the corpus lacks.
    """
    foreign = not set(trained_on) & set(manifest.speakers)
    if foreign:
        manifest = manifest.with_rows(replace(row, split="test_unseen") for row in manifest)
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
            reason = error
    if not trials:
        whose = f"{closed} speaks with the voices of its table alone" if closed else "the corpus has no training voice"
        raise reason or UserError(f"nothing to evaluate: {whose}; groups asked for: {', '.join(protocol.groups)}")
    return trials


def usable_trials(
    manifest: Manifest, protocol: Protocol, trained_on: Sequence[str], seed: int = 0, closed: str = ""
) -> Trials:
    """`trials_for` of the recordings that can be read: one that cannot is told, and another takes its place."""
    heard: dict[str, str] = {}  # by utterance id: why it is of no use, "" if it is
    while True:
        trials = trials_for(manifest, protocol, trained_on, seed, closed)
        new = [row for row in _needed(trials).values() if row.id not in heard]
        for row in new:
            heard[row.id] = _problem(manifest.file(row))
            if heard[row.id]:
                log.warning("not evaluated: %s", heard[row.id])
        if not any(heard[row.id] for row in new):
            return trials
        manifest = manifest.with_rows(row for row in manifest if not heard.get(row.id))


def _needed(trials: Trials) -> dict[str, Row]:
    chosen = [trial for group in trials.values() for trial in group]
    return {row.id: row for t in chosen for row in (t.source, *t.references, t.true_target) if row is not None}


def _problem(file: Path) -> str:
    try:
        load_clip(file)
    except AudioError as error:
        return str(error)
    return ""


def save_protocol(path: Path, trials: Trials, manifest: Manifest, about: Mapping[str, Any]) -> None:
    """Write the trials as JSON that `load_protocol` reads: utterances by their ids in the manifest.

    Args:
        path: the file; appears whole or not at all.
        trials: by group.
        manifest: of the corpus, whose name and digest are noted.
        about: how they were chosen, for people.
    """
    listed = {
        group: [
            {
                "source": t.source.id, "references": [row.id for row in t.references],
                "true_target": t.true_target.id if t.true_target else None,
                "enrol_target": [row.id for row in t.enrol_target], "enrol_source": [row.id for row in t.enrol_source],
            }
            for t in group_trials
        ]
        for group, group_trials in trials.items()
    }  # fmt: skip
    head = {"format": FORMAT, "corpus": manifest.corpus, "manifest": manifest.digest(), "chosen_by": dict(about)}
    lines = [json.dumps(head, ensure_ascii=False)[:-1] + ', "trials": {']
    for number, (group, each) in enumerate(listed.items()):
        inner = ",\n".join(json.dumps(trial, ensure_ascii=False) for trial in each)
        lines.append(f"{json.dumps(group)}: [\n{inner}\n]" + ("," if number + 1 < len(listed) else ""))
    write_text(path, "\n".join([*lines, "}}"]) + "\n")


@settings
class _Line:
    """One trial of a file."""

    source: Word
    references: Annotated[tuple[Word, ...], Field(min_length=1)]
    enrol_target: Annotated[tuple[Word, ...], Field(min_length=1)]
    enrol_source: Annotated[tuple[Word, ...], Field(min_length=1)]
    true_target: Word | None = None


@settings
class _File:
    """A protocol as it is stored."""

    format: Natural
    corpus: Word
    trials: dict[Word, list[Given]]
    manifest: Word = "unknown"
    chosen_by: Given = field(default_factory=dict)


def read_protocol(path: Path) -> _File:
    """What a file says, unchecked against any corpus.

    Raises:
        UserError: it is no protocol.
    """
    what = f"evaluation.protocol={path}"
    try:
        values = parse_json(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{what}: expected the protocol.json of an evaluation ({type(error).__name__})") from error
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise UserError(f"{what}: expected a protocol of format {FORMAT}, as evaluate.py leaves it: protocol.json")
    found = from_mapping(_File, values, "protocol")
    for group, trials in found.trials.items():
        if group not in GROUPS or not trials:
            raise UserError(f"{what}: group '{group}' with {len(trials)} trials: expected some of {', '.join(GROUPS)}")
        for number, trial in enumerate(trials):
            from_mapping(_Line, trial, f"protocol.trials.{group}.{number}")
    return found


def load_protocol(path: Path, manifest: Manifest, trained_on: Sequence[str] = ()) -> Chosen:
    """The trials of a file, in a corpus that has its recordings.

    Trials with a recording that cannot be read are left out and told: the others stay the same for everybody.

    Raises:
        UserError: the corpus lacks recordings, or the voices of a trial contradict each other.
    """
    stored = read_protocol(path)
    rows = {row.id: row for row in manifest}
    trials: Trials = {}
    for group, lines in stored.trials.items():
        trials[group] = [_trial(from_mapping(_Line, line, "protocol"), rows, path, stored) for line in lines]
    used = {row.speaker for group in trials.get("unseen", []) for row in (group.source, *group.references)}
    if known := sorted(used & set(trained_on)):
        log.warning("voices that the protocol calls unseen have names of training voices: %s", ", ".join(known[:5]))
    problems = {key: why for key, row in _needed(trials).items() if (why := _problem(manifest.file(row)))}
    kept: Trials = {}
    for group, each in trials.items():
        kept[group] = [t for t in each if not problems.keys() & _needed({"": [t]}).keys()]
    lost = sum(map(len, trials.values())) - sum(map(len, kept.values()))
    if lost:
        log.warning("%d of the protocol's trials are left out: %s", lost, "; ".join(problems.values()))
    if not any(kept.values()):
        raise UserError(
            f"evaluation.protocol={path}: none of its recordings can be read: {next(iter(problems.values()))}"
        )
    left = (f"{lost} trials: {'; '.join(problems.values())}",) if lost else ()
    return Chosen({g: t for g, t in kept.items() if t}, left, f"{path.name} (sha256 {digest(path.expanduser())})")


def _trial(line: _Line, rows: Mapping[str, Row], path: Path, stored: _File) -> Trial:
    names = [line.source, *line.references, *line.enrol_target, *line.enrol_source]
    names += [line.true_target] if line.true_target else []
    if lacking := [name for name in names if name not in rows]:
        raise UserError(
            f"evaluation.protocol={path} is of corpus {stored.corpus} (manifest {stored.manifest}): utterance "
            f"'{lacking[0]}' is not in data; choose the corpus and the settings of data that it was made with"
        )
    target = {rows[name].speaker for name in (*line.references, *line.enrol_target)}
    target |= {rows[line.true_target].speaker} if line.true_target else set()
    if len(target) != 1 or {rows[name].speaker for name in line.enrol_source} != {rows[line.source].speaker}:
        raise UserError(f"evaluation.protocol={path}: the trial of {line.source}: its clips are of several voices")
    return Trial(
        source=rows[line.source],
        references=tuple(rows[name] for name in line.references),
        true_target=rows[line.true_target] if line.true_target else None,
        enrol_target=tuple(rows[name] for name in line.enrol_target),
        enrol_source=tuple(rows[name] for name in line.enrol_source),
    )
