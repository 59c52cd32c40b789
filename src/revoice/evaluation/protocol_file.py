"""Conversions of an evaluation as a file that others can be given: the same trials for every system, anywhere."""

import json
import logging
from collections.abc import Container, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from revoice.atomic import digest, write_text
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError
from revoice.evaluation.pairs import GROUPS, Trial
from revoice.evaluation.protocol import Chosen, Trials, needed, problem_of
from revoice.evaluation.training_voices import TrainingVoices, doubts
from revoice.foreign import parse_json
from revoice.settings import Given, Natural, Place, Word, from_mapping, settings

log = logging.getLogger(__name__)
FORMAT = 1


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


def load_protocol(path: Path, manifest: Manifest, trained_on: TrainingVoices | None = None) -> Chosen:
    """The trials of a file, in a corpus that has its recordings.

    Trials with a recording that cannot be read are left out and told: the others stay the same for everybody. Where it
    is one of several that enroll a voice, the trial goes without it.

    Raises:
        UserError: the corpus lacks recordings, or the voices of a trial contradict each other.
    """
    stored = read_protocol(path)
    rows = {row.id: row for row in manifest}
    trials: Trials = {}
    for group, lines in stored.trials.items():
        trials[group] = [_trial(from_mapping(_Line, line, "protocol"), rows, path, stored) for line in lines]
    voices = {g: {row.speaker for t in each for row in (t.source, *t.references)} for g, each in trials.items()}
    remarks = doubts(voices.get("unseen", ()), voices.get("seen", ()), trained_on) if trained_on else ()
    for remark in remarks:
        log.warning("%s", remark)
    problems = {key: why for key, row in needed(trials).items() if (why := problem_of(manifest.file(row)))}
    kept = {group: [whole for t in each if (whole := _without(t, problems))] for group, each in trials.items()}
    lost = sum(map(len, trials.values())) - sum(map(len, kept.values()))
    parts = [f"{lost} trials"] if lost else []
    if fewer := sum(t not in trials[group] for group, each in kept.items() for t in each):
        parts.append(f"enrollment clips of {fewer} trials")
    left = tuple(f"{part}: {'; '.join(problems.values())}" for part in [" and ".join(parts)] if part)
    for note in left:
        log.warning("left out of the protocol: %s", note)
    if not any(kept.values()):
        raise UserError(
            f"evaluation.protocol={path}: none of its recordings can be read: {next(iter(problems.values()))}"
        )
    source = f"{path.name} (sha256 {digest(path.expanduser())})"
    return Chosen({g: t for g, t in kept.items() if t}, left, source, remarks)


def _without(trial: Trial, useless: Container[str]) -> Trial | None:
    """A trial that does without recordings of no use; None if it cannot."""
    needs = (trial.source, *trial.references, *((trial.true_target,) if trial.true_target else ()))
    target, source = (
        tuple(row for row in rows if row.id not in useless) for rows in (trial.enrol_target, trial.enrol_source)
    )
    if not (target and source) or any(row.id in useless for row in needs):
        return None
    return replace(trial, enrol_target=target, enrol_source=source)


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
