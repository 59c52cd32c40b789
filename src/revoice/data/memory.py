"""Batches of utterances that are held in memory: crops that depend on (seed, iteration) alone."""

import logging
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from revoice.data.corpora.manifest import Manifest
from revoice.data.datamodule import DataModule
from revoice.data.prepare.preparation import Prepared
from revoice.data.read.batch import Batch, Requires
from revoice.data.read.facts import Facts
from revoice.data.read.gather import labeled, labels_of
from revoice.data.read.mapped import Statistics
from revoice.data.read.mixture import Mixed, MixedStore, held
from revoice.data.read.sampler import Crops, CropSampler
from revoice.data.read.store import Held
from revoice.data.read.tables import PitchLevels, Tables
from revoice.errors import UserError
from revoice.nn.draws import Draws

log = logging.getLogger(__name__)


class VoiceDataModule(DataModule):
    """Training and validation batches from memory.

    Args:
        prepared: what `prepare` returned, with all fields that `requires` names.
        requires: the model's needs.
        batch_size: items of the global batch, all processes and micro-batches together.
        seed: of the crops and of `Batch.draws`.
        micro_batches: parts in which an iteration's batch is delivered, for gradient accumulation; together they are
            the same batch.
        device: see `MemoryStore`.
        rank, world_size: this process among all; None asks `torch.distributed`.
    """

    store: Held

    def __init__(
        self,
        prepared: Prepared | Mixed,
        requires: Requires,
        batch_size: int = 32,
        seed: int = 0,
        micro_batches: int = 1,
        device: str | torch.device | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        store = held(prepared, ("train", "val"), labels_of(requires), device)
        train = store.positions("train")
        if not len(train):
            raise UserError(f"no training utterances among the {len(prepared.manifest)} prepared: lower data.splits.*")
        tables = Tables.of(store.rows[i] for i in train)
        super().__init__(
            store, tables, Facts.of(prepared), requires, batch_size, seed, micro_batches, (rank, world_size)
        )
        self.prepared = prepared

    def statistics(self) -> Statistics:
        """Computed once per set of training utterances."""
        return self.store.statistics()

    def pitch_levels(self) -> list[float | None]:
        """In one pass over the training utterances."""
        return self._pitch.means() if self._pitch else []

    def pitch_deviations(self) -> list[float | None]:
        """In the same pass."""
        return self._pitch.deviations() if self._pitch else []

    @cached_property
    def _pitch(self) -> PitchLevels | None:
        if "f0" not in self.requires.fields:
            return None
        levels = PitchLevels(self.tables.speakers)
        for position in self.store.positions("train"):
            levels.add(self.store.rows[position].speaker, self.store.utterance("f0", int(position)))
        return levels

    def label_counts(self) -> dict[str, Tensor]:
        """Counted."""
        train = self.store.positions("train")
        names = {"gender": self.tables.genders, "emotion": self.tables.emotions}
        found = {label: self._places[label][train] for label in names}
        counts = {key: torch.bincount(found[key][found[key] >= 0], minlength=len(names[key])) for key in names}
        speakers, known, width = self._places["speaker"][train], found["emotion"] >= 0, len(names["emotion"])
        both = (speakers * width + found["emotion"])[known & (speakers >= 0)]
        count = len(self.tables.speakers)
        counts["speaker_emotion"] = torch.bincount(both, minlength=count * width).view(count, width)
        return counts

    def recordings(self) -> Manifest:
        """The manifest of all that was prepared, of every split."""
        return self.prepared.manifest

    def sampler(self) -> CropSampler:
        """The sampler of the training crops."""
        everything = self.store.positions("train")
        train = labeled(self._places, self.requires, everything)
        if not len(train):
            label = " and ".join(self.requires.labels)
            raise UserError(
                f"of none of the {len(everything)} training utterances the {label} is known, which this model learns "
                f"from: give data that says it, as a CSV with the columns path,speaker,{','.join(self.requires.labels)}"
            )
        if isinstance(self.store, MixedStore):
            self.store.require_long(train, self.requires.minimum)
        # in order: all of one gender, then all of the next
        groups = self._places["gender"].numpy() if self.requires.sampler == "in_order" else self.speaker_of
        parallels = self.parallels(train)
        if parallels is not None and not parallels:
            log.warning(
                "no training utterance is said with another emotion by the same speaker, too: none are compared"
            )
        sampler = CropSampler(
            train,
            self.store.lengths[train],
            groups[train],
            batch_size=self.batch_size,
            frames=self.requires.crop,
            minimum=self.requires.minimum,
            mode=self.requires.sampler,
            reference=self.requires.reference,
            parallels=parallels,
            seed=self.seed,
            sources=self.store.sources[train],
            shares=self.store.shares,
        )
        if sampler.left_out:
            log.info(
                "%d of %d utterances are shorter than %d frames and left out",
                sampler.left_out, len(train), self.requires.minimum,
            )  # fmt: skip
        return sampler

    def batches(self) -> "TrainLoader":
        """By (seed, iteration) alone."""
        return TrainLoader(self, self.start_iteration)


class TrainLoader:
    """Endless training batches of this process; item n belongs to iteration `start + n // micro_batches`."""

    def __init__(self, data: VoiceDataModule, start: int) -> None:
        data.check_batch_size()
        rank, world_size = data.place
        self._data, self._start, self._rank = data, start, rank
        self._count = data.batch_size // world_size // data.micro_batches
        self._sampler = data.sampler()

    def __iter__(self) -> Iterator[Batch]:
        iteration = self._start
        while True:
            crops = self._sampler.draw(iteration)
            for part in range(self._data.micro_batches):
                yield self._part(crops, iteration, part)
            iteration += 1

    def _part(self, crops: Crops, iteration: int, part: int) -> Batch:
        _, world_size = self._data.place
        first = (part * world_size + self._rank) * self._count
        draws = Draws(self._data.seed, iteration, first, self._count, self._data.batch_size)
        return self._data.batch(crops.cut(first, self._count), draws)
