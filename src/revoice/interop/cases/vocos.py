"""Vocos: log-mel, backbone and waveform."""

from collections.abc import Mapping

import torch

from revoice.interop.cases import Result, case
from revoice.interop.cases.features import features
from revoice.interop.fixture import Fixture
from revoice.interop.vocos import arguments, features_of, load_state
from revoice.vocoders.vocos import Vocos


@case("vocos")
def vocos(fixture: Fixture) -> Mapping[str, Result]:
    """Features and a recording through the whole network, in the row of its table that the fixture chose."""
    row = int(fixture.inputs["bandwidth_id"].item()) if "bandwidth_id" in fixture.inputs else 0
    config = fixture.setting("vocos")
    model = Vocos(features_of(config), **arguments(config), row=row).eval()
    load_state(model, fixture.state)
    mel = fixture.input("mel")
    with torch.no_grad():
        heard = features(fixture.input("audio")[0], model.spec)[None]
        return {
            "wav": model(mel),
            "backbone": model.backbone(mel),
            "mel_of_audio": heard,
            "copy_synthesis": model(heard),
        }
