"""WebDataset tar shards of one field: the same records give the same bytes, and a shard is whole or not there."""

import io
import math
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from webdataset import TarWriter

from revoice.atomic import whole
from revoice.data.files import plain_label, read_lines, write_lines
from revoice.errors import UserError, one_line
from revoice.foreign import parse_json

_INDEX = {"per_frame", "padding", "scale", "dtype", "parameters", "trim_db", "shards"}  # what readers ask a field for
# what reading half a file may raise
_DAMAGE = (tarfile.TarError, ValueError, LookupError, TypeError, ArithmeticError, EOFError, OSError, MemoryError)


class Member(NamedTuple):
    """One utterance of a shard.

    Attributes:
        id: of the utterance.
        array: what was stored.
        first: byte of the shard at which the array's numbers begin.
    """

    id: str
    array: np.ndarray
    first: int


class ShardWriter:
    """Writes `shard-NNNNNN.tar` and, beside it, `shard-NNNNNN.jsonl` with one line per utterance, stored or rejected.

    Until `close` the tar has a name of its own that ends in `.part`. Members are named `ID.KIND.npy`, as WebDataset
    groups them. All workers of a preparation wait for this one writer.
    """

    def __init__(self, folder: Path, index: int, kind: str) -> None:
        self.path = shard_path(folder, index)
        self.kind = plain_label(kind)
        self.lines: list[dict[str, Any]] = []
        self._whole = ExitStack()
        file = self._whole.enter_context(whole(self.path, sync=True))
        # no names, no times: the same records are the same bytes
        self._tar = TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False)

    def add(self, id: str, array: np.ndarray, seconds: float, start: float) -> None:
        """Store one utterance: of a file of `seconds`, the part from second `start` on."""
        array = np.ascontiguousarray(array)
        content = _written_head(array.shape, array.dtype) + array.tobytes()
        self._tar.write({"__key__": id, f"{self.kind}.npy": content})
        line = {"id": id, "length": len(array), "seconds": round(seconds, 6), "start": round(start, 6)}
        self.lines.append({**line, "crc32": zlib.crc32(content)})

    def reject(self, id: str, path: str, reason: str) -> None:
        """Record one utterance that could not be stored."""
        self.lines.append({"id": id, "path": path, "reason": reason})

    def close(self) -> None:
        """Give both files their final names; the tar last, since its name says that the shard is whole."""
        self._tar.close()
        write_lines(lines_path(self.path), self.lines)
        self._whole.close()

    def abandon(self) -> None:
        """Drop what was written so far."""
        with suppress(OSError, ValueError):  # a full disk refuses what is still to be flushed
            self._tar.close()
        given_up = RuntimeError("given up")
        self._whole.__exit__(type(given_up), given_up, None)


def shard_path(folder: Path, index: int) -> Path:
    """Final name of shard `index`."""
    return folder / f"shard-{index:06d}.tar"


def lines_path(shard: Path) -> Path:
    """Where the utterance lines of a shard are."""
    return shard.with_suffix(".jsonl")


def shard_lines(folder: Path, index: int) -> list[dict[str, Any]]:
    """The utterance lines of a whole shard."""
    return read_lines(lines_path(shard_path(folder, index)))


def crcs_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, int | None]:
    """CRC-32 of the members that utterance lines tell of, by id; None: written by a version that recorded none."""
    return {line["id"]: line.get("crc32") for line in lines if "reason" not in line}


def is_whole(shard: Path, ids: list[str]) -> bool:
    """Whether a shard of an interrupted preparation is there and tells of all `ids`; looks at its members' heads."""
    try:
        lines = read_lines(lines_path(shard))
        with tarfile.open(shard, mode="r:") as tar:
            stored = [_id_of(member) for member in tar]
        return [line["id"] for line in lines] == ids and stored == [k["id"] for k in lines if "reason" not in k]
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError):
        return False


def file_sizes(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Bytes of files by name; what is missing has -1."""
    return {name: (folder / name).stat().st_size if (folder / name).is_file() else -1 for name in names}


def read_index(folder: Path) -> dict[str, Any] | None:
    """`index.json` of a field; None if it is missing or damaged."""
    try:
        found = parse_json((folder / "index.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def require_index(folder: Path) -> dict[str, Any]:
    """`index.json` of a field that was prepared; a `UserError` if it is missing or damaged."""
    found = read_index(folder)
    if found is None or not found.keys() >= _INDEX or not _is_names(found["shards"], found["dtype"]):
        raise UserError(f"{folder / 'index.json'} is damaged: delete it and prepare again")
    return found


def _is_names(shards: object, kind: object) -> bool:
    """Whether these are a list of names and the name of a type of numbers."""
    listed = isinstance(shards, list) and all(isinstance(name, str) for name in shards)
    return listed and isinstance(kind, str) and kind in np.sctypeDict


def remove_damaged(folder: Path, index: Mapping[str, Any]) -> list[str]:
    """Remove the files that are not as long as the index says, and then the index: they are to be made again.

    An index of an earlier version does not tell sizes: nothing is checked.
    """
    recorded: dict[str, int] = index.get("bytes", {})
    found = file_sizes(folder, list(recorded))
    lost = [name for name, size in recorded.items() if found[name] != size]
    for name in lost:
        (folder / name).unlink(missing_ok=True)
    if lost:
        (folder / "index.json").unlink(missing_ok=True)
    return lost


@contextmanager
def damage_told(shard: Path) -> Iterator[None]:
    """Turn what reading a damaged shard or its lines raises into one line that names it and says what to do."""
    try:
        yield
    except _DAMAGE as error:
        raise UserError(
            f"{shard} is damaged ({one_line(error, 120)}): delete it and index.json beside it, then prepare again"
        ) from error


def read_checked(shard: Path) -> Iterator[tuple[str, np.ndarray]]:
    """`read_shard` of a prepared file, held against the lines beside it.

    Raises:
        UserError: it is damaged.
    """
    with damage_told(shard):
        yield from read_shard(shard, crcs_of(read_lines(lines_path(shard))))


def read_shard(source: Path | bytes, crcs: Mapping[str, int | None] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance id, array) of every member of a shard, see `read_members`."""
    return ((member.id, member.array) for member in read_members(source, crcs))


def read_members(source: Path | bytes, crcs: Mapping[str, int | None] | None = None) -> Iterator[Member]:
    """Every member of a shard, in order.

    Args:
        source: a file or its bytes.
        crcs: ids that must be there with the CRC-32 of their bytes, see `crcs_of`. tarfile itself looks at no content,
            and takes a damaged header behind the first for the end.

    Raises:
        tarfile.TarError, ValueError, EOFError: it is damaged.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else None
    missing = dict(crcs or {})
    with tarfile.open(None if file else source, mode="r:", fileobj=file) as tar:
        for member in tar:
            reader = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if reader is None or member.size > _longest(source):  # a sparse file is as long as it likes to say
                raise ValueError(f"{one_line(member.name, 80)} is no file, or longer than the shard")
            id, content = _id_of(member), bytearray(reader.read())
            crc = missing.pop(id, None)
            if crc is not None and zlib.crc32(content) != crc:
                raise ValueError(f"{member.name} is not what was written: its CRC-32 differs")
            shape, kind, size = _about(content)
            array = np.frombuffer(content, kind, offset=size, count=math.prod(shape)).reshape(shape)
            yield Member(id, array, member.offset_data + size)
    if missing:
        raise ValueError(f"{len(missing)} utterances are missing, {next(iter(missing))} is one")


def _longest(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _about(content: bytearray) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and bytes of the head of a .npy file of version 1, as `ShardWriter` writes them."""
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("a member is no .npy file of version 1")
    size = 10 + int.from_bytes(content[8:10], "little")
    return *_head(bytes(content[:size])), size


@lru_cache(maxsize=4096)
def _written_head(shape: tuple[int, ...], kind: np.dtype) -> bytes:
    """What a .npy file of version 1 begins with; making it takes longer than all the rest."""
    file = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


@lru_cache(maxsize=4096)
def _head(head: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the first bytes of a .npy file tell; parsing them takes longer than all the rest."""
    file = io.BytesIO(head)
    np.lib.format.read_magic(file)
    try:
        shape, transposed, kind = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy hands out what its parser raises
        raise ValueError(f"a member's header cannot be read ({error})") from error
    if transposed or kind.kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError(f"a member is no array of numbers (shape {shape}, type {kind.str})")
    return shape, kind


def _id_of(member: tarfile.TarInfo) -> str:
    return member.name.partition(".")[0]
