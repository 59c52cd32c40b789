"""What a checkpoint says about itself, and how it becomes a model again without following any import path in it.

A file may be hostile: `revoice.untrusted` reads it, and the model is built without memory first, so that only one whose
names and shapes are those of the weights in the file is ever built for real.
"""

import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revoice.atomic import replacing
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel, Trainable
from revoice.registry import defaults, from_mapping
from revoice.untrusted import (
    LARGEST,
    plain,
    read_safetensors,
    read_torch,
    refused,
    require_file,
    require_fit,
    sketch,
    widened,
)
from revoice.version import __version__

KEY = "revoice"  # the entry of a checkpoint (or of a safetensors header) that holds a `Description`
CHECKSUM = "crc32"  # beside the description in a safetensors header; the zip archive of a .ckpt has its own
FORMAT = 1
DEFAULT = "default"  # the name of the converter that ships
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything besides the weights that a model needs to convert; plain values only.

    Attributes:
        model: registry name.  arguments: of its class.
        features: the `FeatureSpec` as a dict.
        trim_db: silence trimming of the training data, applied to reference clips too.
        fields: settings of the stored fields by kind, e.g. how f0 was searched; conversion computes them alike.
        speakers: names of the training speakers.  levels: their mean log-f0, where f0 is a field of the data.
        data: what it was trained on (corpus, manifest digest, ...).
        version: of revoice.  format: of this description.
    """

    model: str
    arguments: dict[str, Any]
    features: dict[str, Any]
    trim_db: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    speakers: list[str] = field(default_factory=list)
    levels: list[float | None] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; tuples become lists."""
        return json.loads(json.dumps(self.__dict__))

    @classmethod
    def from_dict(cls, values: Any) -> "Description":
        """Check and read what `to_dict` wrote: plain values of the right kinds."""
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UserError(f"checkpoint format {_format(values)}, this revoice {__version__} reads {FORMAT}")
        plain(values, "the checkpoint's description")
        names = cls.__dataclass_fields__
        missing = {"model", "arguments", "features"} - values.keys()
        if missing:
            raise UserError(f"the checkpoint's description lacks {sorted(missing)[0]}")
        known = {key: value for key, value in values.items() if key in names}
        about = from_mapping(cls, known, "the checkpoint's description")
        about._check()
        plain(about.arguments, "the described model", LARGEST)
        return about

    def _check(self) -> None:
        kinds: dict[str, Callable[[Any], bool]] = {
            "arguments": _is_dict, "features": _is_dict, "data": _is_dict,
            "fields": lambda v: _is_dict(v) and all(map(_is_dict, v.values())),
            "speakers": lambda v: isinstance(v, list) and all(isinstance(name, str) for name in v),
            "levels": lambda v: isinstance(v, list) and all(x is None or isinstance(x, float) for x in v),
        }  # fmt: skip
        for name, holds in kinds.items():
            if not holds(getattr(self, name)):
                raise UserError(f"the checkpoint's description has {name} of another kind than train.py writes")
        if self.levels and len(self.levels) != len(self.speakers):
            raise UserError(f"{len(self.speakers)} speakers but {len(self.levels)} levels in the description")


@dataclass(frozen=True)
class Loaded:
    """A model read from a file.

    Attributes:
        model: in eval mode.  spec: its features.
        description: what the file says.
        path: the file; None for a model that needs no training.  sha256: of its bytes, or of the description (first 16
            hex digits).
    """

    model: Trainable
    spec: FeatureSpec
    description: Description
    path: Path | None
    sha256: str


def find_checkpoint(path: str | Path) -> Path:
    """The file behind `ckpt=`: a run folder means its best checkpoint (`checkpoints/best.ckpt`, else the last).

    "default" is the converter that ships, unless something of that name is there.
    """
    path = Path(path).expanduser()
    if str(path) == DEFAULT and not path.exists():
        return shipped("voice")
    if os.path.isdir(path):  # unlike `Path.is_dir` without an error at a name that is too long
        places = [folder / name for name in ("best.ckpt", "last.ckpt") for folder in (path / "checkpoints", path)]
        found = next((place for place in places if os.path.isfile(place)), None)
        if found is None:
            raise UserError(
                f"{path}: no checkpoint in this folder, expected checkpoints/best.ckpt as train.py leaves it"
            )
        return found
    if not require_file(path).is_file():
        raise UserError(f"checkpoint {path} does not exist: give a run folder, a .ckpt or a .safetensors file")
    return path


def shipped(name: str) -> Path:
    """Weights that come with the package."""
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise UserError(f"{path} is missing, which comes with revoice: install it anew, or give a checkpoint")
    return path


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """Read a run folder's best checkpoint, a `.ckpt` or an exported `.safetensors`.

    Raises:
        UserError: missing, damaged, not a checkpoint of revoice, or asking for code or for more than it holds.
    """
    file = find_checkpoint(path)
    safe = file.suffix == ".safetensors"
    with refused(file, "safetensors file" if safe else "checkpoint of plain tensors"):
        about, state = _read_safetensors(file) if safe else _read_ckpt(file)
        description = Description.from_dict(about)
        spec = FeatureSpec.from_dict(description.features)
        model = _build(description, spec, state)
    return Loaded(model.to(device).eval(), spec, description, file, _digest(file))


def untrained(name: str, settings: Mapping[str, Any], spec: FeatureSpec) -> Loaded:
    """A model that needs no training, from its settings alone.

    Raises:
        UserError: the model is one that has to be trained, or a setting is not its own.
    """
    kind = MODELS.get(name)
    if not issubclass(kind, ConversionModel):
        raise UserError(f"model {name} converts nothing: it is what others stand on")
    if kind.trained:
        raise UserError(
            f"model {name} has to be trained: python train.py model={name}, then ckpt=RUN_FOLDER instead of model="
        )
    if spec.phase or (kind.scales and spec.scale not in kind.scales):
        raise UserError(
            f"model {name} needs magnitudes on a {' or '.join(kind.scales)} scale, not features of scale {spec.scale}"
            f"{' with phases' * spec.phase}: leave features= out, or type features={kind.preset}"
        )
    arguments = MODELS.typed(name, {**defaults(kind), "n_features": spec.channels, **settings})
    description = Description(model=name, arguments=arguments, features=spec.to_dict())
    digest = hashlib.sha256(json.dumps(description.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
    return Loaded(MODELS.build(name, arguments).eval(), spec, description, None, digest)


def spec_facts(spec: FeatureSpec) -> dict[str, int]:
    """What a model may ask of its features by the names of its parameters."""
    return {"n_features": spec.channels, "sample_rate": spec.sample_rate, "hop": spec.hop}


def _build(description: Description, spec: FeatureSpec, state: Mapping[str, Tensor]) -> Trainable:
    """The described model with the weights of the file, once both are found to agree; 16-bit ones are widened."""
    arguments = MODELS.typed(description.model, description.arguments)
    facts = {**spec_facts(spec), "n_speakers": len(description.speakers)}
    for name, said in facts.items():
        if arguments.get(name) not in (said, None) and (name != "n_speakers" or description.speakers):
            raise UserError(f"the description contradicts itself: {name} is {arguments[name]}, elsewhere {said}")

    def build() -> Trainable:
        return MODELS.build(description.model, arguments)

    expected = sketch(build, len(state)).state_dict()
    state = {name: widened(value, expected[name].dtype) if name in expected else value for name, value in state.items()}
    require_fit(expected, state, description.model)
    model = build()
    model.load_state_dict(dict(state))
    return model


def save(model: Trainable, description: Description, path: Path, half: bool = False) -> None:
    """Write a model: `.safetensors` (description in the header, and readable JSON beside it) or `.ckpt`.

    Whole or not at all; a `UserError` says why it cannot be written.

    Args:
        model: its `state_dict` is written.  description: what the file says about it.
        path: the name says the form.
        half: write float16 where the model has float32 (`.safetensors` only); `load_checkpoint` gives float32 again.
    """
    from safetensors.torch import save as serialise

    if half and path.suffix != ".safetensors":
        raise UserError(f"{path}: half=true writes float16 into a .safetensors file, no other")
    state = {name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()}
    state = {name: _halved(name, value) for name, value in state.items()} if half else state
    # in memory first: the libraries' own writers do not say that a disk is full
    if path.suffix == ".safetensors":
        about = description.to_dict()
        text = json.dumps(about, indent=2)
        header = json.dumps({**about, CHECKSUM: _checksum(about, state)})
        with replacing(path.with_suffix(".json")) as beside, replacing(path, sync=True) as file:
            beside.write(f"{text}\n".encode())
            file.write(serialise(state, metadata={KEY: header}))
    else:
        data = io.BytesIO()
        torch.save({KEY: description.to_dict(), "state_dict": {f"model.{k}": v for k, v in state.items()}}, data)
        with replacing(path, sync=True) as file:
            file.write(data.getbuffer())


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    if bool(value.isfinite().all() & ~value.half().isfinite().all()):
        raise UserError(
            f"{name} has numbers beyond {torch.finfo(torch.float16).max:,.0f}, the last of float16: half=false"
        )
    return value.half()


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Everything in a `.ckpt` of revoice; anything else is a `UserError` that does not name the file."""
    content = read_torch(file)
    if not isinstance(content, dict) or KEY not in content or not isinstance(content.get("state_dict"), dict):
        raise UserError(
            "not a checkpoint of revoice; published weights come in by: "
            "python import_checkpoint.py kind=adain_vc path=FILE out=model.ckpt"
        )
    return content


def weights_in(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The model's own state in what `read_checkpoint` returns."""
    named = content["state_dict"].items()
    return {name.removeprefix("model."): value for name, value in named if str(name).startswith("model.")}


def _read_ckpt(file: Path) -> tuple[Any, dict[str, Tensor]]:
    content = read_checkpoint(file)
    return content[KEY], weights_in(content)


def _read_safetensors(file: Path) -> tuple[Any, dict[str, Tensor]]:
    about, state = read_safetensors(file, KEY)
    if about is None:
        raise UserError(
            "a safetensors file without revoice's description: export one with revoice-export, or bring published "
            "weights in by import_checkpoint.py"
        )
    recorded = about.pop(CHECKSUM, None) if isinstance(about, dict) else None  # earlier versions wrote none
    if recorded is not None and recorded != _checksum(about, state):
        raise UserError("damaged (its checksum differs): get it anew from where it is")
    return about, state


def _checksum(about: Any, state: Mapping[str, Tensor]) -> str:
    """CRC-32 (8 hex digits) over a description and the names, types, shapes and bytes of tensors."""
    found = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(state.items()):
        found = zlib.crc32(f"{name} {value.dtype} {list(value.shape)}".encode(), found)
        found = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _format(values: Any) -> str:
    found = values.get("format") if isinstance(values, dict) else None
    return str(found) if isinstance(found, int | None) else type(found).__name__
