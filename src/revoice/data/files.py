"""Small tools on files: atomic writing, content hashes remembered between runs, and a lock between processes."""

import hashlib
import json
import logging
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from revoice.atomic import write_text
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.foreign import parse_json

log = logging.getLogger(__name__)
_BLOCK = 1 << 20  # bytes read at once


def write_json(path: Path, value: Any) -> None:
    """Write `value` readably; the file appears whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write JSON lines; the file appears whole or not at all."""
    write_text(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


@contextmanager
def dispensable() -> Iterator[None]:
    """Around the writing of what can be found out again: where that is impossible, one line says so, and it goes on."""
    try:
        yield
    except UserError as error:
        log.warning("%s: that is found out anew at every start", error)


def plain_label(label: str) -> str:
    """The label of a field as part of a file name.

    >>> plain_label("codes:abc")
    'codes-abc'
    """
    return label.replace(":", "-")


def remove_parts(folder: Path, shards: Collection[int] | None = None) -> None:
    """Remove what killed processes left half-written in a folder.

    Of these shards alone, if others are being written to; None says that nothing is.
    """
    for part in folder.glob("*.part"):
        shard = re.match(r"\.?shard-(\d+)\.", part.name)
        if shards is None or (shard and int(shard[1]) in shards):
            part.unlink(missing_ok=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The mappings that `write_lines` wrote to a file, one a line."""
    return parsed_lines(path.read_text(encoding="utf-8"))


def parsed_lines(text: str) -> list[Any]:
    r"""The values of JSON lines.

    >>> parsed_lines('["a\u2028b"]\n[2]\n')
    [['a\u2028b'], [2]]
    """
    return [parse_json(line) for line in text.split("\n") if line]  # `splitlines` would cut at U+2028 in a text too


@contextmanager
def locked(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Hold a lock of the folder: one process at a time, released by the system if the process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name)
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            log.info("another process prepares %s: waiting for it", folder)
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"cannot write prepared data to {folder} ({error.strerror or error}): name another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(file: Path) -> bool:
    """Whether a process holds that lock of `locked`."""
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True


def content_hashes(manifest: Manifest, memory: Path) -> dict[str, str]:
    """SHA-256 (hex) of every row's file by utterance id, "" for a file that cannot be read.

    Hashes are remembered in the file `memory` by path, size and modification time: a second call only looks at those.
    """
    try:
        known = {tuple(line["file"]): line["sha256"] for line in read_lines(memory)} if memory.exists() else {}
    except (ValueError, KeyError, TypeError):  # damaged: it can be had again
        known = {}
    stamps = {row.id: _stamp(manifest.file(row)) for row in manifest}
    new = sorted({stamp for stamp in stamps.values() if stamp and stamp not in known})
    with ThreadPoolExecutor(max_workers=4) as threads:
        found = dict(zip(new, threads.map(lambda stamp: _sha256(*stamp[:2]), new, chunksize=64), strict=True))
    if found:
        known.update({stamp: value for stamp, value in found.items() if value})
        with dispensable():
            write_lines(memory, ({"file": stamp, "sha256": value} for stamp, value in sorted(known.items())))
    return {id: known.get(stamp, "") if stamp else "" for id, stamp in stamps.items()}


def _stamp(path: Path) -> tuple[str, int, int] | None:
    """What a file is recognized by; None if there is none, or something that would block its reader (a pipe)."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return None
    return (str(path), found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _sha256(path: str, size: int) -> str:
    """Hash of a file, of which no more is read than its size says: those of /proc say 0 and may never end."""
    found, left = hashlib.sha256(), size
    try:
        with open(path, "rb", buffering=0) as file:
            while left > 0 and (block := file.read(min(left, _BLOCK))):
                found.update(block)
                left -= len(block)
    except OSError:
        return ""
    return found.hexdigest()
