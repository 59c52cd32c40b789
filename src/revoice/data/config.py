"""From plain settings (`configs/data/*.yaml`) to a corpus or several, their preparation, and batches of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.base import CORPORA, Corpus
from revoice.data.fields.base import Field
from revoice.data.gather import Needs
from revoice.data.manifest import Manifest
from revoice.data.mixture import Mixed, combined, told_apart
from revoice.data.prepare import Prepared, prepare, prepare_share
from revoice.data.splits import Splits
from revoice.data.stream import Stream, write_stream
from revoice.errors import UserError, choices
from revoice.registry import from_mapping

if TYPE_CHECKING:
    from revoice.data.datamodule import DataModule

MIXTURE = "mixture"  # the `name` of several corpora


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How stored fields are made (`data.prepare`); the arguments of `prepare` of the same names."""

    trim_db: float | None = None
    workers: int | None = None
    shard_utterances: int = 512
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How streams are read (`data.streaming`).

    Attributes:
        address: folder of a stream's index, a path or anything fsspec opens (http://..., s3://...): the corpus itself
            is not needed then. None prepares it and streams from where that lies.
        shards: that a reading process holds in memory at a time.
        workers: reading processes of each training process; 0 reads in a thread beside the training.
    """

    address: str | None = None
    shards: int = 4
    workers: int = 1

    def __post_init__(self) -> None:
        if self.shards < 1 or self.workers < 0:
            raise UserError(
                f"data.streaming: shards={self.shards} workers={self.workers}: expected 1 or more, 0 or more"
            )


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
        """This machine's share of the shards; how many are still missing, see `revoice.data.prepare.prepare_share`."""

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

    def open(
        self,
        spec: FeatureSpec,
        requires: Needs,
        out_dir: Path | str,
        seed: int = 0,
        micro_batches: int = 1,
    ) -> "DataModule":
        """Prepare what is missing, and the batches of it."""
        from revoice.data.datamodule import StreamDataModule, VoiceDataModule
        from revoice.data.gather import labels_of

        if not self.stream:
            prepared = self.prepare(spec, requires.fields, out_dir)
            return VoiceDataModule(prepared, requires, self.batch_size, seed, micro_batches, device=self.device)
        how, streams = self.streaming, self.streams(spec, labels_of(requires), out_dir)
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

    def manifest(self) -> Manifest:
        """See `DataSetup`."""
        return self.splits.assign(self.corpus.manifest())

    def prepare(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, progress: bool = True
    ) -> Prepared:
        """See `DataSetup`."""
        return prepare(self.corpus, spec, fields, Path(out_dir).expanduser(), **self._how, progress=progress)

    def prepare_share(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, share: tuple[int, int]
    ) -> int:
        """See `DataSetup`."""
        return prepare_share(self.corpus, spec, fields, Path(out_dir).expanduser(), share, **self._how)

    def streams(self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str) -> list[Stream]:
        """One: what `streaming.address` names, or the prepared corpus."""
        address = self.streaming.address or write_stream(self.prepare(spec, fields, out_dir))
        stream = Stream.open(address)
        spec.require_match(stream.spec, "features=", f"the stream {address}")
        return [stream]

    @property
    def at_hand(self) -> bool:
        """See `DataSetup`."""
        return not (self.stream and self.streaming.address)

    def shares(self) -> None:
        """There is nothing to share."""
        return None

    def training_speakers(self) -> set[str]:
        """See `DataSetup`."""
        if not self.at_hand and self.streaming.address:
            return set(Stream.open(self.streaming.address).tables.speakers)
        return super().training_speakers()

    @property
    def _how(self) -> dict[str, Any]:
        how = self.preparation
        return {
            "splits": self.splits,
            "trim_db": how.trim_db,
            "workers": how.workers,
            "shard_utterances": how.shard_utterances,
            "settings": how.fields,
        }


@dataclass(frozen=True, kw_only=True)
class MixtureSetup(DataSetup):
    """Several corpora at once.

    Attributes:
        parts: by name.
        weights: how often each is drawn from, relative to the others; None: as many items as it has utterances.
    """

    parts: Mapping[str, CorpusSetup]
    weights: Mapping[str, float] | None

    @cached_property
    def _manifests(self) -> dict[str, Manifest]:
        return {name: part.manifest() for name, part in self.parts.items()}

    def manifest(self) -> Manifest:
        """See `revoice.data.mixture.combined`."""
        return combined(self._manifests)

    def prepare(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, progress: bool = True
    ) -> Mixed:
        """Each by itself."""
        parts = {name: part.prepare(spec, fields, out_dir, progress) for name, part in self.parts.items()}
        counts = [float(len(part.manifest.select("train"))) for part in parts.values()]
        return Mixed(parts, self.shares() or tuple(count / max(sum(counts), 1.0) for count in counts))

    def prepare_share(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, share: tuple[int, int]
    ) -> int:
        """A share of each."""
        return sum(part.prepare_share(spec, fields, out_dir, share) for part in self.parts.values())

    def streams(self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str) -> list[Stream]:
        """One for each part, speakers of the same name told apart."""
        found = {name: part.streams(spec, fields, out_dir)[0] for name, part in self.parts.items()}
        names = told_apart({name: stream.tables.speakers for name, stream in found.items()})
        return [stream.renamed(names[name]) for name, stream in found.items()]

    @property
    def at_hand(self) -> bool:
        """Whether those of all parts are."""
        return all(part.at_hand for part in self.parts.values())

    def shares(self) -> tuple[float, ...] | None:
        """The weights, adding up to 1."""
        if self.weights is None:
            return None
        return tuple(self.weights[name] / sum(self.weights.values()) for name in self.parts)

    def training_speakers(self) -> set[str]:
        """See `DataSetup`."""
        names = told_apart({name: sorted(part.training_speakers()) for name, part in self.parts.items()})
        return {new for renamed in names.values() for new in renamed.values()}


@dataclass(frozen=True, kw_only=True)
class _Config:
    name: str
    root: str | None = None
    batch_size: int = 32
    device: str | None = None
    stream: bool = False
    streaming: Mapping[str, Any] = field(default_factory=dict)
    corpus: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Mixture:
    name: str
    parts: Mapping[str, Mapping[str, Any]]
    weights: Any = None
    batch_size: int = 32
    device: str | None = None
    stream: bool = False
    streaming: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)


def build(config: Mapping[str, Any]) -> DataSetup:
    """The objects behind a data config of plain values.

    Args:
        config: `name` (of the corpus), `root`, `batch_size`, `device`, `stream`, and the mappings `streaming` (of
            `Streaming`), `corpus` (settings of the reader besides the root), `splits` (of `Splits`), `prepare` (of
            `Preparation`). Or, with the name "mixture": `parts`, each such a mapping, their `weights`, and
            `splits` and `prepare` with what is to hold for all of them.

    Raises:
        UserError: an unknown name or key.
    """
    if config.get("name") == MIXTURE:
        return _mixture(from_mapping(_Mixture, config, "data"))
    return _corpus(config, "data")


def _corpus(config: Mapping[str, Any], where: str) -> CorpusSetup:
    c = from_mapping(_Config, config, where)
    splits = from_mapping(Splits, c.splits or {}, f"{where}.splits")
    return CorpusSetup(
        corpus=CORPORA.build(c.name, {"root": c.root, **(c.corpus or {})}, {"limit": splits.limit}),
        splits=splits,
        preparation=from_mapping(Preparation, c.prepare or {}, f"{where}.prepare"),
        batch_size=int(c.batch_size),
        device=c.device,
        stream=c.stream,
        streaming=from_mapping(Streaming, c.streaming or {}, f"{where}.streaming"),
    )


def _mixture(c: _Mixture) -> MixtureSetup:
    if len(c.parts) < 2:
        raise UserError(
            "data=mixture: fewer than two parts; expected e.g. +data@data.parts.a=vctk +data@data.parts.b=librispeech"
        )
    streaming = from_mapping(Streaming, c.streaming or {}, "data.streaming")
    if streaming.address:
        raise UserError(
            "data.streaming.address: a mixture has one for each part: data.parts.NAME.streaming.address=..."
        )
    parts = {}
    for name, part in c.parts.items():
        both = {key: {**(part.get(key) or {}), **(getattr(c, key) or {})} for key in ("splits", "prepare")}
        parts[name] = _corpus({**part, **both, "stream": c.stream}, f"data.parts.{name}")
    first, *others = parts.values()
    for name in ("trim_db", "fields"):
        if any(getattr(part.preparation, name) != getattr(first.preparation, name) for part in others):
            raise UserError(f"data.parts.*.prepare.{name} must be the same in all parts: a model knows one")
    return MixtureSetup(
        parts=parts, weights=_weights(c.weights, list(parts)), preparation=first.preparation,
        batch_size=int(c.batch_size), device=c.device, stream=c.stream, streaming=streaming,
    )  # fmt: skip


def _weights(given: Any, names: Sequence[str]) -> dict[str, float] | None:
    if given is None:
        return None
    if given == "balanced":
        return dict.fromkeys(names, 1.0)
    if not isinstance(given, Mapping):
        raise UserError(f"data.weights={given}: expected null, balanced, or a number for each of {', '.join(names)}")
    for name in given:
        if name not in names:
            raise choices(name, names, "part (data.weights)")
    for name in names:
        if not isinstance(given.get(name), (int, float)) or given[name] <= 0:
            raise UserError(f"data.weights.{name}={given.get(name)}: expected a number above 0 for each part")
    return {name: float(given[name]) for name in names}
