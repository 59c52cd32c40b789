"""The in-memory reader: all prepared utterances as columns, on the CPU or on a GPU."""

import hashlib
import logging
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from revoice.data.files import dispensable, write_json
from revoice.data.prepare.preparation import Prepared
from revoice.data.read.columns import ArrayColumn, Column, Columns
from revoice.data.read.mapped import MappedColumn, MappedField, Statistics, require_statistics
from revoice.errors import UserError
from revoice.foreign import parse_json

log = logging.getLogger(__name__)

RESERVE = 0.5  # of the device's free memory must stay free for the model


class Held(Columns):
    """Prepared utterances in memory, of one corpus or of several.

    Attributes:
        sources: (N,) int64, which corpus each utterance belongs to.
        shares: of the draws that each corpus gets, adding up to 1.
    """

    sources: np.ndarray
    shares: tuple[float, ...]

    def statistics(self) -> Statistics:
        """Mean and deviation per channel over the training features."""
        raise NotImplementedError


class MemoryStore(Held):
    """Utterances of some splits of one corpus, with all their fields.

    Args:
        prepared: what `prepare` returned.
        splits: the splits to hold, e.g. `("train", "val")`; empty holds all.
        fields: labels of the fields to read; None reads every field prepared.
        device: where the arrays live. None maps the files into memory (shared by processes, read on demand), "cpu"
            copies them into memory, a CUDA device copies them there if they take at most half of its free memory.
        room: bytes that may be taken of the device; None: `room_on` it.

    Attributes:
        mapped: whether the files are mapped, as they are too if the device has no room for them.
    """

    def __init__(
        self,
        prepared: Prepared,
        splits: Sequence[str] = (),
        fields: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        room: float | None = None,
    ) -> None:
        labels = list(prepared.folders) if fields is None else list(fields)
        for label in labels:
            if label not in prepared.folders:
                raise UserError(f"field '{label}' is not prepared: there are {', '.join(prepared.folders)}")
        manifest = prepared.manifest.select(*splits) if splits else prepared.manifest
        self.spec = prepared.spec
        self._fields = {label: MappedField(prepared.folders[label]) for label in labels}
        self._position = {
            label: np.array([found.place[row.id] for row in manifest], dtype=np.int64)
            for label, found in self._fields.items()
        }
        mapped = {label: found.column.chosen(self._position[label]) for label, found in self._fields.items()}
        where = _choose(device, mapped, len(manifest), room)
        self.mapped = where is None
        columns: dict[str, Column] = {
            label: column if where is None else ArrayColumn(column.about, column.lengths, column.array().to(where))
            for label, column in mapped.items()
        }
        super().__init__(manifest.rows, columns)
        self.sources, self.shares = np.zeros(len(self), dtype=np.int64), (1.0,)

    def statistics(self, field: str = "features", split: str = "train") -> Statistics:
        """Mean and deviation per channel over all frames of a split; computed once per set of utterances."""
        stored, chosen = self._fields[field], self.positions(split)
        names = hashlib.sha256("\n".join(self.ids[chosen]).encode()).hexdigest()[:12]
        path = stored.folder / f"statistics-{names}.json"
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            found = Statistics(torch.tensor(values["mean"]), torch.tensor(values["std"]))
            return require_statistics(found, stored.column.width)
        except (FileNotFoundError, ValueError, LookupError, TypeError):  # not yet, or damaged
            pass
        found = stored.statistics(self._position[field][chosen])
        with dispensable():
            write_json(path, {"mean": found.mean.tolist(), "std": found.std.tolist(), "utterances": len(chosen)})
        return found


def _choose(
    device: str | torch.device | None, columns: Mapping[str, MappedColumn], utterances: int, room: float | None
) -> torch.device | None:
    """Where to copy the rows; None: leave them mapped."""
    size = sum(column.bytes for column in columns.values())
    chosen = _own(device)
    room = room_on(chosen) if room is None else room
    if chosen is not None and size > room:
        log.info("data (%.0f MB) does not fit into %s, where it may take %.0f MB", size / 1e6, chosen, room / 1e6)
        chosen = None
    where = "memory-mapped files" if chosen is None else f"memory of {chosen}"
    parts = ", ".join(f"{label} {column.bytes / 1e6:.1f} MB" for label, column in columns.items())
    log.info("reading %d utterances from %s: %s", utterances, where, parts)
    return chosen


def room_on(device: str | torch.device | None) -> float:
    """Bytes that data may take of a device: of a GPU's free memory all but `RESERVE`."""
    chosen = _own(device)
    if chosen is None or chosen.type != "cuda":
        return math.inf
    return (1 - RESERVE) * torch.cuda.mem_get_info(chosen)[0]


def _own(device: str | torch.device | None) -> torch.device | None:
    """The device with its number: "cuda" is another one for each process."""
    chosen = None if device is None else torch.device(device)
    if chosen is not None and chosen.type == "cuda" and chosen.index is None:
        rank = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
        return torch.device("cuda", rank % max(torch.cuda.device_count(), 1))
    return chosen
