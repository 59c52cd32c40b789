"""A corpus or several with everything that was asked of them: from recordings to batches."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.base import Corpus
from revoice.data.corpora.manifest import Manifest
from revoice.data.corpora.splits import Splits
from revoice.data.fields.base import Field, field_of
from revoice.data.prepare.preparation import Preparation, Prepared, prepare, prepare_share
from revoice.data.read.batch import Requires
from revoice.data.read.gather import labels_of
from revoice.data.read.mixture import Mixed, combined, shares_of, told_apart
from revoice.data.read.stream.index import Stream
from revoice.data.read.stream.writer import write_stream
from revoice.errors import UserError
from revoice.settings import Count, Processes, Word, settings

if TYPE_CHECKING:
    from revoice.data.datamodule import DataModule


@settings
class Streaming:
    """How streams are read (`data.streaming`).

    Attributes:
        address: folder of a stream's index, a path or anything fsspec opens (http://..., s3://...): the corpus itself
            is not needed then. None prepares it and streams from where that lies.
        shards: that a reading process holds in memory at a time.
        workers: reading processes of each training process; 0 reads in a thread beside the training.
    """

    address: Word | None = None
    shards: Count = 4
    workers: Processes = 1


@dataclass(frozen=True, kw_only=True)
class DataSetup(ABC):
    """Everything the group `data` of a config says.

    Attributes:
        preparation: how stored fields are made.
        batch_size: items of the global batch.
        device: where the in-memory reader keeps its arrays, see `MemoryStore`.
        stream: whether to read shard by shard.
        streaming: how.
    """

    preparation: Preparation
    batch_size: int
    device: str | None
    stream: bool
    streaming: Streaming

    def __post_init__(self) -> None:
        if self.stream and self.device is not None:
            raise UserError(
                f"data.device={self.device} is for the in-memory reader: leave it out with data.stream=true"
            )
        if self.streaming.address and not self.stream:
            raise UserError("data.streaming.address is not looked at without data.stream=true: add that")

    @abstractmethod
    def manifest(self) -> Manifest:
        """The utterances with their splits, without looking at any audio."""

    @abstractmethod
    def prepare(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, progress: bool = True
    ) -> Prepared | Mixed:
        """Compute and store the fields where that is not done yet."""

    @abstractmethod
    def prepare_share(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, share: tuple[int, int]
    ) -> int:
        """This machine's share of the shards; how many are still missing, see `prepare_share`."""

    @abstractmethod
    def streams(self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str) -> list[Stream]:
        """The indices of the streams, written first where they are missing."""

    @property
    @abstractmethod
    def at_hand(self) -> bool:
        """Whether the recordings are here, or only streams of what was computed of them."""

    @abstractmethod
    def shares(self) -> tuple[float, ...] | None:
        """Of each corpus among the items; None: as many as it has utterances."""

    def training_speakers(self) -> set[str]:
        """Names of the voices that are trained on."""
        return {row.speaker for row in self.manifest().select("train")}

    def emotions(self) -> tuple[str, ...]:
        """Those that are trained on, sorted: what `Batch.emotion` counts."""
        return tuple(sorted({row.emotion for row in self.manifest().select("train") if row.emotion}))

    def open(
        self,
        spec: FeatureSpec,
        requires: Requires,
        out_dir: Path | str,
        seed: int = 0,
        micro_batches: int = 1,
        made: Mapping[str, Field] | None = None,
    ) -> "DataModule":
        """Prepare what is missing, and the batches of it; `made` are fields by label that somebody's network makes."""
        from revoice.data.memory import VoiceDataModule
        from revoice.data.read.stream.module import StreamDataModule

        made = made or {}
        if not self.stream:
            prepared = self.prepare(spec, [made.get(label, label) for label in requires.fields], out_dir)
            return VoiceDataModule(prepared, requires, self.batch_size, seed, micro_batches, device=self.device)
        fields = [made.get(label, label) for label in dict.fromkeys(("features", *labels_of(requires)))]
        if requires.sampler == "in_order":
            raise UserError("model.sampler=in_order: a stream comes shuffled: leave data.stream out")
        how, streams = self.streaming, self.streams(spec, fields, out_dir)
        return StreamDataModule(
            streams, requires, self.batch_size, seed, micro_batches, shares=self.shares(), shards=how.shards,
            workers=how.workers, recordings=self.manifest().select("val") if self.at_hand else None,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CorpusSetup(DataSetup):
    """One corpus.

    Attributes:
        corpus: the reader.
        splits: how its utterances are split.
    """

    corpus: Corpus
    splits: Splits

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at_hand:
            _ = self.corpus.root  # an error if none is given

    def manifest(self) -> Manifest:
        """The corpus in its splits, without the utterances that have a problem."""
        manifest = self.splits.assign(self.corpus.manifest())
        return manifest.with_rows(row for row in manifest if not row.problem)

    def prepare(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, progress: bool = True
    ) -> Prepared:
        """Compute what is missing of the fields of this corpus, and split it."""
        return prepare(self.corpus, spec, fields, Path(out_dir), self.splits, self.preparation, progress=progress)

    def prepare_share(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, share: tuple[int, int]
    ) -> int:
        """Compute one share of this corpus; returns how many shards are left to others."""
        return prepare_share(self.corpus, spec, fields, Path(out_dir), share, self.splits, self.preparation)

    def streams(self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str) -> list[Stream]:
        """One: what `streaming.address` names, or the prepared corpus."""
        stream = Stream.open(write_stream(self.prepare(spec, fields, out_dir))) if self.at_hand else self._remote
        spec.require_match(stream.spec, "features=", f"the stream {stream.address}")
        self._require_same_making(stream, spec, fields)
        return [stream]

    def _require_same_making(self, stream: Stream, spec: FeatureSpec, fields: Sequence[str | Field]) -> None:
        """What a checkpoint will say of its data must be what was done to the stream."""
        how = self.preparation
        if stream.trim_db != (None if how.trim_db is None else float(how.trim_db)):
            raise UserError(
                f"the stream {stream.address} was trimmed at {stream.trim_db} dB, data.prepare.trim_db={how.trim_db}: "
                f"add data.prepare.trim_db={'null' if stream.trim_db is None else stream.trim_db}"
            )
        for wanted in (field_of(f, spec, how.fields) for f in fields):
            made = stream.fields.get(wanted.label, {}).get("parameters", wanted.parameters())
            different = [k for k, v in wanted.parameters().items() if made.get(k, v) != v]
            if different:
                raise UserError(
                    f"the stream {stream.address} holds {wanted.label} with {different[0]}={made[different[0]]}: set "
                    f"data.prepare.fields.{wanted.name}.{different[0]} to that"
                )

    @property
    def at_hand(self) -> bool:
        """Whether the corpus itself is here, not only a stream of it."""
        return not (self.stream and self.streaming.address)

    def shares(self) -> None:
        """There is nothing to share."""
        return None

    def training_speakers(self) -> set[str]:
        """Their names, which a remote stream's index says."""
        return super().training_speakers() if self.at_hand else set(self._remote.tables.speakers)

    def emotions(self) -> tuple[str, ...]:
        """Those of the training utterances, which a remote stream's index says."""
        return super().emotions() if self.at_hand else self._remote.tables.emotions

    def speakers(self) -> list[str]:
        """Names of all voices, those that are not trained on too."""
        return self.manifest().speakers if self.at_hand else list(self._remote.everyone)

    @cached_property
    def _remote(self) -> Stream:
        assert self.streaming.address
        return Stream.open(self.streaming.address)


@dataclass(frozen=True, kw_only=True)
class MixtureSetup(DataSetup):
    """Several corpora at once.

    Attributes:
        parts: by name.
        weights: how often each is drawn from, relative to the others; None: as many items as it has utterances.
    """

    parts: Mapping[str, CorpusSetup]
    weights: Mapping[str, float] | None

    def manifest(self) -> Manifest:
        """The utterances of all parts, named apart by `revoice.data.read.mixture.combined`."""
        return combined({name: part.manifest() for name, part in self.parts.items()})

    def prepare(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, progress: bool = True
    ) -> Mixed:
        """Prepare part after part, each in its own folder."""
        parts = {name: part.prepare(spec, fields, out_dir, progress) for name, part in self.parts.items()}
        counts = [float(len(part.manifest.select("train"))) for part in parts.values()]
        for name, count in zip(parts, counts, strict=True):
            if not count:
                raise UserError(f"data.parts.{name} has no training utterances: lower its splits.*, or leave it out")
        return Mixed(parts, self.shares() or shares_of(counts))

    def prepare_share(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, share: tuple[int, int]
    ) -> int:
        """A share of each; counted when all are done, or two shares could each find the other one missing."""
        for part in self.parts.values():
            part.prepare_share(spec, fields, out_dir, share)
        return sum(part.prepare_share(spec, fields, out_dir, share) for part in self.parts.values())

    def streams(self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str) -> list[Stream]:
        """One for each part, speakers of the same name told apart."""
        return [part.streams(spec, fields, out_dir)[0].renamed(self._names[name]) for name, part in self.parts.items()]

    @property
    def at_hand(self) -> bool:
        """Whether those of all parts are."""
        return all(part.at_hand for part in self.parts.values())

    def shares(self) -> tuple[float, ...] | None:
        """The weights, adding up to 1."""
        if self.weights is None:
            return None
        return shares_of([self.weights[name] for name in self.parts])

    def training_speakers(self) -> set[str]:
        """Names of the speakers that the parts train on, told apart where two parts share one."""
        return {self._names[name][own] for name, part in self.parts.items() for own in part.training_speakers()}

    def emotions(self) -> tuple[str, ...]:
        """Those of all parts."""
        return tuple(sorted({emotion for part in self.parts.values() for emotion in part.emotions()}))

    @cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        return told_apart({name: part.speakers() for name, part in self.parts.items()})
