"""Many files: what is converted into what, and what happens when one of them is broken."""

import glob
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from os.path import realpath
from pathlib import Path
from typing import Any, Protocol

from revoice.atomic import write_text
from revoice.audio.io import AUDIO_SUFFIXES, AudioError, probe_audio, write_audio
from revoice.audio.loudness import loudness_db, match_loudness
from revoice.conversion.converter import Converter, Voice, is_long
from revoice.conversion.longform import convert_long
from revoice.errors import UserError, is_text, printable
from revoice.models.base import Controls


@dataclass(frozen=True)
class Job:
    """One source file and the file to write."""

    source: Path
    out: Path


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
    """Files written, sources skipped, seconds of audio converted."""

    written: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0


def plan(sources: Sequence[str], references: Sequence[Path], out: Path) -> list[Job]:
    """Expand files, folders and globs, and name an output for each source.

    Args:
        sources: as typed; a name that exists is never taken for a glob.
        references: target clips; they name the voice in output names.
        out: an audio file name (one source only) or a folder.
    """
    found = [(file, base) for text in sources for file, base in _expand(text)]
    if not found:
        raise UserError(f"src={','.join(sources)}: no audio file found (looked for {' '.join(AUDIO_SUFFIXES)})")
    inputs = {realpath(file) for file in (*(file for file, _ in found), *references)}
    if out.suffix.lower() in AUDIO_SUFFIXES and not out.is_dir():
        if len(found) > 1:
            raise UserError(
                f"out={out} is one file, but there are {len(found)} sources: give a folder, e.g. out=converted"
            )
        if realpath(out) in inputs:
            raise UserError(f"out={out} is one of the recordings to convert: give another name")
        return [Job(found[0][0], out)]
    jobs: dict[Path, Path] = {}
    for file, base in found:
        target = out / file.parent.relative_to(base) / f"{file.stem}_to_{references[0].stem}.wav"
        number = 2
        while target in jobs and jobs[target] != file:
            target = target.with_name(f"{file.stem}_to_{references[0].stem}_{number}.wav")
            number += 1
        jobs[target] = file
    return [Job(source, target) for target, source in jobs.items()]


def convert_files(
    converter: Converter,
    jobs: Sequence[Job],
    references: Sequence[Path],
    controls: Controls,
    show: bool = False,
    watch: Watch | None = None,
) -> Result:
    """Convert every job; a broken source is skipped and recorded, a broken reference stops everything.

    Beside each output a JSON file says how it was made. `watch` is told of each job, and of each that succeeded.
    """
    voice = converter.voice(list(references))
    result = Result()
    for job in _bar(jobs, show):
        if watch:
            watch.begin(job)
        try:
            record = _convert(converter, job, voice, controls)
        except AudioError as error:
            result.skipped.append(Skipped(printable(str(job.source)), printable(str(error))))
            continue
        about = {
            **converter.describe(), "source": str(job.source), "target": [str(path) for path in references],
            "controls": asdict(controls), **record,
        }  # fmt: skip
        write_text(job.out.with_suffix(".json"), json.dumps(about, indent=2, ensure_ascii=False) + "\n")
        result.written.append(job.out)
        result.seconds += record["seconds"]
        if watch:
            watch.done(job)
    return result


def _convert(converter: Converter, job: Job, voice: Voice, controls: Controls) -> dict[str, Any]:
    began = time.perf_counter()
    if not is_text(str(job.source)):
        raise AudioError(f"{job.source}: its name is not valid UTF-8: rename it")
    long = is_long(job.source)
    if long:
        seconds = convert_long(converter, job.source, voice, controls, job.out)
    else:
        heard = converter.heard(job.source)
        samples = converter.speak(converter.audio(heard), voice, controls)
        level = loudness_db(heard.samples, heard.sample_rate)
        rate = converter.spec.sample_rate
        write_audio(job.out, match_loudness(samples, rate, level), rate)
        seconds = len(samples) / rate
    spent = time.perf_counter() - began
    return {"seconds": round(seconds, 3), "chunked": long, "real_time_factor": round(spent / seconds, 4)}


def _expand(text: str) -> Iterator[tuple[Path, Path]]:
    """(file, folder that output paths are relative to) for one word of `src=`."""
    path = Path(text).expanduser()
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in AUDIO_SUFFIXES and not file.is_dir() and not file.name.startswith("."):
                yield file, path
    elif path.exists() or not glob.has_magic(text):
        probe_audio(path)  # missing or not audio: say so before a model is loaded
        yield path, path.parent
    else:
        for name in sorted(glob.glob(str(path), recursive=True)):
            file = Path(name)
            if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file():
                yield file, file.parent


def _bar(jobs: Sequence[Job], show: bool) -> Iterator[Job]:
    if not show or len(jobs) < 2:
        yield from jobs
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(jobs, "converting", console=Console(stderr=True))
