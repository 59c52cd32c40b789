"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from revoice.errors import UserError


@contextmanager
def replacing(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """A file to write (and read) that takes the name `path` when the block ends, and leaves nothing after an error.

    Args:
        path: the final name; its folder is made if it is missing.
        sync: wait until the disk has it, so that a power cut cannot leave an empty file under the final name.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")  # as short as any name may be
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "w+b") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path.name} to {path.parent}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()


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
