"""A file for libsndfile, which does not tell of a full disk."""

import os
from collections.abc import Callable
from typing import IO, TypeVar

T = TypeVar("T")


class Disk:
    """Remembers the first error of a file, and does nothing from then on.

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
