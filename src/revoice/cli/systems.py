"""The models that a command works with: checkpoints (`ckpt=`), or one that needs no training (`model=`)."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import described
from revoice.checkpoint.vocoder import check_vocoder
from revoice.conversion.adaptation import Adaptation, Steps
from revoice.conversion.converter import Converter
from revoice.conversion.load import load
from revoice.data.fields.f0 import Search
from revoice.errors import UserError
from revoice.models.base import MODELS, ConversionModel, Trainable
from revoice.registry import accepted
from revoice.settings import Given, Place, Word, Words, settings


@settings
class Speaking:
    """What convert.py and evaluate.py share: which systems speak, and how."""

    ckpt: Words | None = None
    model: Given | None = None
    features: FeatureSpec | None = None
    vocoder: Given
    out: Place | None = None
    device: Word | None = None
    adapt: Annotated[Adaptation, Steps] = Adaptation()
    controls: Given = field(default_factory=dict)
    f0: Search | None = None

    def __post_init__(self) -> None:
        check_vocoder(self.vocoder)
        if self.model is not None:
            name, values = MODELS.named(self.model, "model")
            MODELS.check(name, values, facts=("n_features", "sample_rate", "hop"))
            kind = MODELS.get(name)
            if issubclass(kind, ConversionModel) and not kind.trained:
                _misplaced(name, self.controls)
                kind.typed_controls(self.controls)
        for path in self.ckpt or ():
            about = described(path)
            if about and about.kind == "vocoder":
                raise UserError(
                    f"ckpt={path} holds a vocoder, {about.model}, which converts nothing: type vocoder.ckpt={path}"
                )
            kind = MODELS.get(about.model) if about and about.kind == "model" else Trainable
            if issubclass(kind, ConversionModel) and self.model is None:
                kind.typed_controls(self.controls)


def _misplaced(name: str, controls: Mapping[str, Any]) -> None:
    known = accepted(MODELS.get(name))
    for key in controls:
        if key in known:
            raise UserError(f"{key} is a setting of the model: type model.{key}={controls[key]}")


def from_checkpoint(path: str, values: Mapping[str, Any], device: str) -> Converter:
    """A converter of a checkpoint; the controls are its own unless a `model=` is given, whose they then are."""
    controls = {} if values.get("model") else values["controls"]
    return load(path, device, values["vocoder"], values["adapt"], controls=controls, f0=values.get("f0"))


def from_settings(values: Mapping[str, Any], device: str) -> Converter:
    """A converter of the model named by `model=`, which needs no training."""
    name, settings = MODELS.named(values["model"], "model")
    _misplaced(name, values["controls"])
    spec = FeatureSpec.from_dict(values["features"])
    return load(
        device=device, vocoder=values["vocoder"], adapt=values["adapt"], settings=settings, model=name, features=spec,
        controls=values["controls"], f0=values.get("f0"),
    )  # fmt: skip
