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
