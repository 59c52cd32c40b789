from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from revoice.audio.features import extract
from revoice.audio.io import read_audio, resample
from revoice.audio.presets import load_preset
from revoice.audio.speaker import speaker_encoder
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.nn.draws import Draws
from revoice.nn.voice_match import voice_mismatch, voice_of, word_encoder

ENCODER = {"channels": 12, "out": 8, "bank": 3, "bank_channels": 4}
SIZES: dict[str, dict[str, Any]] = {
    "adain_vc": {"speaker_encoder": ENCODER, "content_encoder": ENCODER},
    "vqvae": {
        "encoder": {"channels": 16, "norm": "instance"}, "quantizer": {"codebook_size": 16, "dim": 8},
    },
}  # fmt: skip


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


@pytest.mark.parametrize("bins", [0, 16])
@pytest.mark.parametrize("name", ["adain_vc", "vqvae"])
def test_one_in_so_many_crops_is_said_in_another_voice_and_judged(name: str, bins: int) -> None:
    torch.manual_seed(0)
    decoder = {"channels": 12, "kernel": 3, "blocks": 3, "pitch_bins": bins}
    net: Any = MODELS.build(name, {"n_features": 80, **SIZES[name], "decoder": decoder, "match": 2}).train()
    net.set_features(load_preset("mel_22k"))
    assert "embedding" in net.requires.fields and net.stands_on == ("whisper", "resemblyzer")
    assert ("embedding" in net.requires.of_clip) == (name == "vqvae"), "no encoder is needed to convert that was not"
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        id=("",) * 5, features=torch.randn(5, 80, 64, generator=generator) - 4,
        lengths=torch.tensor([64, 64, 64, 64, 50]), f0=torch.rand(5, 64, generator=generator) * 200,
        draws=Draws(0, 0, 0, 5, 5),
        embedding=torch.nn.functional.normalize(torch.rand(5, 256, generator=generator), dim=1),
    )  # fmt: skip
    losses = net.losses(batch)
    for loss in ("voice", "words"):
        assert 0 < losses[loss].item() < 3
        (gradient,) = torch.autograd.grad(losses[loss], net.decoder.conv_out.weight, retain_graph=True)
        assert gradient.abs().sum() > 0
    plain: Any = MODELS.build(name, {"n_features": 80, **SIZES[name], "decoder": decoder})
    assert net.state_dict().keys() == plain.state_dict().keys(), "the judges stay out"
    assert not {"voice", "words"} & set(plain.losses(batch)) and not plain.stands_on
    with pytest.raises(UserError, match="like mel_22k"):
        net.set_features(load_preset("stft_16k"))


def test_what_ships_hears_words() -> None:
    ear = word_encoder(22050, 256, "cpu")
    assert not any(p.requires_grad for p in ear.parameters()) and ear.encoder.size.layers == 4
    assert float(next(ear.parameters()).abs().sum()) > 0
