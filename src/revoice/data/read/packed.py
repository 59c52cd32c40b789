"""One field of a corpus as a single array on disk, mapped into memory and shared by all processes of a machine."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revoice.atomic import replacing
from revoice.data.files import locked, read_lines
from revoice.data.prepare.shards import damage_told, read_checked, require_index
from revoice.data.read.columns import decoded
from revoice.errors import UserError

log = logging.getLogger(__name__)

_BLOCK = 1 << 16  # rows of the array read at once for statistics


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


class PackedField:
    """All utterances of one field, end to end in `packed.npy` beside its shards (packed at the first use).

    Args:
        folder: the field's folder, as `prepare` or another writer left it.

    Attributes:
        index: what `index.json` says.
        ids: utterance ids in the order of the array.
        offsets: (N + 1,) int64, utterance i owns rows `offsets[i]` to `offsets[i + 1]`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = require_index(folder)
        with damage_told(folder / "utterances.jsonl"):
            lines = read_lines(folder / "utterances.jsonl")
            self.ids: list[str] = [line["id"] for line in lines]
            lengths = [line["length"] for line in lines] if self.per_frame is not None else [1] * len(lines)
            self.offsets = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))]).astype(np.int64)

    @property
    def per_frame(self) -> float | None:
        """Rows per feature frame; None: one row per utterance."""
        return self.index["per_frame"]

    @cached_property
    def place(self) -> dict[str, int]:
        """Position of an utterance id."""
        return {id: position for position, id in enumerate(self.ids)}

    @cached_property
    def array(self) -> np.ndarray:
        """(rows, ...) in the type on disk, memory-mapped; copy-on-write, so that torch may wrap it."""
        found = self._mapped()
        if found is None:
            with locked(self.folder):
                found = self._mapped()
                if found is None:
                    self._pack()
                    found = self._mapped()
        if found is None:
            raise UserError(f"{self.folder / 'index.json'} does not fit the shards there: delete it and prepare again")
        return found

    def statistics(self, positions: np.ndarray) -> Statistics:
        """Mean and deviation per column over all rows of the utterances at `positions`, summed in float64."""
        wanted = np.zeros(len(self.ids), dtype=bool)  # (N,)
        wanted[positions] = True
        rows = np.repeat(wanted, np.diff(self.offsets))  # (rows,): each utterance's as often as it has rows
        sums = Sums()
        for first in range(0, len(rows), _BLOCK):
            block = torch.from_numpy(self.array[first : first + _BLOCK][rows[first : first + _BLOCK]])
            sums.add(decoded(block, self.index["scale"]))
        return sums.statistics()

    def _mapped(self) -> np.ndarray | None:
        """The array as it lies on disk; None if it is missing or damaged."""
        path = self.folder / "packed.npy"
        if not path.exists():
            return None
        try:
            found = np.load(path, mmap_mode="c")
            whole = found.dtype == self.index["dtype"] and found.shape[:1] == (self.offsets[-1],)
            whole = whole and path.stat().st_size == found.offset + found.nbytes  # else a shape that is too small
        except Exception:  # shorter than its header says, or a header that numpy fails at in many ways
            whole = False
        if not whole:
            log.warning("%s is damaged, so it is made again", path)
        return found if whole else None

    def _pack(self) -> None:
        """Copy all shards into one array; it appears whole or not at all. Written, not mapped: a full disk is told."""
        with replacing(self.folder / "packed.npy", sync=True) as file:
            for position, values in enumerate(self._stored()):
                if position == 0:
                    kind = np.lib.format.dtype_to_descr(values.dtype)
                    shape = (int(self.offsets[-1]), *values.shape[1:])
                    head = {"descr": kind, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, head)
                file.write(np.ascontiguousarray(values).data)

    def _stored(self) -> Iterator[np.ndarray]:
        """The rows of every utterance, in the order and number that the index says."""
        rows = np.diff(self.offsets)
        position, kind = 0, None
        for name in self.index["shards"]:
            shard = self.folder / name
            for id, array in read_checked(shard):
                values = array if self.per_frame is not None else array[None]
                with damage_told(shard):
                    if id != self.ids[position] or len(values) != rows[position]:
                        raise ValueError(f"{id} is not what utterances.jsonl says")
                    kind = kind or (values.dtype, values.shape[1:])
                    if kind != (values.dtype, values.shape[1:]):
                        raise ValueError(f"{id} has rows of {values.shape[1:]} {values.dtype}, others of {kind}")
                yield values
                position += 1
        with damage_told(self.folder / "utterances.jsonl"):
            if position != len(self.ids):
                raise ValueError(f"{len(self.ids)} lines for {position} utterances")
