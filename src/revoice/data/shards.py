"""WebDataset tar shards of one field: the same records give the same bytes, and a shard is whole or not there."""

import io
import os
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from revoice.data.files import read_lines, write_lines


class ShardWriter:
    """Writes `shard-NNNNNN.tar` and, beside it, `shard-NNNNNN.jsonl` with one line per utterance, stored or rejected.

    Until `close` the tar has a name of its own that ends in `.part`. Members are named `ID.KIND.npy`, as WebDataset
    groups them.
    """

    def __init__(self, folder: Path, index: int, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = shard_path(folder, index)
        self.kind = kind.replace(":", "-")
        self.lines: list[dict[str, Any]] = []
        self._file = open(self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.part"), "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, id: str, array: np.ndarray, seconds: float, start: float) -> None:
        """Store one utterance: of a file of `seconds`, the part from second `start` on."""
        data = io.BytesIO()
        np.lib.format.write_array(data, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        info = tarfile.TarInfo(f"{id}.{self.kind}.npy")  # all other metadata at its constant default
        info.size = data.tell()
        data.seek(0)
        self._tar.addfile(info, data)
        self.lines.append({"id": id, "length": len(array), "seconds": round(seconds, 6), "start": round(start, 6)})

    def reject(self, id: str, path: str, reason: str) -> None:
        """Record one utterance that could not be stored."""
        self.lines.append({"id": id, "path": path, "reason": reason})

    def close(self) -> None:
        """Give both files their final names; the tar last, since its name says that the shard is whole."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        write_lines(self.path.with_suffix(".jsonl"), self.lines)
        Path(self._file.name).replace(self.path)

    def abandon(self) -> None:
        """Drop what was written so far."""
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)


def shard_path(folder: Path, index: int) -> Path:
    """Final name of shard `index`."""
    return folder / f"shard-{index:06d}.tar"


def shard_lines(folder: Path, index: int) -> list[dict[str, Any]]:
    """The utterance lines of a whole shard."""
    return read_lines(shard_path(folder, index).with_suffix(".jsonl"))


def read_shard(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance id, array) of every member, in order."""
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            yield member.name.partition(".")[0], np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
