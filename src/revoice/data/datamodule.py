"""Prepared data -> batches for Lightning: crops that depend on (seed, iteration) alone, on one process or many."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from revoice.data.corpora.manifest import Manifest
from revoice.data.read.batch import Batch, Requires
from revoice.data.read.columns import Columns
from revoice.data.read.facts import Facts
from revoice.data.read.gather import gather, grouped, labeled
from revoice.data.read.mapped import Statistics
from revoice.data.read.sampler import Crops, Parallels
from revoice.data.read.tables import Tables
from revoice.errors import UserError
from revoice.nn.draws import Draws

log = logging.getLogger(__name__)


class DataModule(LightningDataModule):
    """What all readers share: batches for training, and the middle of each validation utterance.

    The training loader never ends. Its state is one number: to resume after i iterations, set `start_iteration = i`
    before the loader is made, and the batches go on as if nothing had happened.

    Attributes:
        store: utterances in memory; those of validation at least.
        tables: the names behind `Batch.speaker`, `.gender`, `.emotion`, taken from the training rows.
        facts: what to tell of the data.
        start_iteration: first iteration the next training loader delivers.
    """

    store: Columns
    tables: Tables
    facts: Facts

    def __init__(
        self,
        store: Columns,
        tables: Tables,
        facts: Facts,
        requires: Requires,
        batch_size: int,
        seed: int,
        micro_batches: int,
        place: tuple[int | None, int | None],
    ) -> None:
        super().__init__()
        self.store, self.tables, self.facts, self.requires = store, tables, facts, requires
        self.batch_size, self.seed, self.micro_batches = batch_size, seed, micro_batches
        self.start_iteration = 0
        self._place = place
        self._places = {k: torch.from_numpy(v) for k, v in tables.index(store.rows).items()}
        names = np.array([row.speaker for row in store.rows])
        self.speaker_of = np.unique(names, return_inverse=True)[1]

    @property
    def place(self) -> tuple[int, int]:
        """(rank, number of processes)."""
        rank, world_size = self._place
        if rank is not None and world_size is not None:
            return rank, world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def statistics(self) -> Statistics:
        """Mean and deviation of the training features."""
        raise NotImplementedError

    def pitch_levels(self) -> list[float | None]:
        """Mean log-f0 of every speaker of `tables` over the training utterances; empty if f0 is not among the fields.

        A speaker of whom nothing is voiced has None.
        """
        raise NotImplementedError

    def label_counts(self) -> dict[str, Tensor] | None:
        """How many training utterances have each gender and each emotion of `tables`, (N,) each; None: not known.

        "speaker_emotion" has the emotions of each speaker (speakers, N).
        """
        return None

    def pitch_deviations(self) -> list[float | None]:
        """Its deviation, likewise."""
        raise NotImplementedError

    def recordings(self) -> Manifest | None:
        """Utterances whose files may be looked at; None if they are elsewhere."""
        return None

    def sample(self) -> Batch | None:
        """Some batch, to show its shapes; None if none is at hand."""
        return next(iter(self.val_dataloader()), None)

    def examples(self) -> np.ndarray:
        """Positions in `store` of utterances to look at: training ones if they are there."""
        train = self.store.positions("train")
        return train if len(train) else self.store.positions("val")

    def val_dataloader(self) -> Sequence[Batch]:
        """The same crops in every run: the middle of each validation utterance; empty without a validation split.

        All processes get the same number of items; up to `world_size - 1` utterances at the end are left out for that.
        Where there are fewer utterances than processes, each process takes them all, and the mean is theirs.
        For a model that learns from labels every batch has about as many of each as the whole.
        """
        rank, world_size = self.place
        chosen = labeled(self._places, self.requires, self.store.positions("val"))
        if len(chosen) < world_size:
            rank, world_size = 0, 1
        chosen = chosen[: len(chosen) // world_size * world_size]
        per_process = max(1, self.batch_size // self.micro_batches // world_size)
        groups = grouped(self._places, self.requires, chosen, per_process, world_size)
        crops = [self._middle(np.array_split(group, world_size)[rank]) for group in groups]
        among = self.parallels(labeled(self._places, self.requires, self.store.positions("val")))
        if among is not None:
            crops = [among.beside(each, self.requires.crop, np.zeros(len(each.utterances))) for each in crops]
        return ValLoader(crops, self)

    def batch(self, crops: Crops, draws: Draws | None = None) -> Batch:
        """Gather crops of `store` into a batch, on its device."""
        return gather(self.store, self._places, self.requires, crops, draws)

    def batches(self) -> Iterable[Batch]:
        """Endless micro-batches of this process from `start_iteration` on."""
        raise NotImplementedError

    def train_dataloader(self) -> "Iterations":
        """Endless iterations of this process from `start_iteration` on: lists of micro-batches."""
        return Iterations(self.batches(), self.micro_batches)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Called by Lightning, with the list of an iteration or a batch of validation."""
        if isinstance(batch, list):
            return [each.to(device, non_blocking=True) for each in batch]
        return batch.to(device, non_blocking=True)

    def check_batch_size(self) -> None:
        """A `UserError` if the processes cannot have equal shares of the batch."""
        _, world_size = self.place
        parts = world_size * self.micro_batches
        if self.batch_size % parts or self.batch_size < parts:
            nearest = max(1, round(self.batch_size / parts)) * parts
            raise UserError(
                f"data.batch_size={self.batch_size} cannot be shared by {world_size} processes in {self.micro_batches} "
                f"micro-batches: expected a multiple of {parts}, e.g. data.batch_size={nearest}"
            )

    def _middle(self, chosen: np.ndarray) -> Crops:
        """Middle crops; the reference is the speaker's next utterance in the store, round and round."""
        frames, lengths = self.requires.crop, self.store.lengths
        order = np.argsort(self.speaker_of, kind="stable")
        rank_of = np.argsort(order, kind="stable")
        first = np.searchsorted(self.speaker_of[order], self.speaker_of[chosen], side="left")
        last = np.searchsorted(self.speaker_of[order], self.speaker_of[chosen], side="right")
        other = order[first + (rank_of[chosen] - first + 1) % (last - first)]
        middle = np.maximum(lengths[chosen] - frames, 0) // 2
        return Crops(chosen, middle, other, np.maximum(lengths[other] - self.requires.reference, 0) // 2)

    def parallels(self, positions: np.ndarray) -> Parallels | None:
        """What says the same as each of the utterances at these positions, among them; None: it is not required."""
        length = self.requires.parallel
        return Parallels(self.store.rows, self.store.lengths, positions, length) if length else None


class Iterations:
    """What a process is given for each iteration: its micro-batches, which one loader delivers one after the other."""

    def __init__(self, batches: Iterable[Batch], micro_batches: int) -> None:
        self._batches, self._micro_batches = batches, micro_batches

    def __iter__(self) -> Iterator[list[Batch]]:
        found = iter(self._batches)
        while True:
            yield list(islice(found, self._micro_batches))


class ValLoader(Sequence[Batch]):
    """The validation batches of this process, gathered when asked for."""

    def __init__(self, crops: list[Crops], data: DataModule) -> None:
        self._crops, self._data = crops, data

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: Any) -> Any:
        return self._data.batch(self._crops[index])
