"""Whisper's log-mel and encoder."""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F

from revoice.audio.features import FeatureExtractor
from revoice.audio.presets import load_preset
from revoice.errors import UserError
from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.interop.whisper import published_encoder


@case("whisper_encoder")
def whisper_encoder(fixture: Fixture) -> Mapping[str, Result]:
    """A clip in the published window of 30 s, silent after it; the first frames and steps are compared."""
    get = fixture.setting
    if fixture.weights is None:
        raise UserError(f"{fixture.path}: it names no weights, which case '{fixture.case}' needs")
    encoder = published_encoder(fixture.weights)
    expected = {"n_features": get("n_mels"), "width": get("width"), "heads": get("heads"), "layers": get("layers")}
    if encoder.arguments != expected:
        raise UserError(f"{fixture.path}: it is of {expected}, {fixture.weights} of {encoder.arguments}")
    spec = replace(
        load_preset("whisper_16k"),
        sample_rate=get("sample_rate"),
        n_fft=get("n_fft"),
        win=get("n_fft"),
        hop=get("hop"),
        mels=get("n_mels"),
    )
    wav = fixture.input("waveform")
    samples = spec.sample_rate * get("window_seconds")
    if wav.ndim != 1 or len(wav) > samples:
        raise UserError(f"{fixture.path}: a waveform of {list(wav.shape)}, expected one of at most {samples} samples")
    with torch.inference_mode():
        window = FeatureExtractor(spec)(F.pad(wav, (0, samples - len(wav)))[None])[..., : samples // spec.hop]
        output = encoder.model(window)[0]
    frames = 1 + len(wav) // spec.hop
    return {"log_mel": window[0, :, :frames], "output": output[: 1 + len(wav) // (2 * spec.hop)]}
