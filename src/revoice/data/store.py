"""The in-memory reader: crops of many utterances gathered in one indexing step, on the CPU or on a GPU."""

import hashlib
import json
import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from revoice.data.files import write_json
from revoice.data.manifest import Row
from revoice.data.packed import PackedField, Statistics
from revoice.data.prepare import Prepared
from revoice.errors import UserError

log = logging.getLogger(__name__)

RESERVE = 0.5  # of the device's free memory must stay free for the model


class MemoryStore:
    """Utterances of some splits, with all their fields, addressed by position.

    Args:
        prepared: what `prepare` returned.
        splits: the splits to hold, e.g. `("train", "val")`; empty holds all.
        fields: labels of the fields to read; None reads every field prepared.
        device: where the arrays live. None maps the files into memory (shared by processes, read on demand), "cpu"
            copies them into memory, a CUDA device copies them there if they take at most half of its free memory.

    Attributes:
        rows: the utterances; a position in here is what all methods take.
        lengths: (N,) int64, frames of each utterance.
    """

    def __init__(
        self,
        prepared: Prepared,
        splits: Sequence[str] = (),
        fields: Sequence[str] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        labels = list(prepared.folders) if fields is None else list(fields)
        for label in labels:
            if label not in prepared.folders:
                raise UserError(f"field '{label}' is not prepared: there are {', '.join(prepared.folders)}")
        manifest = prepared.manifest.select(*splits) if splits else prepared.manifest
        self.spec = prepared.spec
        self.rows: tuple[Row, ...] = manifest.rows
        self.ids = np.array([row.id for row in self.rows], dtype=object)
        self._packed = {label: PackedField(prepared.folders[label]) for label in labels}
        place = {label: np.array([p.place[id] for id in self.ids], dtype=np.int64) for label, p in self._packed.items()}
        self._position = place
        self.device = self._choose(device)
        self._data = {label: self._load(packed) for label, packed in self._packed.items()}
        self._first = {label: packed.offsets[place[label]] for label, packed in self._packed.items()}
        self._end = {label: packed.offsets[place[label] + 1] for label, packed in self._packed.items()}
        timed = next((label for label in labels if self._packed[label].per_frame == 1), None)
        self.lengths = self._end[timed] - self._first[timed] if timed else np.zeros(len(self.rows), dtype=np.int64)
        self._padding = {k: torch.tensor(p.index["padding"], device=self.device) for k, p in self._packed.items()}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return sum(packed.array.nbytes for packed in self._packed.values())

    def positions(self, *splits: str) -> np.ndarray:
        """Positions (n,) int64 of the utterances of some splits."""
        return np.array([i for i, row in enumerate(self.rows) if row.split in splits], dtype=np.int64)

    def crops(self, field: str, utterances: np.ndarray, starts: np.ndarray, frames: int) -> Tensor:
        """Cut one crop from each of B utterances, in one indexing step.

        Args:
            field: a label whose `per_frame` is not None.
            utterances: (B,) positions.
            starts: (B,) first frame of each crop.
            frames: length T of the crops; what lies behind an utterance's end is padding (silence, or 0).

        Returns:
            (B, F, T) for matrices, (B, T x per_frame) for one number per step; float32, or integers for codes.
        """
        rate = self._packed[field].per_frame
        assert rate is not None, f"{field} has no time axis: use `vectors`"
        chosen = np.asarray(utterances, dtype=np.int64)
        first = np.rint(np.asarray(starts) * rate).astype(np.int64)
        steps = round(frames * rate)
        index = (self._first[field][chosen] + first)[:, None] + np.arange(steps)
        last = self._end[field][chosen] - 1
        flat = torch.from_numpy(np.minimum(index, last[:, None]).ravel()).to(self.device)
        found = self._packed[field].decode(self._data[field].index_select(0, flat)).unflatten(0, index.shape)
        short = np.flatnonzero(index[:, -1] > last)
        if len(short):
            beyond = torch.from_numpy(index[short] > last[short, None]).to(self.device)
            self._pad(found, torch.from_numpy(short).to(self.device), beyond, self._padding[field])
        return found.transpose(1, 2).contiguous() if found.ndim == 3 else found

    def vectors(self, field: str, utterances: np.ndarray) -> Tensor:
        """The arrays (B, ...) of a field with one array per utterance."""
        index = torch.from_numpy(self._first[field][np.asarray(utterances)]).to(self.device)
        return self._packed[field].decode(self._data[field].index_select(0, index))

    def utterance(self, field: str, position: int) -> Tensor:
        """All of one utterance: (F, T), (T x per_frame,), or one array."""
        if self._packed[field].per_frame is None:
            return self.vectors(field, np.array([position]))[0]
        data = self._data[field][self._first[field][position] : self._end[field][position]]
        values = self._packed[field].decode(data)
        return values.T.contiguous() if values.ndim == 2 else values.clone()

    def statistics(self, field: str = "features", split: str = "train") -> Statistics:
        """Mean and deviation per channel over all frames of a split; computed once per set of utterances."""
        packed, chosen = self._packed[field], self.positions(split)
        names = hashlib.sha256("\n".join(self.ids[chosen]).encode()).hexdigest()[:12]
        path = packed.folder / f"statistics-{names}.json"
        if not path.exists():
            found = packed.statistics(self._position[field][chosen])
            write_json(path, {"mean": found.mean.tolist(), "std": found.std.tolist(), "utterances": len(chosen)})
        values = json.loads(path.read_text(encoding="utf-8"))
        return Statistics(torch.tensor(values["mean"]), torch.tensor(values["std"]))

    @staticmethod
    def _pad(found: Tensor, short: Tensor, beyond: Tensor, silence: Tensor) -> None:
        """Overwrite what lies `beyond` (b, T) the end in the items `short` (b,) of `found` (B, T[, F])."""
        mask = beyond if found.ndim == 2 else beyond[:, :, None]
        found[short] = torch.where(mask, silence.to(found.dtype), found[short])

    def _choose(self, device: str | torch.device | None) -> torch.device:
        size = self.bytes
        chosen = torch.device("cpu" if device is None else device)
        if chosen.type == "cuda":
            free, _ = torch.cuda.mem_get_info(chosen)
            if size > (1 - RESERVE) * free:
                log.info("data (%.0f MB) does not fit into half of %s's free %.0f MB", size / 1e6, chosen, free / 1e6)
                chosen, device = torch.device("cpu"), None
        self._mapped = device is None
        where = "memory-mapped files" if device is None else f"memory of {chosen}"
        parts = ", ".join(f"{label} {p.array.nbytes / 1e6:.1f} MB" for label, p in self._packed.items())
        log.info("reading %d utterances from %s: %s", len(self.rows), where, parts)
        return chosen

    def _load(self, packed: PackedField) -> Tensor:
        data = torch.from_numpy(packed.array)
        return data if self._mapped else data.clone().to(self.device)
