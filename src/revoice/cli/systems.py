"""The models that a command works with: checkpoints (`ckpt=`), or one that needs no training (`model=`)."""

from collections.abc import Mapping
from typing import Any

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import Loaded, load_checkpoint, untrained
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.converter import Converter
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.registry import accepted
from revoice.vocoders.base import VOCODERS


def from_checkpoint(path: str, values: Mapping[str, Any], device: str) -> Converter:
    """A converter of a checkpoint; the controls are its own unless a `model=` is given, whose they then are."""
    controls = {} if values.get("model") else values["controls"]
    return _converter(load_checkpoint(path, device), values, device, controls)


def from_settings(values: Mapping[str, Any], device: str) -> Converter:
    """A converter of the model named by `model=`, which needs no training."""
    settings = dict(values["model"])
    known = accepted(MODELS.get(settings["name"]))
    if misplaced := [name for name in values["controls"] if name in known]:
        name = misplaced[0]
        raise UserError(f"{name} is a setting of the model: type model.{name}={values['controls'][name]}")
    loaded = untrained(settings.pop("name"), settings, FeatureSpec.from_dict(values["features"]))
    return _converter(loaded, values, device, values["controls"])


def _converter(loaded: Loaded, values: Mapping[str, Any], device: str, controls: Mapping[str, Any]) -> Converter:
    vocoder = dict(values["vocoder"])
    spoken = VOCODERS.build(vocoder.pop("name"), {**vocoder, "spec": loaded.spec})
    return Converter(loaded, spoken, device, Adaptation.of(values["adapt"]), controls)
