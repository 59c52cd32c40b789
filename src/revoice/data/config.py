"""From plain settings (`configs/data/*.yaml`) to a corpus, its splits and its preparation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.base import CORPORA, Corpus
from revoice.data.fields.base import Field
from revoice.data.manifest import Manifest
from revoice.data.prepare import Prepared, prepare
from revoice.data.splits import Splits
from revoice.registry import from_mapping


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How stored fields are made (`data.prepare`); the arguments of `prepare` of the same names."""

    trim_db: float | None = None
    workers: int | None = None
    shard_utterances: int = 512
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataSetup:
    """Everything the group `data` of a config says.

    Attributes:
        corpus: the reader.
        splits: how its utterances are split.
        preparation: how stored fields are made.
        batch_size: items of the global batch.
        device: where the in-memory reader keeps its arrays, see `MemoryStore`.
    """

    corpus: Corpus
    splits: Splits
    preparation: Preparation
    batch_size: int
    device: str | None

    def manifest(self) -> Manifest:
        """The utterances with their splits, without looking at any audio."""
        manifest = self.splits.assign(self.corpus.manifest())
        return manifest.with_rows(row for row in manifest if not row.problem)

    def prepare(
        self, spec: FeatureSpec, fields: Sequence[str | Field], out_dir: Path | str, progress: bool = True
    ) -> Prepared:
        """Compute and store the fields where that is not done yet."""
        how = self.preparation
        return prepare(
            self.corpus,
            spec,
            fields,
            Path(out_dir),
            splits=self.splits,
            trim_db=how.trim_db,
            workers=how.workers,
            shard_utterances=how.shard_utterances,
            settings=how.fields,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class _Config:
    name: str
    root: str | None = None
    batch_size: int = 32
    device: str | None = None
    corpus: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)


def build(config: Mapping[str, Any]) -> DataSetup:
    """The objects behind a data config of plain values.

    Args:
        config: `name` (of the corpus), `root`, `batch_size`, `device`, and the mappings `corpus` (settings of the
            reader besides the root), `splits` (of `Splits`), `prepare` (of `Preparation`).

    Raises:
        UserError: an unknown name or key.
    """
    c = from_mapping(_Config, config, "data")
    splits = from_mapping(Splits, c.splits or {}, "data.splits")
    return DataSetup(
        corpus=CORPORA.build(c.name, {"root": c.root, **(c.corpus or {})}, {"limit": splits.limit}),
        splits=splits,
        preparation=from_mapping(Preparation, c.prepare or {}, "data.prepare"),
        batch_size=int(c.batch_size),
        device=c.device,
    )
