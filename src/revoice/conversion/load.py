"""`revoice.load`: the one place where a converter is made of what somebody asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import DEFAULT, load_model
from revoice.checkpoint.vocoder import FOUND, load_vocoder
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.converter import Converter
from revoice.vocoders.base import Vocoder


def load(
    checkpoint: str | Path = DEFAULT,
    device: str | torch.device = "cpu",
    vocoder: Vocoder | Mapping[str, Any] | None = None,
    adapt: int | Mapping[str, Any] | Adaptation | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    features: FeatureSpec | None = None,
    controls: Mapping[str, Any] | None = None,
    f0: str | None = None,
) -> Converter:
    """`revoice.load().convert("a.wav", "b.wav")`: the one place where a converter is made of what somebody asks for.

    Args:
        checkpoint: a run folder, `.ckpt` or `.safetensors`; by default the converter that ships. Also the name of a
            model that needs no training: `revoice.load("random_cnn", settings={"kernel": "3x1"})`.
        device: where to run.
        vocoder: of the model's features, or its settings, e.g. `{"name": "griffin_lim", "iterations": 100}` or
            `{"ckpt": "outputs/train/vocos/RUN"}`; None: the vocoder.ckpt or vocoder.safetensors that lies beside the
            checkpoint, else the one that ships, where it fits, else Griffin-Lim.
        adapt: steps on the target's clips, or settings of `Adaptation`; None or 0: none.
        settings, model, features: of a model that needs no training, see `load_model`.
        controls: of the model, where a conversion does not say, e.g. `{"strength": 0.7}`.
        f0: how the pitch of recordings is searched, "network" for noisy ones, see `revoice.audio.pitch.pitch`; None: as
            in the training of the model.

    Raises:
        UserError: there is no such model, it converts nothing, or a setting is none of its own.
    """
    how = None if adapt is None else Adaptation.of(adapt)
    loaded = load_model(checkpoint, device, model, settings, features)
    if not isinstance(vocoder, Vocoder):
        vocoder = load_vocoder(vocoder or {"name": FOUND}, loaded.spec, device, loaded)
    return Converter(loaded, vocoder, device, how, controls, f0)
