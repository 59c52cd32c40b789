"""Endless training batches from streams: each reader has shards of its own, a few in memory at a time."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from revoice.data.prepare.workers import fresh_processes
from revoice.data.read.batch import Batch, Requires
from revoice.data.read.columns import Columns
from revoice.data.read.gather import concatenated, gather, labeled, labels_of
from revoice.data.read.sampler import Crops, CropSampler, Parallels
from revoice.data.read.stream.index import Stream, Unreadable
from revoice.data.read.stream.signals import READER, leave_signals_to_the_parent
from revoice.data.read.tables import Tables
from revoice.errors import UserError
from revoice.nn.draws import Draws

log = logging.getLogger(__name__)

_AT_ONCE = 1 << 20  # items whose streams are counted at once
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly however many there are


@dataclass(frozen=True)
class Group:
    """A few shards in memory, and the crops that are taken of them: one for each training utterance."""

    store: Columns
    places: dict[str, torch.Tensor]
    crops: Crops


@dataclass(frozen=True)
class Reading:
    """How one stream is read.

    Attributes:
        stream: its index.
        tables: the names behind `Batch.speaker` and the like (of all streams, if there are several).
        requires: the model's needs.
        seed: of the order of shards and of the crops.
        shards: in memory at a time.
    """

    stream: Stream
    tables: Tables
    requires: Requires
    seed: int
    shards: int

    def groups(self, reader: int, readers: int, skip: int) -> Iterator[tuple[Group, int]]:
        """The groups of one reader among many from its item `skip` on, for ever; the next is read in the background.

        Args:
            reader: 0 to `readers - 1`.
            readers: of all processes and their workers.
            skip: items already delivered.

        Yields:
            (group, items of it already delivered).
        """
        with ThreadPoolExecutor(1, "stream") as background:
            plan = self._plan(reader, readers, skip)
            first = next(plan)
            ahead: Future[Group] = background.submit(self._read, *first[:4])
            done = first[4]
            try:
                for epoch, number, shards, count, skipped in plan:
                    group = ahead.result()
                    ahead = background.submit(self._read, epoch, number, shards, count)
                    yield group, done
                    done = skipped
            finally:
                ahead.cancel()

    def _plan(self, reader: int, readers: int, skip: int) -> Iterator[tuple[int, int, np.ndarray, int, int]]:
        """(epoch, number, shards, items, items already delivered) of each group; each epoch holds every shard once."""
        counts, epoch = self.stream.counts, 0
        while True:
            order = self._order(epoch)[reader::readers]
            total = int(counts[order].sum())
            if not total:
                raise UserError(f"{self.stream.address}: no training utterances for reader {reader} of {readers}")
            if skip >= total:
                skip -= total
            else:
                for first in range(0, len(order), self.shards):
                    shards = order[first : first + self.shards]
                    count = int(counts[shards].sum())
                    if count > skip:
                        yield epoch, first * readers + reader, shards, count, skip
                    skip = max(0, skip - count)
            epoch += 1

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.stream.shards))

    def _store(
        self, epoch: int, number: int, shards: np.ndarray
    ) -> tuple[Columns, dict[str, torch.Tensor], np.ndarray]:
        """The utterances of a group, and those of them that have the labels that the model needs.

        If none of its shards can be read, or none of it is labeled, it is those of the next shards instead.

        The group keeps its number, which is its place in the order of the epoch, and its count of items: a run that
        resumes there or behind it meets the same ones. All shards may stand in, not only those of this reader, which
        perhaps has no other.
        """
        labels, unread = labels_of(self.requires), list[Unreadable]()
        behind = np.roll(self._order(epoch), -number - 1)
        others = [behind[first : first + self.shards] for first in range(0, len(behind), self.shards)]
        for turn, some in enumerate([shards, *others]):
            try:
                store = self.stream.read(some.tolist(), labels, stand_in=turn > 0)
            except Unreadable as error:
                unread.append(error)
                continue
            places = {label: torch.from_numpy(found) for label, found in self.tables.index(store.rows).items()}
            chosen = labeled(places, self.requires, np.arange(len(store)))
            if len(chosen):
                return store, places, chosen
        if len(unread) > len(others):
            raise unread[0]
        label = " and ".join(self.requires.labels)
        raise UserError(f"{self.stream.address}: does not tell the {label}, which this model learns from")

    def _read(self, epoch: int, number: int, shards: np.ndarray, count: int) -> Group:
        store, places, chosen = self._store(epoch, number, shards)
        mode = "each" if self.requires.sampler == "uniform" else self.requires.sampler
        same = self.requires.parallel
        sampler = CropSampler(
            chosen,
            store.lengths[chosen],
            np.unique([row.speaker for row in store.rows], return_inverse=True)[1][chosen],
            batch_size=count,
            frames=self.requires.crop,
            minimum=self.requires.minimum,
            mode=mode,
            reference=self.requires.reference,
            parallels=Parallels(store.rows, store.lengths, chosen, same) if same else None,
            seed=int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]),
        )
        return Group(store, places, sampler.draw(number))


class _Tap:
    """Delivers the items of one stream, however many are asked for."""

    def __init__(self, reading: Reading, reader: int, readers: int, skip: int) -> None:
        self._reading = reading
        self._groups = reading.groups(reader, readers, skip)
        self._group, self._next = next(self._groups)

    def take(self, count: int) -> list[Batch]:
        """The next `count` items, as one batch for each group they lie in."""
        found = []
        while count:
            left = len(self._group.crops.utterances) - self._next
            if not left:
                self._group, self._next = next(self._groups)
                continue
            now = min(left, count)
            crops = self._group.crops.cut(self._next, now)
            found.append(gather(self._group.store, self._group.places, self._reading.requires, crops))
            self._next, count = self._next + now, count - now
        return found


@dataclass(frozen=True)
class StreamPlan:
    """What the batches of one process are made of.

    Attributes:
        readings: the streams.
        shares: of the items that come from each; they add up to 1.
        batch_size: of the global batch.  micro_batches: parts of it.
        seed: of `Batch.draws`.
        rank, world_size: this process among all.
        start: first iteration.
        workers: processes that read; 0 reads in this one.
    """

    readings: tuple[Reading, ...]
    shares: tuple[float, ...]
    batch_size: int
    micro_batches: int
    seed: int
    rank: int
    world_size: int
    start: int = 0
    workers: int = 1

    @property
    def count(self) -> int:
        """Items of one micro-batch of this process."""
        return self.batch_size // self.world_size // self.micro_batches

    def batches(self, worker: int) -> Iterator[Batch]:
        """What worker number `worker` delivers: every `workers`-th micro-batch, beginning with its own first one."""
        workers = max(self.workers, 1)
        begin = self.start * self.micro_batches + worker  # whoever is asked first delivers the first one
        line = begin % workers
        taken = (begin // workers) * self.count
        bounds = np.cumsum(self.shares)
        before = np.zeros(len(self.readings), dtype=np.int64)
        for first in range(0, taken, _AT_ONCE):
            found = _sources(bounds, first, min(_AT_ONCE, taken - first))
            before += np.bincount(found, minlength=len(self.readings))
        place, places = self.rank * workers + line, self.world_size * workers
        taps = [_Tap(r, place, places, int(skip)) for r, skip in zip(self.readings, before, strict=True)]
        for number in _every(begin, workers):
            wanted = np.bincount(_sources(bounds, taken, self.count), minlength=len(taps))
            taken += self.count
            pieces = [piece for tap, size in zip(taps, wanted, strict=True) for piece in tap.take(int(size))]
            iteration, part = divmod(number, self.micro_batches)
            first = (part * self.world_size + self.rank) * self.count
            yield concatenated(pieces, Draws(self.seed, iteration, first, self.count, self.batch_size))


class _Batches(IterableDataset[Batch | UserError]):
    def __init__(self, plan: StreamPlan) -> None:
        self.plan = plan

    def __iter__(self) -> Iterator[Batch | UserError]:
        here = get_worker_info()
        try:
            for batch in self.plan.batches(here.id if here else 0):
                READER.idle_since = time.monotonic()
                yield batch
                READER.idle_since = None
        except UserError as error:  # torch would wrap it in a traceback
            READER.idle_since = time.monotonic()
            yield error


class StreamLoader:
    """Endless batches of this process; a mistake of the user that a reader meets is raised here."""

    def __init__(self, plan: StreamPlan, workers: int) -> None:
        how: dict[str, Any] = {}
        if workers:
            how = {"multiprocessing_context": fresh_processes(), "persistent_workers": True, "prefetch_factor": 4}
            how["worker_init_fn"] = leave_signals_to_the_parent
        self.plan = plan
        self._loader = DataLoader(_Batches(plan), batch_size=None, num_workers=workers, **how)
        self._reading: Any = None

    def __iter__(self) -> Iterator[Batch]:
        self._reading = iter(self._loader)
        for found in self._reading:
            if isinstance(found, UserError):
                raise found
            yield found

    def close(self) -> None:
        """End the reading processes; else they end when they were idle for a while, and the program waits for that."""
        reading, self._reading = self._reading, None
        if hasattr(reading, "_shutdown_workers"):
            reading._shutdown_workers()
            for reader in reading._workers:  # that wait for a server, perhaps forever
                reader.kill()


def stream_loader(plan: StreamPlan, start: int) -> StreamLoader:
    """A loader of endless batches from iteration `start` on.

    Raises:
        UserError: fewer shards than processes.
    """
    fewest = min(len(reading.stream.shards) for reading in plan.readings)
    if fewest < plan.world_size:
        raise UserError(
            f"{fewest} shards cannot be shared by {plan.world_size} processes: prepare smaller ones, "
            f"e.g. data.prepare.shard_utterances=64, or train with data.stream=false"
        )
    workers = min(plan.workers, fewest // plan.world_size)
    if workers < plan.workers:
        log.info("data.streaming.workers=%d of %d: there are %d shards", workers, plan.workers, fewest)
    return StreamLoader(replace(plan, start=start, workers=workers), workers)


def _sources(bounds: np.ndarray, first: int, count: int) -> np.ndarray:
    """Which stream items `first` to `first + count` come from: evenly mixed, the same at every call."""
    if len(bounds) == 1:
        return np.zeros(count, dtype=np.int64)
    spread = (np.arange(first + 1, first + count + 1) * _GOLDEN) % 1.0
    return np.minimum(np.searchsorted(bounds, spread, side="right"), len(bounds) - 1)


def _every(first: int, step: int) -> Iterator[int]:
    while True:
        yield first
        first += step
