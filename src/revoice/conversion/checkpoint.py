"""What a checkpoint says about itself, and how it becomes a model again without following any import path in it."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revoice.atomic import replacing, write_text
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel
from revoice.version import __version__

KEY = "revoice"  # the entry of a checkpoint (or of a safetensors header) that holds a `Description`
FORMAT = 1


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
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "Description":
        """Check and read what `to_dict` wrote."""
        if not isinstance(values, Mapping) or values.get("format") != FORMAT:
            raise UserError(f"{where}: checkpoint format {_format(values)}, this revoice {__version__} reads {FORMAT}")
        names = cls.__dataclass_fields__
        missing = {"model", "arguments", "features"} - values.keys()
        if missing:
            raise UserError(f"{where}: the checkpoint's description lacks {sorted(missing)[0]}")
        return cls(**{key: value for key, value in values.items() if key in names})


@dataclass(frozen=True)
class Loaded:
    """A model read from a file.

    Attributes:
        model: in eval mode.  spec: its features.
        description: what the file says.
        path: the file.  sha256: of its bytes (first 16 hex digits).
    """

    model: ConversionModel
    spec: FeatureSpec
    description: Description
    path: Path
    sha256: str


def find_checkpoint(path: str | Path) -> Path:
    """The file behind `ckpt=`: a run folder means its best checkpoint (`checkpoints/best.ckpt`, else the last)."""
    path = Path(path).expanduser()
    if path.is_dir():
        places = [folder / name for name in ("best.ckpt", "last.ckpt") for folder in (path / "checkpoints", path)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise UserError(
                f"{path}: no checkpoint in this folder, expected checkpoints/best.ckpt as train.py leaves it"
            )
        return found
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist: give a run folder, a .ckpt or a .safetensors file")
    return path


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """Read a run folder's best checkpoint, a `.ckpt` or an exported `.safetensors`.

    Raises:
        UserError: missing, damaged, not a checkpoint of revoice, or asking for code.
    """
    file = find_checkpoint(path)
    reader = _read_safetensors if file.suffix == ".safetensors" else _read_ckpt
    about, state = reader(file)
    description = Description.from_dict(about, str(file))
    spec = FeatureSpec.from_dict(description.features)
    model = MODELS.build(description.model, description.arguments)
    _load_weights(model, state, file)
    return Loaded(model.to(device).eval(), spec, description, file, _digest(file))


def save(model: ConversionModel, description: Description, path: Path) -> None:
    """Write a model: `.safetensors` (description in the header, and readable JSON beside it) or `.ckpt`."""
    from safetensors.torch import save as serialise

    state = {name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()}
    data = io.BytesIO()  # the libraries' own writers do not say that a disk is full
    if path.suffix == ".safetensors":
        text = json.dumps(description.to_dict(), indent=2)
        data.write(serialise(state, metadata={KEY: text}))
        write_text(path.with_suffix(".json"), text + "\n")
    else:
        torch.save({KEY: description.to_dict(), "state_dict": {f"model.{k}": v for k, v in state.items()}}, data)
    with replacing(path, sync=True) as file:
        file.write(data.getbuffer())


def _read_ckpt(file: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{file}: not a readable checkpoint of plain tensors ({_first_line(error)})") from error
    if not isinstance(content, Mapping) or KEY not in content or "state_dict" not in content:
        raise UserError(
            f"{file}: not a checkpoint of revoice; published weights come in by: "
            f"python import_checkpoint.py kind=adain_vc path={file} out=model.ckpt"
        )
    state = {
        name.removeprefix("model."): value for name, value in content["state_dict"].items() if name.startswith("model.")
    }
    return content[KEY], state


def _read_safetensors(file: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as handle:
            about = json.loads((handle.metadata() or {}).get(KEY, "null"))
            state = {name: handle.get_tensor(name) for name in handle.keys()}
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(f"{file}: not a readable safetensors file ({_first_line(error)})") from error
    if about is None:
        raise UserError(f"{file}: a safetensors file without revoice's description: export one with revoice-export")
    return about, state


def _load_weights(model: ConversionModel, state: Mapping[str, Tensor], file: Path) -> None:
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(
            f"{file}: the weights do not fit the described {model.name}: {lines[min(1, len(lines) - 1)]}"
        ) from error


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _format(values: Any) -> Any:
    return values.get("format") if isinstance(values, Mapping) else None
