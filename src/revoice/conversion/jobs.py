"""Many files: each is converted once, and what happens when one of them is broken."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from os.path import abspath, lexists
from pathlib import Path
from typing import Any, Protocol

from revoice.atomic import write_text
from revoice.audio.io import AudioError, write_blocks
from revoice.conversion.adaptation import Voice
from revoice.conversion.chunks import Recording
from revoice.conversion.converter import Converter
from revoice.conversion.outputs import Job, Target, digest, is_finished
from revoice.errors import is_text, printable
from revoice.models.base import Controls


class Watch(Protocol):
    """Who wants to know."""

    def begin(self, job: Job) -> None:
        """A job begins."""

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


def convert_files(
    converter: Converter,
    jobs: Sequence[Job],
    target: Target,
    controls: Controls,
    show: bool = False,
    watch: Watch | None = None,
) -> Result:
    """Convert every job; a broken source is skipped and recorded, a broken target stops everything.

    Beside each output a JSON file says how it was made. One that says the same as it would now is left as it is.
    `watch` is told of each job, and of each that succeeded.
    """
    result, voice = Result(), None
    about = {
        **converter.describe(), "target": [abspath(clip) if lexists(clip) else str(clip) for clip in target.clips],
        "target_sha256": [digest(clip) for clip in target.clips], "controls": asdict(controls),
    }  # fmt: skip
    for job in _bar(jobs, show):
        about |= {"source": abspath(job.source), "source_sha256": digest(job.source)}
        if is_finished(job.out, about):
            result.kept.append(job.out)
            continue
        voice = voice or converter.voice(list(target.clips))
        if watch:
            watch.begin(job)
        try:
            with _claimed(job, about) as beside:
                record = {**about, **_convert(converter, job, voice, controls), "output_sha256": digest(job.out)}
                write_text(beside, _text(record))
        except AudioError as error:
            result.skipped.append(Skipped(printable(str(job.source)), printable(str(error))))
            continue
        result.written.append(job.out)
        result.seconds += record["seconds"]
        if watch:
            watch.done(job)
    return result


@contextmanager
def _claimed(job: Job, about: Mapping[str, Any]) -> Iterator[Path]:
    """The JSON beside an output, which says whose that is before it is there: a kill leaves nothing without an owner.

    After an error it is as it was before.
    """
    if not is_text(str(job.source)):
        raise AudioError(f"{job.source}: its name is not valid UTF-8: rename it")
    beside = job.out.with_suffix(".json")
    before = beside.read_text(encoding="utf-8") if beside.exists() else None
    write_text(beside, _text(about))
    try:
        yield beside
    except BaseException:
        if before is None:
            beside.unlink(missing_ok=True)
        else:
            write_text(beside, before)
        raise


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _convert(converter: Converter, job: Job, voice: Voice, controls: Controls) -> dict[str, Any]:
    began, rate = time.perf_counter(), converter.spec.sample_rate
    recording = Recording(job.source)
    seconds = write_blocks(job.out, converter.stream(recording, voice, controls), rate) / rate
    spent = time.perf_counter() - began
    return {
        "seconds": round(seconds, 3), "chunked": not recording.whole, "real_time_factor": round(spent / seconds, 4),
    }  # fmt: skip


def _bar(jobs: Sequence[Job], show: bool) -> Iterator[Job]:
    if not show or len(jobs) < 2:
        yield from jobs
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(jobs, "converting", console=Console(stderr=True))
