"""The second verifier's network."""

import math
from dataclasses import replace

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.data.read.batch import Batch
from revoice.models.voiceprint import Voiceprint
from revoice.nn.draws import Draws


def small(**more) -> Voiceprint:
    torch.manual_seed(0)
    return Voiceprint(n_features=8, n_speakers=3, embedding=6, channels=12, hidden=16, blocks=2, frames=40, **more)


def batch(count: int = 6, frames: int = 40) -> Batch:
    """Three voices, each with a band of its own."""
    draw = torch.Generator().manual_seed(1)
    speaker = torch.arange(count) % 3
    features = 0.3 * torch.randn(count, 8, frames, generator=draw)
    time = torch.arange(frames) / 3.0
    for i, k in enumerate(speaker.tolist()):
        features[i, 2 * k] += torch.sin(time)
    return Batch(
        id=tuple(map(str, range(count))), features=features, lengths=torch.full((count,), frames), speaker=speaker
    )


def test_embeddings_have_length_one_and_do_not_hear_a_gain_of_the_line() -> None:
    model, clips = small().eval(), batch().features
    found = model(clips)
    assert found.shape == (6, 6)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(model(clips + torch.arange(8.0)[:, None]), found, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [7, 40, 41, 100])
def test_clips_of_any_length(frames: int) -> None:
    model = small().eval()
    found = model.embed(torch.randn(8, frames, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (6,) and found.norm() == pytest.approx(1.0, abs=1e-5)
    assert model.speaker_codes(torch.zeros(2, 8, frames)).shape == (2, 6)


def test_it_learns_to_tell_voices_apart() -> None:
    model, clips = small(margin=0.1), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = model.losses(clips)["margin"].item()
    for _ in range(60):
        optimizer.zero_grad()
        model.losses(clips)["margin"].backward()
        optimizer.step()
    assert model.losses(clips)["margin"].item() < 0.2 * before
    assert model.measures(clips)["named"].item() == 1.0


def test_a_margin_makes_the_loss_larger_and_items_of_nobody_count_nothing() -> None:
    clips = batch()
    assert small(margin=0.3).losses(clips)["margin"] > small(margin=0.0).losses(clips)["margin"]
    nobody = replace(clips, speaker=torch.full((6,), -1))
    assert small().losses(nobody)["margin"].item() == 0.0
    mixed = replace(clips, speaker=torch.tensor([0, 1, 2, -1, -1, -1]))
    three = replace(clips, features=clips.features[:3], speaker=clips.speaker[:3], lengths=clips.lengths[:3])
    assert small().losses(mixed)["margin"].item() == pytest.approx(small().losses(three)["margin"].item(), rel=1e-5)


def test_bfloat16_keeps_the_gradient_of_a_voice_that_is_nearly_its_class() -> None:
    model, clips = small().eval(), batch(1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = model(clips.features)[0]
        across = torch.nn.functional.normalize(model.speakers[1] - (model.speakers[1] @ made) * made, dim=0)
        model.speakers[0] = 0.9995 * made + math.sqrt(1 - 0.9995**2) * across
    with torch.autocast("cpu", torch.bfloat16):
        cosines = model._cosines(clips).detach()
        loss = model.losses(clips)["margin"]
    assert cosines.dtype == loss.dtype == torch.float32 and float(cosines[0, 0]) == pytest.approx(0.9995, abs=1e-5)
    widened = math.cos(math.acos(0.9995) + model.margin)
    logits = model.scale * torch.tensor([[widened, *cosines[0, 1:].tolist()]])
    assert loss.item() == pytest.approx(float(torch.nn.functional.cross_entropy(logits, clips.speaker)), rel=1e-3)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.speakers.grad is not None and model.speakers.grad.abs().sum() > 0


def test_in_training_another_microphone_is_heard() -> None:
    spec = load_preset("whisper_16k")
    model = Voiceprint(n_speakers=3, channels=12, hidden=16, blocks=1, frames=40)
    model.set_features(spec)
    waveform = 0.1 * torch.randn(6, 40 * spec.hop, generator=torch.Generator().manual_seed(2))
    features = torch.zeros(6, 80, 40)
    clips = replace(batch(), features=features, waveform=waveform, draws=None)
    drawn = replace(clips, draws=Draws(0, 3, 0, 6, 6))
    assert torch.equal(model._features(clips), features)
    heard = model._features(drawn)
    assert heard.shape[:2] == features.shape[:2] and not torch.equal(heard[..., :40], features)
    assert torch.isfinite(model.losses(replace(drawn, speaker=torch.tensor([0, 1, 2] * 2)))["margin"])
