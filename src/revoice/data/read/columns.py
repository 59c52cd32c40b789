"""Utterances with their fields, wherever the rows of those lie: crops of many utterances are cut at once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from revoice.data.corpora.manifest import Row


@dataclass(frozen=True)
class Column(ABC):
    """One field of N utterances.

    Attributes:
        about: what the field's `index.json` says of it: `per_frame`, `padding`, `scale`, `dtype`.
        lengths: (N,) int64, rows of each utterance.
    """

    about: Mapping[str, Any]
    lengths: np.ndarray

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the rows are."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Size of all rows."""

    @abstractmethod
    def cut(self, utterances: np.ndarray, first: np.ndarray, present: np.ndarray, steps: int) -> Tensor:
        """Rows of B utterances, in the type on disk.

        Args:
            utterances: (B,) positions.
            first: (B,) first row of each.
            present: (B,) how many rows from there on the utterance has, at most `steps`.
            steps: rows L of each.

        Returns:
            (B, L, ...); anything where the utterance has no more rows.
        """

    @abstractmethod
    def array(self) -> Tensor:
        """The rows of all utterances end to end, (rows, ...) in the type on disk."""

    @property
    def per_frame(self) -> float | None:
        """Rows per feature frame; None: one row per utterance."""
        return self.about["per_frame"]

    def decode(self, values: Tensor) -> Tensor:
        """Values from disk as they are meant, see `decoded`."""
        return decoded(values, self.about["scale"])


@dataclass(frozen=True)
class ArrayColumn(Column):
    """Utterances end to end in one array.

    Attributes:
        data: (rows, ...) in the type on disk, on whatever device.
    """

    data: Tensor

    @cached_property
    def first(self) -> np.ndarray:
        """(N,) int64, the row of `data` at which each utterance begins."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def device(self) -> torch.device:
        """That of the array."""
        return self.data.device

    @property
    def bytes(self) -> int:
        """Of the array."""
        return self.data.nbytes

    def cut(self, utterances: np.ndarray, first: np.ndarray, present: np.ndarray, steps: int) -> Tensor:
        """In one indexing step; what an utterance has no more rows for is its last one, since another lies behind."""
        index = (self.first[utterances] + first)[:, None] + np.arange(steps)  # (B, L) rows of `data`
        last = self.first[utterances] + self.lengths[utterances] - 1  # (B,)
        flat = torch.from_numpy(np.minimum(index, last[:, None]).ravel()).to(self.device)
        return self.data.index_select(0, flat).unflatten(0, index.shape)

    def array(self) -> Tensor:
        """As it is."""
        return self.data


class Columns:
    """Utterances with their fields, addressed by position.

    Args:
        rows: what the manifest says of each utterance.
        columns: the fields by label.

    Attributes:
        rows: the utterances; a position in here is what all methods take.
        ids: (N,) their ids.
        lengths: (N,) int64, frames of each utterance.
        device: where the rows are.
    """

    def __init__(self, rows: Sequence[Row], columns: Mapping[str, Column]) -> None:
        self.rows = tuple(rows)
        self.ids = np.array([row.id for row in self.rows], dtype=object)
        self._columns = dict(columns)
        timed = next((c for c in columns.values() if c.per_frame == 1), None)
        self.lengths = timed.lengths if timed else np.zeros(len(self.rows), dtype=np.int64)
        self.device = next((c.device for c in columns.values()), torch.device("cpu"))
        self._padding = {k: torch.tensor(c.about["padding"], device=self.device) for k, c in columns.items()}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the fields, in the order in which they were given."""
        return tuple(self._columns)

    def column(self, field: str) -> Column:
        """The column of a field; its label is one of `labels`."""
        return self._columns[field]

    @property
    def bytes(self) -> int:
        """Size of all rows."""
        return sum(column.bytes for column in self._columns.values())

    def positions(self, *splits: str) -> np.ndarray:
        """Positions (n,) int64 of the utterances of some splits."""
        return np.array([i for i, row in enumerate(self.rows) if row.split in splits], dtype=np.int64)

    def crops(self, field: str, utterances: np.ndarray, starts: np.ndarray, frames: int) -> Tensor:
        """Cut one crop from each of B utterances.

        Args:
            field: a label whose `per_frame` is not None.
            utterances: (B,) positions.
            starts: (B,) first frame of each crop.
            frames: length T of the crops; what lies behind an utterance's end is padding (silence, or 0).

        Returns:
            (B, F, T) for matrices, (B, T x per_frame) for one number per step; float32, or integers for codes.
        """
        column = self._columns[field]
        rate = column.per_frame
        assert rate is not None, f"{field} has no time axis: use `vectors`"
        chosen = np.asarray(utterances, dtype=np.int64)
        first = np.rint(np.asarray(starts) * rate).astype(np.int64)  # (B,), within each utterance
        steps = round(frames * rate)  # L = T x per_frame
        present = np.clip(column.lengths[chosen] - first, 0, steps)  # (B,) rows that are there; padding is behind them
        found = column.decode(column.cut(chosen, first, present, steps))  # (B, L[, F])
        short = np.flatnonzero(present < steps)
        if len(short):
            beyond = torch.from_numpy(np.arange(steps) >= present[short, None]).to(self.device)  # (len(short), L)
            _pad(found, torch.from_numpy(short).to(self.device), beyond, self._padding[field])
        return found.transpose(1, 2).contiguous() if found.ndim == 3 else found

    def vectors(self, field: str, utterances: np.ndarray) -> Tensor:
        """The arrays (B, ...) of a field with one array per utterance."""
        return self._whole(field, np.asarray(utterances, dtype=np.int64), 1)[:, 0]

    def utterance(self, field: str, position: int) -> Tensor:
        """All of one utterance: (F, T), (T x per_frame,), or one array."""
        column = self._columns[field]
        values = self._whole(field, np.array([position]), int(column.lengths[position]))[0]  # (L[, F])
        if column.per_frame is None:
            return values[0]
        return values.T.contiguous() if values.ndim == 2 else values

    def _whole(self, field: str, utterances: np.ndarray, length: int) -> Tensor:
        """All rows (B, L, ...) of utterances that have as many."""
        column, zeros = self._columns[field], np.zeros_like(utterances)
        return column.decode(column.cut(utterances, zeros, zeros + length, length))


def decoded(values: Tensor, scale: float | None) -> Tensor:
    """Values from disk as they are meant: float32, or integers where the field says so (a scale of None)."""
    if scale is None:
        return values
    return values.float() if scale == 1 else values.float() * scale


def _pad(found: Tensor, short: Tensor, beyond: Tensor, silence: Tensor) -> None:
    """Overwrite what lies `beyond` (b, T) the end in the items `short` (b,) of `found` (B, T[, F])."""
    mask = beyond if found.ndim == 2 else beyond[:, :, None]
    found[short] = torch.where(mask, silence.to(found.dtype), found[short])
