"""How a checkpoint becomes a model again, without following any import path in it.

A file may be hostile: `revoice.untrusted` reads it, and the model is built without memory first, so that only one whose
names and shapes are those of the weights in the file is ever built for real.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revoice import renamed
from revoice.atomic import digest
from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import CHECKSUM, KEY, Description, checksum, spec_facts
from revoice.checkpoint.fit import require_fit, sketch, widened
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel, Trainable
from revoice.registry import defaults
from revoice.untrusted import read_safetensors, read_torch, refused, require_file
from revoice.vocoders.base import VOCODERS

DEFAULT = "default"  # the name of the converter that ships
SHIPPED = {DEFAULT: "voice", "default_vocoder": "vocoder"}  # names of what ships
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


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

    "default" is the converter that ships and "default_vocoder" the vocoder, unless something of that name is there.
    """
    path = Path(path).expanduser()
    if str(path) in SHIPPED and not path.exists():
        return shipped(SHIPPED[str(path)])
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
        sha256 = digest(file)
        if sha256 is None:
            raise UserError("gone while it was read: give a checkpoint that stays")
    return Loaded(model.to(device).eval(), spec, description, file, sha256)


def load_model(
    checkpoint: str | Path,
    device: str | torch.device = "cpu",
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    features: FeatureSpec | None = None,
) -> Loaded:
    """A model, of a checkpoint or one that needs no training.

    Args:
        checkpoint: see `load_checkpoint`; also the name of a model that needs no training, if nothing of that name is
            there.
        device: where it is to be.
        model: the name of such a model, whatever `checkpoint` is.
        settings: of such a model.
        features: which it is for; None: those of its preset.

    Raises:
        UserError: see `load_checkpoint` and `untrained`; settings or features beside a checkpoint, which has its own.
    """
    name = str(checkpoint)
    if model is None and name in MODELS.names() and not MODELS.get(name).trained and not os.path.lexists(name):
        model = name
    if model is not None:
        return untrained(model, settings or {}, features or load_preset(MODELS.get(model).preset))
    if settings or features is not None:
        what = "settings" if settings else "features"
        raise UserError(f"{what}: {checkpoint} has its own; only a model that needs no training takes any")
    return load_checkpoint(checkpoint, device)


def described(path: str | Path) -> Description | None:
    """What a `.safetensors` file says of its model, without reading the weights; None of other files.

    Raises:
        UserError: the file is missing, or describes no model.
    """
    file = find_checkpoint(path)
    if file.suffix != ".safetensors":
        return None
    with refused(file, "safetensors file"):
        about, _ = read_safetensors(file, KEY, wanted=lambda name: False)
        return None if about is None else Description.from_dict(about)


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
    phase = load_preset(kind.preset).phase
    if spec.phase != phase or (kind.scales and spec.scale not in kind.scales):
        raise UserError(
            f"model {name} needs magnitudes {'and phases ' * phase}on a {' or '.join(kind.scales)} scale, not features "
            f"of scale {spec.scale}{' with phases' * spec.phase}: leave features= out, or type features={kind.preset}"
        )
    arguments = MODELS.arguments(name, {**defaults(kind), **settings}, spec_facts(spec))
    description = Description(model=name, arguments=arguments, features=spec.to_dict())
    sha256 = hashlib.sha256(json.dumps(description.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
    return Loaded(MODELS.build(name, arguments).eval(), spec, description, None, sha256)


def _build(description: Description, spec: FeatureSpec, state: Mapping[str, Tensor]) -> Trainable:
    """The described model with the weights of the file, once both are found to agree; 16-bit ones are widened."""
    if description.kind == "critics":
        raise UserError("it holds critics, which learn beside what they judge: type critics.NAME.init_from=FILE")
    if description.kind == "vocoder":
        return _with_weights(lambda: VOCODERS.build(description.model, description.arguments, {"spec": spec}), state)
    arguments = MODELS.arguments(description.model, description.arguments)
    facts = {**spec_facts(spec), "n_speakers": len(description.speakers)}
    for name, said in facts.items():
        if arguments.get(name) not in (said, None) and (name != "n_speakers" or description.speakers):
            raise UserError(f"the description contradicts itself: {name} is {arguments[name]}, elsewhere {said}")
    return _with_weights(lambda: MODELS.build(description.model, arguments), state)


def _with_weights(build: Callable[[], Trainable], state: Mapping[str, Tensor]) -> Trainable:
    """What `build` makes with these weights, if they are its own; it is drawn without memory first."""
    drawn = sketch(build, len(state))
    expected = drawn.state_dict()
    state = {name: widened(value, expected[name].dtype) if name in expected else value for name, value in state.items()}
    require_fit(expected, state, drawn.name)
    model = build()
    model.load_state_dict(dict(state))
    return model


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Everything in a `.ckpt` of revoice; anything else is a `UserError` that does not name the file."""
    content = read_torch(file)
    if not isinstance(content, dict) or KEY not in content or not isinstance(content.get("state_dict"), dict):
        raise UserError(
            "not a checkpoint of revoice; published weights come in by: "
            "python import_checkpoint.py kind=adain_vc path=FILE out=model.ckpt"
        )
    return content


def weights_in(content: Mapping[str, Any], owner: str = "model") -> dict[str, Tensor]:
    """The model's own state in what `read_checkpoint` returns, or, of `owner="critics"`, that of the critics."""
    named = {renamed.weight(unwrapped(str(name))): value for name, value in content["state_dict"].items()}
    if len(named) < len(content["state_dict"]):
        raise UserError("the checkpoint holds a weight twice, wrapped and not: save the state_dict of one model")
    return {name.removeprefix(f"{owner}."): value for name, value in named.items() if name.startswith(f"{owner}.")}


def critics_of(path: str | Path) -> dict[str, Tensor]:
    """Weights of the critics that a model was trained with, `NAME.critic...`; none in an exported `.safetensors`.

    Raises:
        UserError: see `load_checkpoint`.
    """
    file = find_checkpoint(path)
    if file.suffix == ".safetensors":
        return {}
    with refused(file, "checkpoint of plain tensors"):
        return weights_in(read_checkpoint(file), "critics")


def unwrapped(name: str) -> str:
    """The name of a weight without what `DistributedDataParallel` and `torch.compile` put into it.

    >>> unwrapped("module.model._orig_mod.decoder.weight")
    'model.decoder.weight'
    """
    return name.replace("_orig_mod.", "").removeprefix("module.")


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
    if recorded is not None and recorded != checksum(about, state):
        raise UserError("damaged (its checksum differs): get it anew from where it is")
    return about, {renamed.weight(name): value for name, value in state.items()}
