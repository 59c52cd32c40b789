"""Batches from streams, for Lightning."""

import logging
from collections.abc import Sequence

from revoice.data.corpora.manifest import Manifest
from revoice.data.datamodule import DataModule
from revoice.data.read.batch import Requires
from revoice.data.read.facts import merged_facts
from revoice.data.read.gather import labels_of
from revoice.data.read.mapped import Statistics
from revoice.data.read.mixture import appended, pooled, shares_of
from revoice.data.read.stream.index import Stream
from revoice.data.read.stream.reader import Reading, StreamLoader, StreamPlan, stream_loader
from revoice.data.read.tables import merged_tables
from revoice.errors import UserError

log = logging.getLogger(__name__)

_COMPANY = 8  # utterances of a speaker side by side that do for references and balance
_APART = 7919  # between the seeds of two streams


class StreamDataModule(DataModule):
    """Training batches read shard by shard; the validation utterances come with the index and are held in memory.

    Batches depend on the number of processes and of reading workers: a run resumed on others goes on with as many
    utterances behind it, but other ones.

    Args:
        streams: one stream, or several that are mixed.
        requires, batch_size, seed, micro_batches, rank, world_size: as for `VoiceDataModule`.
        shares: of each stream among the items; None gives each as much as it has utterances.
        shards: that each reading process holds in memory at a time (and as many more that it reads ahead).
        workers: reading processes of each training process; 0 reads in a thread beside the training.
        recordings: validation utterances whose files are at hand.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        requires: Requires,
        batch_size: int = 32,
        seed: int = 0,
        micro_batches: int = 1,
        shares: Sequence[float] | None = None,
        shards: int = 4,
        workers: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
        recordings: Manifest | None = None,
    ) -> None:
        labels = labels_of(requires)
        for stream in streams:
            stream.check(labels)
        self.streams = tuple(streams)
        tables = merged_tables([stream.tables for stream in streams])
        held = appended([stream.validation(labels) for stream in streams])
        facts = merged_facts([stream.facts for stream in streams])
        super().__init__(held, tables, facts, requires, batch_size, seed, micro_batches, (rank, world_size))
        self._shares = shares_of(shares or [float(stream.counts.sum()) for stream in streams])
        self._readings = tuple(Reading(s, tables, requires, seed + _APART * i, shards) for i, s in enumerate(streams))
        self._workers, self._recordings = workers, recordings
        self._loader: StreamLoader | None = None
        for stream in streams:
            company = shards * stream.counts.mean() / len(stream.tables.speakers)
            if company < _COMPANY and (requires.reference or requires.sampler == "by_speaker"):
                log.warning(
                    "%s: %.1f utterances of a speaker are in memory at a time, so %s; raise data.streaming.shards (%d)",
                    stream.address, company,
                    "references are often the utterance itself" if requires.reference else "speakers are not balanced",
                    shards,
                )  # fmt: skip
        if requires.parallel:
            log.warning(
                "streams do not tell who says the same sentence, so nothing is compared with recordings of another "
                "emotion (the loss `parallel` is 0); data.stream=false reads them from memory"
            )
        count = sum(len(stream.shards) for stream in streams)
        log.info(
            "streaming %d shards, %d at a time in each of %d readers per process; %d validation utterances in memory",
            count, shards, max(workers, 1), len(held),
        )  # fmt: skip

    def recordings(self) -> Manifest | None:
        """The manifest that it was made with; None if only the stream is at hand."""
        return self._recordings

    def statistics(self) -> Statistics:
        """As the indices say, each stream with its share."""
        return pooled([stream.statistics for stream in self.streams], self._shares)

    def pitch_levels(self) -> list[float | None]:
        """As the indices say."""
        return self._pitch("levels")

    def pitch_deviations(self) -> list[float | None]:
        """As the indices say; an index that an earlier version wrote does not."""
        return self._pitch("deviations")

    def _pitch(self, what: str) -> list[float | None]:
        if "f0" not in self.requires.fields:
            return []
        known: dict[str, float | None] = {}
        for stream in self.streams:
            values = getattr(stream, what)
            if not values:
                raise UserError(
                    f"the stream {stream.address} does not tell the {what} of pitch: remove it and prepare.py "
                    "data.stream=true writes it anew"
                )
            known |= dict(zip(stream.tables.speakers, values, strict=True))
        return [known[name] for name in self.tables.speakers]

    def batches(self) -> StreamLoader:
        """In the order of the shards."""
        self.check_batch_size()
        rank, world_size = self.place
        plan = StreamPlan(
            self._readings, self._shares, self.batch_size, self.micro_batches, self.seed, rank, world_size,
            workers=self._workers,
        )  # fmt: skip
        self._loader = stream_loader(plan, self.start_iteration)
        return self._loader

    def teardown(self, stage: str) -> None:
        """Training is over: so are its readers."""
        self.close()

    def on_exception(self, exception: BaseException) -> None:
        """Likewise."""
        self.close()

    def close(self) -> None:
        """End the reading processes."""
        if self._loader is not None:
            self._loader.close()
        self._loader = None
