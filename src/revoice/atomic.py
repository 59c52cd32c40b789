"""Files that appear whole or not at all, and replace nothing but what revoice made: a JSON among them says so."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from os.path import lexists
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

from revoice.errors import UserError

REPORT = "metrics.json"  # the record of an evaluation's folder
SUMS = "files_sha256"  # in it: of the files beside it
_BEGUN = "being written"  # in their place: whatever lies there is ours
_RECORD = 1 << 22  # bytes; ours are some thousands
_EARLIER = ("features", "systems", "evaluation", "phone_error")  # one of them is in a report of versions without sums

T = TypeVar("T")


@contextmanager
def whole(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """As `replacing`, with the operating system's own errors, for who has more to say of them."""
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")  # as short as any name may be
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "w+b") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def replacing(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """A file to write (and read) that takes the name `path` when the block ends, and leaves nothing after an error.

    Args:
        path: the final name; its folder is made if it is missing.
        sync: wait until the disk has it, so that a power cut cannot leave an empty file under the final name.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    try:
        with whole(path, sync) as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot write {path.name} to {path.parent}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; the file appears whole or not at all, also when several processes write it at once."""
    with replacing(path) as file:
        file.write(text.encode())


def require_writable(path: Path, folder: bool = False) -> None:
    """Find out before the work whether its result can be written; nothing is left behind.

    Args:
        path: of a file, or of a `folder` of files; neither it nor the folders above it need be there.

    Raises:
        UserError: something else is in the way, or the place cannot be written to.
    """
    expected = "a folder" if folder else "a file"
    try:
        if path.exists() and path.is_dir() != folder:
            raise UserError(f"{path} is {'no folder' if folder else 'a folder'}, expected {expected}")
        place = path if folder else path.parent
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise UserError(f"{path}: {place} is no folder, so that nothing can be written there")
        probe = place / f".{secrets.token_hex(6)}.part"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {str(path)[:200]}: {error.strerror or error}") from error


def digest(path: Path) -> str | None:
    """First 16 hex digits of a file's SHA-256; None if it is no file or cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except (OSError, ValueError):
        return None


def read_record(path: Path, keys: Collection[str]) -> dict[str, Any] | None:
    """The mapping in a JSON file that has all of these keys; None of anything else."""
    try:
        if not path.is_file() or path.stat().st_size > _RECORD:
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.keys() >= set(keys) else None


def sums_of(folder: Path, names: Collection[str]) -> dict[str, Any]:
    """What the report says of the files beside it, by which `require_ours` knows them again."""
    return {SUMS: {name: digest(folder / name) for name in names}}


def claim(folder: Path, report: str = REPORT) -> None:
    """Before the first file of a report: a kill leaves none of which `require_ours` would not know whose it is."""
    write_text(folder / report, json.dumps({SUMS: _BEGUN}) + "\n")


def require_ours(folder: Path, names: Collection[str], report: str = REPORT) -> None:
    """Refuse to write a report where a file of that name lies that revoice did not make, or that was edited since.

    Args:
        folder: of the report.
        names: of the files that will be written beside `metrics.json`.
        report: what is called so instead.

    Raises:
        UserError: with their names.
    """
    record = read_record(folder / report, ()) or {}
    sums = record.get(SUMS)
    if sums == _BEGUN:
        return
    if isinstance(sums, Mapping):
        foreign = [name for name in names if lexists(folder / name) and sums.get(name) != digest(folder / name)]
    else:
        known = any(key in record for key in _EARLIER)
        foreign = [name for name in (report, *names) if lexists(folder / name) and not known]
    if foreign:
        raise UserError(
            f"out={folder}: {' and '.join(foreign)} in that folder would be replaced, which revoice did not make: give "
            "another folder"
        )


class Disk:
    """A file for libsndfile, which does not tell of a full disk: it remembers the first error and does nothing more.

    Attributes:
        error: what the system said; whoever wrote has to look at it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def read(self, size: int) -> bytes:
        """Some bytes."""
        return self._do(lambda: self._file.read(size), b"")

    def write(self, data: bytes) -> int:
        """Bytes written."""
        return self._do(lambda: self._file.write(data), 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position."""
        return self._do(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """The position."""
        return self._do(self._file.tell, 0)

    def _do(self, action: Callable[[], T], otherwise: T) -> T:
        try:
            return otherwise if self.error else action()
        except OSError as error:
            self.error = error
            return otherwise
