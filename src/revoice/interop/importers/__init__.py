"""Published checkpoints by kind: one file each."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.models.base import Trainable
from revoice.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A published model as ours.

    Attributes:
        model: with its weights and statistics.  name, arguments: how to build it again.
        spec: the features it was trained on.  trim_db: silence trimming of its training data.
        data: what the checkpoint says of where it is from and whose it is, besides the name of the file.
        half: whether the published file holds float16, and ours may.
        use: what one can do with it, in words and a command; `{out}` is our file.
    """

    model: Trainable
    name: str
    arguments: dict[str, Any]
    spec: FeatureSpec
    trim_db: float | None
    data: dict[str, Any] = field(default_factory=dict)
    half: bool = False
    use: str = "convert with: python convert.py ckpt={out} src=a.wav tgt=b.wav"


class Importer(Protocol):
    """Reads one kind of published file."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The model of `path`, usually a file; the others are looked for beside it if not given."""


def published_file(path: Path, expected: str = "the published file") -> Path:
    """The path, if there is such a file."""
    if not os.path.isfile(path):
        raise UserError(f"path={path} does not exist: give {expected}")
    return path


IMPORTERS: "Registry[Importer]" = Registry("kind", "revoice.interop.importers")
