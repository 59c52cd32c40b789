"""What is known of the speakers: the names behind the integers of a batch, and how high the voices speak."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from revoice.data.corpora.manifest import Row

GENDERS = ("F", "M")


@dataclass(frozen=True)
class Tables:
    """The names that `Batch.speaker`, `.gender` and `.emotion` index; -1 is a name that is not in the table.

    >>> rows = [Row(id="a", path="a", speaker="p2", gender="M"), Row(id="b", path="b", speaker="p1")]
    >>> tables = Tables.of(rows)
    >>> tables.speakers, tables.index(rows)["speaker"].tolist(), tables.index(rows)["gender"].tolist()
    (('p1', 'p2'), [1, 0], [1, -1])
    """

    speakers: tuple[str, ...]
    emotions: tuple[str, ...]
    genders: tuple[str, ...] = GENDERS

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Tables":
        """The names in the training rows, sorted."""
        rows = list(rows)
        emotions = sorted({row.emotion for row in rows if row.emotion})
        return cls(tuple(sorted({row.speaker for row in rows})), tuple(emotions))

    def index(self, rows: Sequence[Row]) -> dict[str, np.ndarray]:
        """(N,) int64 for each of speaker, gender, emotion."""
        return {
            "speaker": _places(self.speakers, [row.speaker for row in rows]),
            "gender": _places(self.genders, [row.gender for row in rows]),
            "emotion": _places(self.emotions, [row.emotion for row in rows]),
        }


def merged_tables(tables: Sequence[Tables]) -> Tables:
    """The names of several corpora in one table."""
    speakers = {name for table in tables for name in table.speakers}
    emotions = {name for table in tables for name in table.emotions}
    return Tables(tuple(sorted(speakers)), tuple(sorted(emotions)))


def _places(table: Sequence[str], names: Sequence[str | None]) -> np.ndarray:
    place: dict[str | None, int] = {name: i for i, name in enumerate(table)}
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)


class PitchLevels:
    """Mean and deviation of log-f0 of each speaker, of contours that come one by one.

    >>> import torch
    >>> levels = PitchLevels(["a", "b"])
    >>> levels.add("a", torch.tensor([0.0, 1.0, 1.0]))
    >>> levels.means(), levels.deviations()
    ([0.0, None], [0.0, None])
    """

    def __init__(self, speakers: Sequence[str]) -> None:
        self._sums = {name: [0.0, 0, 0.0] for name in speakers}

    def add(self, speaker: str, f0: Tensor) -> None:
        """Take the contour (T,) in Hz in; 0 is unvoiced."""
        found, voiced = self._sums[speaker], f0[f0 > 0].double().log()
        found[0] += float(voiced.sum())
        found[1] += len(voiced)
        found[2] += float(voiced.square().sum())

    def means(self) -> list[float | None]:
        """In the order of the speakers; None of whom nothing is voiced."""
        return [total / count if count else None for total, count, _ in self._sums.values()]

    def deviations(self) -> list[float | None]:
        """In the same order."""
        return [
            max(squares / count - (total / count) ** 2, 0.0) ** 0.5 if count else None
            for total, count, squares in self._sums.values()
        ]
