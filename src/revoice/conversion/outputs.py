"""Which files are converted into which, and what lies there: no input is replaced, nor what revoice did not make."""

import glob
import json
import mimetypes
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from os import sep
from os.path import abspath, expanduser, isdir, lexists, realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revoice.atomic import digest, read_record, require_writable
from revoice.audio.io import AUDIO_SUFFIXES, RECORDINGS, probe_audio
from revoice.conversion.veil import Veil
from revoice.errors import UserError, encodable

if TYPE_CHECKING:
    from torch import Tensor

NAME = "{source}_to_{target}"
FIELDS = ("source", "target", "hidden")  # of a name
PICTURE = "picture_sha256"  # in the JSON beside an output: of the picture beside it
_SAID = ("model", "features", "version", "source", "target")  # in every record
_LONGEST = 200  # bytes of a name, of the 255 that a file system takes


@dataclass(frozen=True)
class Target:
    """Whose voice is spoken with.

    Attributes:
        clips: recordings of it; of a model with a table of speakers, names; of one that speaks in one way only, none.
        label: stands for it in names of outputs.
        embedding: (D,) that the model is given in place of that of the clips; None: theirs.
    """

    clips: list[Path]
    label: str
    embedding: "Tensor | None" = field(default=None, compare=False)


@dataclass(frozen=True)
class Sources:
    """What is to be converted.

    Attributes:
        files: each with the folder that its output's path is relative to.
        left_out: how many there are beside them that are conversions themselves.
    """

    files: list[tuple[Path, Path]]
    left_out: int = 0


@dataclass(frozen=True)
class Job:
    """One source file and the file to write.

    Attributes:
        taken: the name that it would have if nothing else were there.
        veil: over what its record says of the source; None: it may be told.
    """

    source: Path
    out: Path
    taken: Path | None = None
    veil: Veil | None = None


def find_sources(texts: Sequence[str], out: Path) -> Sources:
    """All sources, before anything is written.

    Args:
        texts: files, folders and globs as typed; a name that exists is never taken for a glob.
        out: conversions that lie there are no sources, unless they are named; nor are those anywhere else in a folder
            (or among what a glob finds) in which there are recordings, too.
    """
    pairs, ours = _without_ours(texts, out)
    if not pairs:
        looked = f"(looked for {' '.join(RECORDINGS)})"
        raise UserError(f"src={','.join(texts)}: no audio file found {f'but {ours} conversions' if ours else looked}")
    return Sources(pairs, ours)


def find_target(texts: Sequence[str], out: Path, by_name: bool = False) -> Target:
    """Recordings, folders and globs of one voice, as `find_sources`; or, `by_name`, speakers of the model's table."""
    if by_name:
        return Target([Path(text) for text in texts], _label([text.replace(sep, "_") for text in texts]))
    clips = [file for file, _ in _without_ours(texts, out)[0]]
    if not clips:
        raise UserError(f"tgt={','.join(texts)}: no audio file found (looked for {' '.join(RECORDINGS)})")
    folders = any(isdir(_path(text)) for text in texts)
    return Target(clips, _label([Path(abspath(text)).stem for text in texts] if folders else [c.stem for c in clips]))


def check_out(text: str) -> Path:
    """The path of `out=`, an audio file or a folder, if it can be written to; nothing is left there."""
    out = _path(text)
    suffix = out.suffix.lower()
    known = suffix in RECORDINGS or mimetypes.guess_type(f"x{suffix}")[0] is not None
    if known and suffix not in AUDIO_SUFFIXES and not text.endswith(sep) and not isdir(out):
        raise UserError(
            f"out={text}: {suffix} cannot be written, only {' '.join(AUDIO_SUFFIXES)} (a folder of that name: "
            f"out={text}{sep})"
        )
    require_writable(out, folder=not _is_file(out))
    return out


def plan(
    sources: Sources,
    targets: Target | Mapping[Path, Target],
    out: Path,
    name: str = NAME,
    veil: Veil | None = None,
) -> list[Job]:
    """Name an output for each source. No input, and nothing that revoice did not make, is ever written to.

    Args:
        sources: as found.
        targets: the voice of all, or of each source.
        out: an audio file name (one source only) or a folder.
        name: of the files in a folder, with {source} and {target}; one that is taken gets a number. With {hidden}, a
            digest of the source by the key of `veil`, no folder within `out` tells anything either.
        veil: over what records say of the sources; None: they may be told.
    """
    files = dict(sources.files)  # each once
    whose = {file: targets if isinstance(targets, Target) else targets[file] for file in files}
    inputs = {realpath(file) for file in (*files, *(clip for target in whose.values() for clip in target.clips))}
    if _is_file(out):
        return [_single([*files], out, inputs, veil)]
    flat = "hidden" in require_pattern(name)
    assert veil or not flat
    jobs: dict[Path, Job] = {}
    for file, base in files.items():
        target = whose[file]
        hidden = veil(encodable(abspath(file))) if veil else ""
        stem = name.format(source=file.stem, target=target.label, hidden=hidden)
        stem = stem.encode("utf-8", "surrogateescape")[:_LONGEST].decode("utf-8", "ignore")
        first = out / ("" if flat else file.parent.relative_to(base)) / f"{stem}.wav"
        for number in count(1):
            path = first if number == 1 else first.with_name(f"{first.stem}_{number}.wav")
            if path not in jobs and realpath(path) not in inputs and _may_write(path, file, target, veil):
                jobs[path] = Job(file, path, None if number == 1 else first, veil)
                break
    return [*jobs.values()]


def record_of(out: Path) -> Path:
    """Where the JSON beside an output is, or is to be.

    That of `a.wav` is `a.json`; where this is of another file of that name, say `a.flac`, it is `a.wav.json`.
    """
    shared, own = out.with_suffix(".json"), out.with_name(f"{out.name}.json")
    if lexists(own):
        return own
    record = read_record(shared, _SAID)
    return own if record is not None and _of_another(record, out) else shared


def _of_another(record: Mapping[str, Any], out: Path) -> bool:
    """Whether a record is of another output than this one; that of an earlier version does not name it."""
    named, known = record.get("output"), record.get("output_sha256")
    if named == out.name or (known is not None and known == digest(out)):  # the latter: both were renamed
        return False
    if isinstance(named, str) or known is None:
        return isinstance(named, str)
    return any(digest(other) == known for suffix in AUDIO_SUFFIXES if (other := out.with_suffix(suffix)) != out)


def made_here(path: Path) -> dict[str, Any] | None:
    """What the JSON beside an output says, if revoice wrote both and nobody has changed the sound since."""
    record = read_record(record_of(path), _SAID)
    if record is None:
        return None
    changed = "output_sha256" in record and path.exists() and record["output_sha256"] != digest(path)
    return None if changed else record


def require_pattern(name: str) -> set[str]:
    """The fields in a pattern for names of outputs; one that cannot be filled in is a `UserError`."""
    try:
        fields = [part[1:] for part in string.Formatter().parse(name) if part[1] is not None]
    except ValueError:
        fields = [("", None, None)]
    if sep in name or not name or any(f[0] not in FIELDS or any(f[1:]) for f in fields):
        raise UserError(
            f"name={name}: expected a file name with {{source}} and {{target}} in it, or {{hidden}}, e.g. name='{NAME}'"
        )
    return {str(f[0]) for f in fields}


def clips_of(target: Target) -> list[str]:
    """A target's recordings, or names of a table, as records say them."""
    return [abspath(clip) if lexists(clip) else str(clip) for clip in target.clips]


def _single(sources: Sequence[Path], out: Path, inputs: Collection[str], veil: Veil | None) -> Job:
    if len(sources) > 1:
        raise UserError(
            f"out={out} is one file, but there are {len(sources)} sources: give a folder, e.g. out=converted"
        )
    if realpath(out) in inputs:
        raise UserError(f"out={out} is one of the recordings to convert: give another name")
    taken = [path.name for path in (out, record_of(out)) if lexists(path)]
    if taken and made_here(out) is None:
        raise UserError(
            f"out={out}: {' and '.join(taken)} in that folder would be replaced, which revoice did not make: give "
            "another name"
        )
    return Job(sources[0], out, veil=veil)


def _may_write(path: Path, source: Path, target: Target, veil: Veil | None) -> bool:
    """Whether nothing is there, or an earlier conversion of this source into this target."""
    if not lexists(path) and not lexists(record_of(path)):
        return True
    record = made_here(path)
    if record is None or not isinstance(record["target"], list):
        return False
    sums, before = [digest(clip) for clip in target.clips], [abspath(str(clip)) for clip in record["target"]]
    if veil and record["source"] == veil(encodable(abspath(source))) and record["target"] == veil(clips_of(target)):
        return True
    own = abspath(str(record["source"])) == abspath(source) or record.get("source_sha256") == digest(source)
    return own and (
        before == [*map(abspath, target.clips)] or (None not in sums and record.get("target_sha256") == sums)
    )


def is_finished(out: Path, about: Mapping[str, Any]) -> bool:
    """Whether an output is there, and was made as it would be made now."""
    record = made_here(out) if out.is_file() else None
    if record is None or "output_sha256" not in record:
        return False
    places = {"source", "output", "checkpoint"}  # checksums say more
    if None not in about["target_sha256"]:
        places.add("target")
    now = json.loads(json.dumps(about))
    return all(_placeless(record.get(key)) == _placeless(value) for key, value in now.items() if key not in places)


def _placeless(value: Any) -> Any:
    """Settings of a vocoder that has weights without where these lie, which their checksum says better."""
    known = isinstance(value, dict) and "sha256" in value
    return {key: each for key, each in value.items() if key != "checkpoint"} if known else value


def _is_file(out: Path) -> bool:
    return out.suffix.lower() in AUDIO_SUFFIXES and not isdir(out)


def _path(text: str) -> Path:
    """A name as typed, with ~ for a home."""
    path = expanduser(text)
    if path.startswith("~") and not lexists(path):
        raise UserError(f"{text}: nobody of that name has a home here")
    return Path(path)


def _label(names: Sequence[str]) -> str:
    return "+".join(names) if len(names) <= 3 else f"{names[0]}+{len(names) - 1}"


def _without_ours(texts: Sequence[str], out: Path) -> tuple[list[tuple[Path, Path]], int]:
    """What `_expand` finds but for conversions that are not named, and how many these are; see `find_sources`."""
    named, there = {realpath(_path(text)) for text in texts}, realpath(out)
    kept, left = list[tuple[Path, Path]](), set[Path]()
    for text in texts:
        found = [*_expand(text)]
        ours = {file for file, _ in found if realpath(file) not in named and made_here(file) is not None}
        if len(ours) == len({file for file, _ in found}):  # nothing else: they are meant, but for what is being made
            ours = {file for file in ours if Path(realpath(file)).is_relative_to(there)}
        kept += [pair for pair in found if pair[0] not in ours]
        left |= ours
    return kept, len(left - {file for file, _ in kept})


def _expand(text: str) -> Iterator[tuple[Path, Path]]:
    """(file, folder that output paths are relative to) for one word of `src=`."""
    path = _path(text)
    if isdir(path):
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in RECORDINGS and not file.is_dir() and not file.name.startswith("."):
                yield file, path
    elif lexists(path) or not glob.has_magic(text):
        probe_audio(path)  # missing or not audio: say so before a model is loaded
        yield path, path.parent
    else:
        for name in sorted(glob.glob(str(path), recursive=True)):
            file = Path(name)
            if file.suffix.lower() in RECORDINGS and file.is_file():
                yield file, file.parent
