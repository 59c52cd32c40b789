"""Published checkpoints by kind: one file each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from revoice.audio.spec import FeatureSpec
from revoice.models.base import Trainable
from revoice.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A published model as ours.

    Attributes:
        model: with its weights and statistics.  name, arguments: how to build it again.
        spec: the features it was trained on.  trim_db: silence trimming of its training data.
    """

    model: Trainable
    name: str
    arguments: dict[str, Any]
    spec: FeatureSpec
    trim_db: float | None


class Importer(Protocol):
    """Reads one kind of published file."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The model of `path`; the other files are looked for beside it if not given."""


IMPORTERS: "Registry[Importer]" = Registry("kind", "revoice.interop.importers")
