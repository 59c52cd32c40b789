"""Many files: each is converted once, and what happens when one of them is broken."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import count
from os.path import abspath, lexists
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from revoice.atomic import digest, write_text
from revoice.audio.io import AudioError, probe_audio, write_blocks
from revoice.conversion.adaptation import Voice
from revoice.conversion.chunks import WHOLE, Recording
from revoice.conversion.converter import Converter
from revoice.conversion.outputs import PICTURE, Job, Target, clips_of, is_finished, made_here, record_of
from revoice.conversion.together import Said, say_together
from revoice.errors import is_text, printable
from revoice.models.base import Controls

TOGETHER = 4  # files of equal length that are converted at once; more of them do not fit a CPU's cache


class Watch(Protocol):
    """Who wants to know."""

    def begin(self, job: Job) -> None:
        """A source is about to be converted; not told of one that had been finished before."""

    def done(self, job: Job) -> None:
        """Its output is written."""


@dataclass(frozen=True)
class Skipped:
    """A source that could not be converted."""

    source: str
    reason: str


@dataclass
class Result:
    """Files written, files that an earlier run had finished, sources skipped, seconds of audio converted."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: "Result") -> None:
        """Take over what another one has."""
        self.written += other.written
        self.kept += other.kept
        self.skipped += other.skipped
        self.seconds += other.seconds


def voice_of(converter: Converter, target: Target) -> Voice:
    """A target as a model hears it, with the embedding that it brings."""
    if target.embedding is None:
        return converter.voice(list(target.clips))
    voice = converter.voice(list(target.clips), tone=False)
    given = target.embedding[None].to(converter.device)
    return replace(voice, references=[replace(clip, embedding=given) for clip in voice.references])


def convert_files(
    converter: Converter,
    jobs: Sequence[Job],
    target: Target,
    controls: Controls,
    show: bool = False,
    watch: Watch | None = None,
    advance: Callable[[], None] | None = None,
    hear: Callable[[Converter, Target], Voice] = voice_of,
) -> Result:
    """Convert every job; a broken source is skipped and recorded, a broken target stops everything.

    Beside each output a JSON file says how it was made. One that says the same as it would now is left as it is.
    `watch` is told of each job, and of each that succeeded, `advance` of each that is over: it stands for the bar that
    `show` asks for. Files of equal length are converted together. `hear` gives the voice, if anything is left to do.
    """
    result, voice = Result(), None
    about = {
        **converter.describe(), "target": clips_of(target),
        "target_sha256": [digest(clip) for clip in target.clips], "controls": asdict(controls),
        "target_embedding": _sum_of(target.embedding),  # None, too: an output that was given one is another
    }  # fmt: skip
    with nullcontext(advance) if advance else bar(len(jobs), show) as advance:
        for group in _groups(converter, jobs):
            todo: dict[Job, dict[str, Any]] = {}  # with what its record says
            for job in group:
                facts = {**about, "source": abspath(job.source), "source_sha256": digest(job.source)}
                facts = {**(job.veil.over(facts) if job.veil else facts), "output": job.out.name}
                if is_finished(job.out, facts):
                    result.kept.append(job.out)
                    advance()
                else:
                    todo[job] = facts
            if not todo:
                continue
            voice = voice or hear(converter, target)
            # a single file is read and said when its turn comes
            said = say_together(converter, [(job.source, voice) for job in todo], controls) if len(todo) > 1 else [None]
            for (job, facts), one in zip(todo.items(), said, strict=True):
                if watch:
                    watch.begin(job)
                try:
                    seconds = _write(converter, job, facts, voice, controls, one)
                except AudioError as error:
                    result.skipped.append(Skipped(printable(str(job.source)), printable(str(error))))
                else:
                    result.written.append(job.out)
                    result.seconds += seconds
                    if watch:
                        watch.done(job)
                advance()
    return result


def _sum_of(embedding: Tensor | None) -> str | None:
    return None if embedding is None else sha256(embedding.numpy().tobytes()).hexdigest()[:16]


def _groups(converter: Converter, jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs whose files have equally many frames, by their headers, at most `TOGETHER` at once."""
    if len(jobs) < 2 or not converter.model.together:
        return [[job] for job in jobs]
    alike: dict[int | Job, list[Job]] = {}
    for job in jobs:
        alike.setdefault(_frames(converter, job) or job, []).append(job)
    return [group[i : i + TOGETHER] for group in alike.values() for i in range(0, len(group), TOGETHER)]


def _frames(converter: Converter, job: Job) -> int:
    """How many frames a file has that may be heard in one piece; 0 of others, and of what cannot be read."""
    if not is_text(str(job.source)):
        return 0  # told when its turn comes
    try:
        about = probe_audio(job.source)
    except AudioError:
        return 0
    return 0 if about.seconds > WHOLE else converter.spec.frames(round(about.seconds * converter.spec.sample_rate))


def _alone(converter: Converter, job: Job, voice: Voice, controls: Controls) -> Said:
    recording = Recording(job.source)
    return Said(converter.stream(recording, voice, controls), recording.whole)


@contextmanager
def _claimed(job: Job, about: Mapping[str, Any]) -> Iterator[Path]:
    """The JSON beside an output, which says whose that is before it is there: a kill leaves nothing without an owner.

    After an error it is as it was before.
    """
    if not is_text(str(job.source)):
        raise AudioError(f"{job.source}: its name is not valid UTF-8: rename it")
    beside = record_of(job.out)
    before = beside.read_text(encoding="utf-8") if beside.exists() else None
    write_text(beside, text_of(about))
    try:
        yield beside
    except BaseException:
        if before is None:
            beside.unlink(missing_ok=True)
        else:
            write_text(beside, before)
        raise


def text_of(record: Mapping[str, Any] | Sequence[Any]) -> str:
    """What a JSON beside outputs holds."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _write(
    converter: Converter, job: Job, facts: Mapping[str, Any], voice: Voice, controls: Controls, said: Said | None
) -> float:
    """Write the output and the record beside it; returns the seconds of the output."""
    before = made_here(job.out) or {}
    facts = {**facts, **({PICTURE: before[PICTURE]} if PICTURE in before else {})}  # which is there still
    with _claimed(job, facts) as beside:
        began, rate = time.perf_counter(), converter.spec.sample_rate
        said = said or _alone(converter, job, voice, controls)
        seconds = write_blocks(job.out, said.blocks, rate) / rate
        spent = time.perf_counter() - began + said.spent
        record = {
            **facts, "seconds": round(seconds, 3), "chunked": not said.whole,
            "real_time_factor": round(spent / seconds, 4), "output_sha256": digest(job.out),
        }  # fmt: skip
        write_text(beside, text_of(record))
    return float(record["seconds"])


@contextmanager
def bar(total: int, show: bool) -> Iterator[Callable[[], None]]:
    """What is to be called after each of `total` jobs; with `show`, a bar for several."""
    if not show or total < 2:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("converting", total=total)
        yield lambda: progress.advance(task)


def note_skipped(folder: Path, jobs: Sequence[Job], result: Result) -> None:
    """List the sources that were skipped; an earlier one stays listed until it is converted, or gone.

    What is hidden is not listed: a list beside outputs would tell whose they are.
    """
    if any(job.veil for job in jobs):
        return
    path, asked = _record(folder), {printable(str(job.source)) for job in jobs}
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    skipped = [item for item in listed if item["source"] not in asked and lexists(item["source"])]
    skipped += [vars(one) for one in result.skipped]
    if skipped:
        write_text(path, text_of(skipped))
    else:
        path.unlink(missing_ok=True)


def _record(folder: Path) -> Path:
    """Where the sources that were skipped are listed; a file of that name that is somebody else's is left alone."""
    for number in count(1):
        path = folder / (f"skipped_{number}.json" if number > 1 else "skipped.json")
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return path
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(listed, list) and all(
            isinstance(item, dict) and {*item} == {"source", "reason"} and isinstance(item["source"], str)
            for item in listed
        ):
            return path
    raise AssertionError
