"""Published checkpoints by kind: one file each."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

from revoice.audio.presets import typed
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A published model as ours.

    Attributes:
        model: with its weights and statistics; critics by name.
        kind: which registry.  name, arguments: how to build it again.
        spec: the features it was trained on.  trim_db: silence trimming of its training data.
        data: what the checkpoint says of where it is from and whose it is, besides the name of the file.
        half: whether the published file holds float16, and ours may.
        speakers: names by the rows of its table of voices.
        use: what one can do with it, in words and a command; `{out}` is our file.
    """

    model: nn.Module
    name: str
    arguments: dict[str, Any]
    spec: FeatureSpec
    trim_db: float | None = None
    kind: Literal["model", "vocoder", "critics"] = "model"
    data: dict[str, Any] = field(default_factory=dict)
    half: bool = False
    speakers: list[str] = field(default_factory=list)
    use: str = "convert with: python convert.py ckpt={out} src=a.wav tgt=b.wav"


class Importer(Protocol):
    """Reads one kind of published file."""

    def read(self, path: Path, config: Path | None = None, statistics: Path | None = None) -> Imported:
        """The model of `path`, usually a file; the others are looked for beside it if not given."""


def published_file(path: Path, expected: str = "the published file") -> Path:
    """The path, if there is such a file."""
    if not os.path.isfile(path):
        raise UserError(f"path={path} {'is a folder' if os.path.isdir(path) else 'does not exist'}: give {expected}")
    return path


def beside(path: Path, name: str, key: str) -> Path:
    """The file that was published beside another one, or a `UserError` that says which setting gives it.

    Args:
        path: the weights, e.g. `NAME.ckpt`.
        name: `NAME.{name}` or `{name}` is looked for, in the folder of the weights and above a folder of checkpoints.
        key: of the setting.
    """
    folder = path.parent
    places = [
        path.with_suffix("." + name),
        path.with_name(path.name.split(".")[0] + "." + name),
        path.with_name(name),
        *([folder.parent / name] if folder.name == "checkpoints" else []),
    ]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"no {name} beside {path}: give {key}=FILE")
    return found


def speaks(spec: FeatureSpec) -> str:
    """What one can do with a vocoder (`Imported.use`): with which models it speaks."""
    return (
        f"it speaks for models that were trained with {' '.join(typed(spec))}: "
        "python convert.py ckpt=MODEL src=a.wav tgt=b.wav vocoder.ckpt={out}"
    )


IMPORTERS: "Registry[Importer]" = Registry("kind", "revoice.interop.importers")
