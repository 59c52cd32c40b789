from dataclasses import replace

import pytest
import torch

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, PitchControls
from revoice.models.vqvae import VQVAE
from revoice.nn.draws import Draws

SMALL = {
    "encoder": {"channels": 16, "norm": "instance"}, "quantizer": {"codebook_size": 16, "dim": 8},
    "decoder": {"channels": 16, "kernel": 3, "blocks": 3},
}  # fmt: skip


def batch(frames: int = 32, bins: int = 10, **more: object) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        id=("a", "b", "c"), features=torch.randn(3, bins, frames, generator=generator),
        lengths=torch.tensor([frames, frames, frames - 5]), f0=torch.full((3, frames), 120.0),
        embedding=torch.randn(3, 256, generator=generator), speaker=torch.tensor([0, 1, -1]),
        draws=Draws(0, 0, 0, 3, 3), **more,
    )  # fmt: skip


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("voice", ["embedding", "speaker"])
@pytest.mark.parametrize("strides", [(1, 1, 2, 1, 1), (2, 2), (1,)])
def test_every_form_trains_and_converts(norm: str, voice: str, strides: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    settings = {**SMALL, "encoder": {"channels": 16, "norm": norm, "strides": strides}, "perturb": 0.2}
    settings["decoder"] = {**SMALL["decoder"], "pitch_bins": 8}
    model = MODELS.build("vqvae", {"n_features": 10, "n_speakers": 2, "voice": voice, **settings}).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = None
    for _ in range(30):
        losses = model.losses(batch())
        total = losses["reconstruction"] + 0.25 * losses["commitment"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        first = first or losses["reconstruction"].item()
    assert losses["reconstruction"].item() < 0.95 * first
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert unused == [], "every weight takes part, or DDP would wait for it"
    clip = Batch.of_clip(torch.randn(10, 31), f0=torch.full((31,), 100.0), embedding=torch.randn(256))
    target = Batch.of_clip(
        torch.randn(10, 20), f0=torch.full((20,), 200.0), embedding=torch.randn(256), speaker=torch.tensor(1)
    )
    assert model.eval().convert(clip, [target], PitchControls()).shape == (1, 10, 31)
    short = Batch.of_clip(clip.features[0, :, :1], f0=torch.zeros(1), embedding=torch.randn(256))
    assert model.convert(short, [target], PitchControls()).shape == (1, 10, 1)


def test_pitch_follows_the_controls() -> None:
    model = VQVAE(10, **{**SMALL, "decoder": {**SMALL["decoder"], "pitch_bins": 16}}).eval()
    clip = Batch.of_clip(torch.randn(10, 24), f0=torch.linspace(90.0, 110.0, 24), embedding=torch.randn(256))
    high = model.pitch(clip, [clip], PitchControls(semitones=-12))
    torch.testing.assert_close(high, clip.f0 / 2)
    assert float(model.pitch(clip, [clip], PitchControls(pitch_range=2)).std()) > 1.5 * float(clip.f0.std())


def test_strength_goes_from_the_source_s_own_voice_to_the_target_s() -> None:
    torch.manual_seed(0)
    model = VQVAE(10, **SMALL).eval()
    a, b = (Batch.of_clip(torch.randn(10, 24), embedding=torch.randn(256)) for _ in range(2))
    own, full = model.convert(a, [a], PitchControls()), model.convert(a, [b], PitchControls())
    torch.testing.assert_close(model.convert(a, [b], PitchControls(strength=0.0)), own)
    half = model.convert(a, [b], PitchControls(strength=0.5))
    assert 0 < float((half - own).abs().mean()) < float((full - own).abs().mean())
    table = VQVAE(10, 2, voice="speaker", **SMALL).eval()
    with pytest.raises(UserError, match="table"):
        table.convert(a, [Batch.of_clip(a.features[0], speaker=torch.tensor(0))], PitchControls(strength=0.5))


def test_a_speaker_who_is_not_in_the_table_is_the_mean_of_it() -> None:
    model = VQVAE(10, 2, voice="speaker", **SMALL)
    code = model.voice(batch().speaker)
    torch.testing.assert_close(code[2], model.voice.layer.weight.mean(0))
    torch.testing.assert_close(code[:2], model.voice.layer.weight)


def test_wrong_settings_are_one_line() -> None:
    for wrong, words in (
        ({"encoder": {"norm": "group"}}, "norm"), ({"encoder": {"strides": (3,)}}, "strides"),
        ({"voice": "clip"}, "voice"), ({"voice": "speaker"}, "n_speakers"), ({"frames": 33}, "frames"),
        ({"quantizer": {"codes": 3}}, "codes"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            VQVAE(10, **{**SMALL, **wrong})


def test_a_speaker_of_the_table_brings_its_pitch_level() -> None:
    model = VQVAE(80, 3, voice="speaker", encoder={"channels": 16}, decoder={"channels": 16, "pitch_bins": 32}).eval()
    features = torch.randn(80, 40, generator=torch.Generator().manual_seed(0))
    source = Batch.of_clip(features, f0=torch.full((40,), 100.0))
    target = Batch.of_clip(features[:, :0], speaker=torch.tensor(1), level=torch.tensor(200.0).log())
    moved = model.pitch(source, [target], model.Controls())
    assert moved is not None and torch.allclose(moved, torch.full((40,), 200.0))
    unknown = replace(target, level=None)
    assert torch.equal(model.pitch(source, [unknown], model.Controls()), source.f0)
