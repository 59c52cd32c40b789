"""One field of a corpus in its shards as they lie on the disk, mapped into memory, which all processes share."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revoice.data.files import read_lines
from revoice.data.prepare.places import Contents, find_places
from revoice.data.prepare.shards import damage_told, require_index
from revoice.data.read.columns import Column, decoded
from revoice.errors import UserError, one_line

log = logging.getLogger(__name__)

_BLOCK = 1 << 16  # rows of a field that are summed at once: other blocks would be other roundings


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation (columns,) float32 over all frames of some utterances."""

    mean: Tensor
    std: Tensor


def require_statistics(found: Statistics, columns: int) -> Statistics:
    """The statistics, if features can have them: a `ValueError` for other numbers than `columns`, NaN, deviations < 0.

    A deviation of 0 is that of a channel that never moves; all channels at 0 are those of no recording.
    """
    if found.mean.shape != (columns,) or found.std.shape != (columns,):
        raise ValueError(f"statistics of {found.mean.numel()} and {found.std.numel()} channels, expected {columns}")
    if not (torch.isfinite(found.mean).all() and torch.isfinite(found.std).all()):
        raise ValueError("statistics that are not finite")
    if bool((found.std < 0).any()) or not bool(found.std.any()):
        raise ValueError("statistics with deviations below 0, or of 0 in all channels")
    return found


class Sums:
    """Mean and deviation per column of values that come in pieces, summed in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total, self.squares = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Take (rows, columns) in."""
        values = values.double()
        self.count += len(values)
        self.total, self.squares = self.total + values.sum(0), self.squares + values.square().sum(0)

    def statistics(self) -> Statistics:
        """Of all that was taken in."""
        mean = self.total / max(self.count, 1)
        variance = (self.squares / max(self.count, 1) - mean.square()).clamp(min=0.0)
        return Statistics(mean.float(), variance.sqrt().float())


@dataclass(frozen=True)
class MappedColumn(Column):
    """Utterances that lie in the maps of several shards.

    Attributes:
        row: shape of a row.
        maps: each shard from its first byte to its last, heads and all, as numbers of the field's type.
        shard: (N,) int64, the map in which each utterance lies.
        begin: (N,) int64, the number in it at which its rows begin.
    """

    row: tuple[int, ...]
    maps: Sequence[np.ndarray]
    shard: np.ndarray
    begin: np.ndarray

    @property
    def device(self) -> torch.device:
        """The CPU: that of maps."""
        return torch.device("cpu")

    @property
    def kind(self) -> np.dtype:
        """The type on disk."""
        return np.dtype(self.about["dtype"])

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return math.prod(self.row)

    @property
    def bytes(self) -> int:
        """Of the rows of these utterances, without what lies between them."""
        return int(self.lengths.sum()) * self.width * self.kind.itemsize

    def cut(self, utterances: np.ndarray, first: np.ndarray, present: np.ndarray, steps: int) -> Tensor:
        """One slice for each: its rows lie side by side."""
        found = np.empty((len(utterances), steps * self.width), self.kind)
        begin = self.begin[utterances] + first * self.width  # (B,)
        slices = zip(
            found, self.shard[utterances].tolist(), begin.tolist(), (present * self.width).tolist(), strict=True
        )
        for values, shard, start, size in slices:
            values[:size] = self.maps[shard][start : start + size]
        return torch.from_numpy(found).view(len(utterances), steps, *self.row)

    def rows(self, position: int) -> np.ndarray:
        """The rows (L, ...) of one utterance, where they are."""
        start = self.begin[position]
        found = self.maps[self.shard[position]][start : start + self.lengths[position] * self.width]
        return found.reshape(-1, *self.row)

    def chosen(self, positions: np.ndarray) -> "MappedColumn":
        """Some of the utterances."""
        names = ("lengths", "shard", "begin")
        return replace(self, **{name: getattr(self, name)[positions] for name in names})

    def array(self) -> Tensor:
        """A copy."""
        none = np.empty((0, *self.row), self.kind)
        return torch.from_numpy(np.concatenate([none, *(self.rows(i) for i in range(len(self.lengths)))]))


class MappedField:
    """All utterances of one field, looked through at the first use, see `find_places`.

    Args:
        folder: the field's folder, as `prepare` or another writer left it.

    Attributes:
        index: what `index.json` says.
        ids: utterance ids in the order of the shards.
        column: their rows.

    Raises:
        UserError: something of it is damaged, or cannot be mapped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = require_index(folder)
        timed = self.index["per_frame"] is not None
        with damage_told(folder / "utterances.jsonl"):
            lines = read_lines(folder / "utterances.jsonl")
            self.ids: list[str] = [line["id"] for line in lines]
            lengths = [line["length"] if timed else 1 for line in lines]
            counted = np.array(lengths, dtype=np.int64)
        shards = find_places(Contents(folder, self.index, self.ids, lengths))
        kind = np.dtype(self.index["dtype"])
        first = np.array([byte for shard in shards for byte in shard.first], dtype=np.int64)
        self.column = MappedColumn(
            about=self.index,
            lengths=counted,
            row=next((tuple(shard.row) for shard in shards if shard.first), ()),
            maps=[_mapped(folder / shard.shard, shard.size, kind) for shard in shards],
            shard=np.repeat(np.arange(len(shards)), [len(shard.first) for shard in shards]),
            begin=first // kind.itemsize,
        )
        _remove_packed(folder)

    @cached_property
    def place(self) -> dict[str, int]:
        """Position of an utterance id."""
        return {id: position for position, id in enumerate(self.ids)}

    def statistics(self, positions: np.ndarray) -> Statistics:
        """Mean and deviation per column over all rows of the utterances at `positions`, summed in float64."""
        sums = Sums()
        for _, pieces in groupby(self._pieces(np.unique(positions)), itemgetter(0)):
            block = torch.from_numpy(np.concatenate([rows for _, rows in pieces]))
            sums.add(decoded(block, self.index["scale"]))
        return sums.statistics()

    def _pieces(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(block, rows) of utterances in the order of the shards, cut where a block of the field ends."""
        ends = np.cumsum(self.column.lengths)
        for position in positions.tolist():
            end = int(ends[position])
            first = end - int(self.column.lengths[position])
            for block in range(first // _BLOCK, (end - 1) // _BLOCK + 1):
                begin = max(block * _BLOCK, first)
                yield block, self.column.rows(position)[begin - first : (block + 1) * _BLOCK - first]


def _mapped(shard: Path, size: int, kind: np.dtype) -> np.ndarray:
    """All numbers (bytes / itemsize,) of a file. torch maps it, since it keeps no file open for that as Python does."""
    try:
        found = torch.from_file(str(shard), size=size, dtype=torch.uint8).numpy()
    except RuntimeError as error:
        raise UserError(
            f"{shard} cannot be mapped into memory ({one_line(error, 160)}): add data.stream=true, or prepare larger "
            "shards, e.g. data.prepare.shard_utterances=4096"
        ) from error
    found = found[: size // kind.itemsize * kind.itemsize].view(kind)
    found.flags.writeable = False
    return found


def _remove_packed(folder: Path) -> None:
    """Remove the second copy of all shards that earlier versions kept beside them."""
    packed = folder / "packed.npy"
    with suppress(OSError):  # there is none, or it cannot be removed: a folder of somebody else
        with packed.open("rb") as file:
            if packed.is_symlink() or file.read(6) != b"\x93NUMPY":
                return
        size = packed.stat().st_size
        packed.unlink()
        log.info("removed %s: the shards are read where they are, and %.0f MB are free again", packed, size / 1e6)
