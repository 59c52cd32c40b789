from pathlib import Path

import numpy as np
import pytest
import torch

from revoice.audio.features import extract
from revoice.audio.io import read_audio, resample
from revoice.audio.presets import load_preset
from revoice.audio.speaker import speaker_encoder
from revoice.nn.voice_match import voice_mismatch, voice_of


@pytest.mark.parametrize(("preset", "mean", "least"), [("mel_22k", 0.9, 0.85), ("speechsplit_16k", 0.82, 0.75)])
def test_features_sound_like_the_voice_of_their_recording(preset: str, mean: float, least: float, shared: Path) -> None:
    spec, found, true = load_preset(preset), [], []
    frames = round(1.6 * spec.sample_rate / spec.hop)
    for folder in sorted((shared / "data" / "librispeech_mini" / "LibriSpeech" / "test-other").iterdir()):
        clip = read_audio(sorted(folder.rglob("*.flac"))[0])
        features = extract(resample(clip.samples, clip.sample_rate, spec.sample_rate), spec)
        parts = features[:, : features.shape[1] // frames * frames].unflatten(1, (-1, frames)).transpose(0, 1)
        found.append(torch.nn.functional.normalize(voice_of(parts, spec).mean(0), dim=0))
        true.append(speaker_encoder(vad=False).embed([clip])[0])
    cosines = torch.stack(found) @ torch.stack(true).T
    assert cosines.diag().mean() > mean and cosines.diag().min() > least
    assert bool((cosines.argmax(1) == torch.arange(len(cosines))).all())


@pytest.mark.parametrize("device", [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]),
])  # fmt: skip
def test_quiet_features_are_raised_and_have_gradients(device: str) -> None:
    spec = load_preset("mel_22k")
    features = (torch.randn(2, 80, 138, generator=torch.Generator().manual_seed(0)) - 4).to(device).requires_grad_()
    voices = torch.from_numpy(np.eye(256, dtype=np.float32)[:2]).to(device)
    voice_mismatch(features, voices, voices.flip(0), spec).backward()
    assert bool(torch.isfinite(features.grad).all()) and features.grad.abs().sum() > 0
    with torch.no_grad():
        torch.testing.assert_close(voice_of(features - 20, spec), voice_of(features - 22, spec), atol=1e-4, rtol=0)
