from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from revoice.audio.features import extract
from revoice.audio.io import read_audio
from revoice.audio.presets import load_preset
from revoice.nn.adain import instance_norm
from revoice.nn.content import RecognizedContent, encoder
from revoice.nn.remel import interpolated


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


def test_mels_that_somebody_makes_are_heard_like_their_sound(shared: Path) -> None:
    network = RecognizedContent(encoder({}), 22050, 256).eval()
    weights = load_file(shared / "weights" / "whisper_tiny_en_encoder.safetensors")
    network.encoder.load_state_dict({name: value.float() for name, value in weights.items()})
    network.requires_grad_(False)
    clip = read_audio(sorted((shared / "data" / "librispeech_mini").rglob("1688-142285-0003.flac"))[0], 22050)
    waveform, spec = torch.from_numpy(clip.samples)[None], load_preset("mel_22k")
    features = extract(waveform[0], spec)[None].requires_grad_()
    found = network.of_mels(features, spec)
    true = network(waveform, features.shape[-1])
    cosine = F.cosine_similarity(instance_norm(found), instance_norm(true), dim=1).mean()
    assert cosine > 0.8
    found.sum().backward()
    assert features.grad.abs().sum() > 0
