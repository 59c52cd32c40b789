from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from revoice.audio.presets import load_preset
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import PitchControls
from revoice.models.recsyn import RecSyn
from revoice.nn.draws import Draws

TINY = {
    "content": {"width": 8, "heads": 2, "layers": 1}, "neck": {"hidden": 8, "channels": 4},
    "decoder": {"channels": 16, "hidden": 32, "blocks": 2, "voice": 16, "pitch_bins": 8},
}  # fmt: skip


def model(**more: object) -> RecSyn:
    torch.manual_seed(0)
    return RecSyn(10, sample_rate=22050, hop=256, frames=32, reference_frames=40, **TINY, **more)


def batch(**more: object) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        id=("a", "b", "c"), features=torch.randn(3, 10, 32, generator=generator), lengths=torch.tensor([32, 32, 20]),
        f0=torch.full((3, 32), 120.0), embedding=torch.randn(3, 256, generator=generator),
        reference=torch.randn(3, 10, 40, generator=generator), draws=Draws(0, 0, 0, 3, 3), **more,
    )  # fmt: skip


def clip(frames: int, f0: float, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch.of_clip(
        torch.randn(10, frames, generator=generator), f0=torch.full((frames,), f0),
        embedding=torch.randn(256, generator=generator), waveform=torch.randn(256 * frames + 100, generator=generator),
    )  # fmt: skip


@pytest.mark.parametrize("tune", [False, True])
def test_it_trains_on_stored_content_or_tunes_the_encoder(tune: bool) -> None:
    net = model(tune=tune).train()
    assert ("waveform" in net.requires.fields) == tune
    given = {"content": torch.randn(3, 8, 32), **({"waveform": torch.randn(3, 32 * 256)} if tune else {})}
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        found = net.losses(batch(**given))
        assert bool(found["distill"] > 0) == tune
        loss = found["reconstruction"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    unused = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == [], "every weight takes part, or DDP would wait for it"
    assert all(p.requires_grad == tune for p in net.content.parameters())


@pytest.mark.parametrize("frames", [1, 5, 100])
def test_it_converts_any_length(frames: int) -> None:
    net = model().eval()
    made = net.convert(clip(frames, 100.0), [clip(20, 200.0, 1), clip(7, 200.0, 2)], PitchControls())
    assert made.shape == (1, 10, frames) and bool(torch.isfinite(made).all())


def test_what_is_said_in_another_voice_is_judged_with_gradients_to_the_decoder() -> None:
    spec = load_preset("mel_22k")
    torch.manual_seed(0)
    net = RecSyn(80, 22050, 256, frames=128, **TINY, match=True).train()
    net.set_features(spec)
    generator = torch.Generator().manual_seed(0)
    items = Batch(
        id=("a", "b", "c"), features=torch.randn(3, 80, 128, generator=generator) - 4, lengths=torch.full((3,), 128),
        f0=torch.full((3, 128), 120.0), embedding=F.normalize(torch.rand(3, 256, generator=generator), dim=1),
        reference=torch.randn(3, 80, 40, generator=generator) - 4, content=torch.randn(3, 8, 128),
        draws=Draws(0, 0, 0, 3, 3),
    )  # fmt: skip
    with torch.autocast("cpu", torch.bfloat16):
        losses = net.losses(items)
    for name in ("voice", "words"):
        assert 0 < losses[name].item() < 3
        (gradient,) = torch.autograd.grad(losses[name], net.decoder.out.weight, retain_graph=True)
        assert gradient.abs().sum() > 0
    with pytest.raises(UserError, match="like mel_22k"):
        net.set_features(load_preset("stft_16k"))


def test_the_code_has_no_mean_and_no_deviation_of_its_own() -> None:
    net = model().eval()
    content = torch.randn(2, 8, 50)
    code = net.neck(content)
    torch.testing.assert_close(code.mean(2), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(net.neck(3 * content + 2), code, atol=1e-3, rtol=1e-3)  # the scale of a voice is gone


def test_pitch_goes_to_the_target_s_level_and_follows_the_controls() -> None:
    net, target, contour = model(), clip(30, 200.0, 1), torch.linspace(80.0, 125.0, 40)
    contour[3] = 0
    source = replace(clip(40, 100.0), f0=contour[None])
    level = lambda f0: f0[f0 > 0].log().mean().exp().item()  # noqa: E731
    plain = net.pitch(source, [target], PitchControls())
    assert level(plain) == pytest.approx(200.0) and plain[0, 3] == 0
    assert level(net.pitch(source, [target], PitchControls(semitones=12))) == pytest.approx(400.0)
    flat = net.pitch(source, [target], PitchControls(pitch_range=0))
    torch.testing.assert_close(flat[flat > 0], torch.full((39,), 200.0))
    torch.testing.assert_close(net.pitch(source, [target], PitchControls(strength=0.0)), source.f0)


def test_strength_goes_from_the_source_s_own_voice_to_the_target_s() -> None:
    net, source, target = model().eval(), clip(40, 100.0), clip(30, 200.0, 1)
    own = net.convert(source, [source], PitchControls())
    torch.testing.assert_close(net.convert(source, [target], PitchControls(strength=0.0)), own, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(net.convert(source, [target], PitchControls()), own, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"pitch_range": -1}, {"semitones": 100}, {"strength": float("nan")}])
def test_controls_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="expected"):
        PitchControls(**wrong)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="Whisper of width=9"):
        RecSyn(10, sample_rate=22050, hop=256, content={"width": 9, "heads": 2, "layers": 1})
    with pytest.raises(UserError, match="neck"):
        RecSyn(10, sample_rate=22050, hop=256, neck={"chanels": 3})
