from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from revoice.audio.features import extract
from revoice.audio.io import read_audio, resample
from revoice.audio.presets import load_preset
from revoice.nn.adain import instance_norm
from revoice.nn.content import RecognizedContent, encoder
from revoice.nn.remel import interpolated, remel


def test_content_has_the_frames_of_the_features() -> None:
    torch.manual_seed(0)
    network = RecognizedContent(encoder({"width": 8, "heads": 2, "layers": 1}), 22050, 256).eval()
    waveform = torch.randn(1, 22050)
    assert network(waveform).shape == (1, 8, 86)
    assert network(waveform, 90).shape == (1, 8, 90)
    assert network(waveform[:, :10], 1).shape == (1, 8, 1)


def test_a_step_lies_where_its_sound_is() -> None:
    ramp = torch.arange(100.0)[None, None]  # step n at n / 50 s
    frames = interpolated(ramp, 120, 50 * 256 / 22050)
    seconds = (torch.arange(120) + 0.5) * 256 / 22050
    torch.testing.assert_close(frames[0, 0], 50 * seconds)


@pytest.mark.parametrize("preset", ["mel_22k", "speechsplit_16k", "mel_24k100"])
def test_mels_of_another_spec_lie_where_their_sound_is(preset: str) -> None:
    spec, wanted = load_preset(preset), load_preset("whisper_16k")
    loudness, seconds = torch.rand(70, generator=torch.Generator().manual_seed(0)).numpy(), np.arange(70) * 0.06
    noise = np.random.default_rng(0).standard_normal(4 * spec.sample_rate)
    loud = np.interp(np.arange(len(noise)) / spec.sample_rate, seconds, loudness) ** 2
    samples = (0.3 * loud * noise).astype(np.float32)
    made = remel(extract(samples, spec)[None], spec, wanted)[0][0].log().mean(0).numpy()
    true = extract(resample(samples, spec.sample_rate, wanted.sample_rate), wanted).mean(0).numpy()
    frames, lags = np.arange(20, len(made) - 20), np.arange(-2, 2.1, 0.25)
    alike = [np.corrcoef(np.interp(frames + lag, np.arange(len(made)), made), true[frames])[0, 1] for lag in lags]
    assert abs(lags[int(np.argmax(alike))]) <= 0.25 and max(alike) > 0.9


@pytest.mark.parametrize(("preset", "least"), [("mel_22k", 0.93), ("speechsplit_16k", 0.85)])
def test_mels_that_somebody_makes_are_heard_like_their_sound(preset: str, least: float, shared: Path) -> None:
    spec = load_preset(preset)
    network = RecognizedContent(encoder({}), spec.sample_rate, spec.hop).eval()
    weights = load_file(shared / "weights" / "whisper_tiny_en_encoder.safetensors")
    network.encoder.load_state_dict({name: value.float() for name, value in weights.items()})
    network.requires_grad_(False)
    path = sorted((shared / "data" / "librispeech_mini").rglob("1688-142285-0003.flac"))[0]
    clip = read_audio(path, spec.sample_rate)
    waveform = torch.from_numpy(clip.samples)[None]
    features = extract(waveform[0], spec)[None].requires_grad_()
    found = network.of_mels(features, spec)
    true = network(waveform, features.shape[-1])
    cosine = F.cosine_similarity(instance_norm(found), instance_norm(true), dim=1).mean()
    assert cosine > least
    found.sum().backward()
    assert features.grad.abs().sum() > 0
