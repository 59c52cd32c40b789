import pytest
import torch

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.adain_vc import AdaINVC
from revoice.models.adain_vc.model import kl_to_standard_normal
from revoice.models.base import MODELS, PitchControls
from revoice.nn.adain import time_statistics
from revoice.nn.adain_decoder import spread_upsampling
from revoice.nn.draws import Draws
from revoice.nn.masked import masked_l1

SMALL = {"channels": 12, "out": 8, "bank": 3, "bank_channels": 4}


def small(**settings: object) -> AdaINVC:
    torch.manual_seed(0)
    sizes = {"speaker_encoder": {**SMALL, "dense_blocks": 1}, "content_encoder": SMALL, "decoder": {"channels": 12}}
    return AdaINVC(10, **{**sizes, **settings})


def batch(frames: int = 64, draws: bool = True, reference: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 10, frames, generator=generator)
    return Batch(
        id=("a", "b", "c"),
        features=features,
        lengths=torch.full((3,), frames),
        reference=torch.randn(3, 10, reference, generator=generator) if reference else None,
        f0=torch.rand(3, frames, generator=generator) * 300,
        draws=Draws(0, 0, 0, 3, 3) if draws else None,
    )


@pytest.mark.parametrize(("mels", "count"), [(512, 9_040_512), (80, 4_892_880)])
def test_published_parameter_count(mels: int, count: int) -> None:
    assert sum(p.numel() for p in AdaINVC(mels).parameters()) == count


def test_published_parts() -> None:
    model = AdaINVC(512)
    assert model.speaker_encoder is not None
    assert sum(p.numel() for p in model.speaker_encoder.parameters()) == 3_756_288
    assert sum(p.numel() for p in model.content_encoder.parameters()) == 3_574_656
    assert sum(p.numel() for m in (model.decoder, model.affine) for p in m.parameters()) == 1_709_568


VARIANTS: dict[str, dict] = {
    "default": {},
    "paper": {"norm_position": "after"},
    "depth 3": {"decoder": {"channels": 12, "blocks": 3}},
    "depth 5": {"decoder": {"channels": 12, "blocks": 5}},
    "depth 7": {"decoder": {"channels": 12, "blocks": 7}},
    "no instance norm": {"content_encoder": {**SMALL, "norm": "none"}},
    "mirrored": {"conditioning": "stat_transfer"},
    "perturbed": {"perturb": 0.2},
    "another clip as reference": {"reference_frames": 48},
    "told the pitch": {"decoder": {"channels": 12, "pitch_bins": 16}},
    "told the pitch, upsampling in the last block": {"decoder": {"channels": 12, "blocks": 3, "pitch_bins": 16}},
    "dropout": {"decoder": {"channels": 12, "dropout": 0.5}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_and_converts(name: str) -> None:
    model = small(**VARIANTS[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    data = batch(reference=model.requires.reference)
    first = None
    for _ in range(30):
        losses = model.losses(data)
        total = 10 * losses["reconstruction"] + 0.01 * losses["kl"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        first = first or float(losses["reconstruction"])
    assert float(losses["reconstruction"]) < 0.97 * first
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    out = model.eval().convert(
        Batch.of_clip(torch.randn(10, 53), f0=torch.rand(53) * 300),
        [Batch.of_clip(torch.randn(10, 40), f0=torch.rand(40) * 300)],
        PitchControls(),
    )
    assert out.shape == (1, 10, 53) and torch.isfinite(out).all()


def test_the_options_change_the_computation() -> None:
    values = {}
    for name, settings in VARIANTS.items():
        model = small(**settings)
        values[name] = float(model.losses(batch(reference=model.requires.reference))["reconstruction"].detach())
    assert len({round(v, 6) for v in values.values()}) == len(values), values


def test_instance_norm_makes_content_blind_to_gain_and_offset_per_channel() -> None:
    """Without the bank's raw input a constant offset of a channel vanishes; measured on the normalized first layer."""
    model = small().eval()
    x = torch.randn(1, 10, 64)
    scaled = x * 3
    with torch.no_grad():
        near = (model.content_encoder(x).mean - model.content_encoder(scaled).mean).abs().mean()
        none = small(content_encoder={**SMALL, "norm": "none"}).eval()
        far = (none.content_encoder(x).mean - none.content_encoder(scaled).mean).abs().mean()
    assert near < 0.3 * far


def test_the_mirrored_encoder_hands_over_what_its_blocks_removed_the_last_first(monkeypatch) -> None:
    encoder, x, seen = small(conditioning="stat_transfer").content_encoder, torch.randn(2, 10, 64), []
    normalize = encoder._norm
    monkeypatch.setattr(encoder, "_norm", lambda h: seen.append(time_statistics(h)) or normalize(h))
    removed = encoder.removed(x)
    assert len(removed) == len(seen) - 1  # the first layer is in front of the blocks
    for found, told in zip(removed, seen[:0:-1], strict=True):
        assert torch.equal(found, torch.stack(told)[..., 0])


def test_the_mirrored_encoder_gives_in_one_pass_what_it_gives_in_two() -> None:
    """Values and gradients, in float32; in 16 bits the losses of a step, which take one pass."""
    model = small(conditioning="stat_transfer")
    given = batch(reference=64)
    apart = model.losses(given)["reconstruction"]
    with torch.autocast("cpu", torch.bfloat16):
        together = model.losses(given)["reconstruction"]
    assert float(together) == pytest.approx(float(apart), rel=2e-2)
    encoder, x, other = model.content_encoder, given.features, given.reference
    code, removed = encoder.code_and_removed(x, other)
    alone = encoder(x)
    pairs = [(code.mean, alone.mean), (code.log_variance, alone.log_variance), (removed, encoder.removed(other))]
    for found, wanted in pairs:
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    weights = [p for name, p in encoder.named_parameters() if "log_variance" not in name]
    one = torch.autograd.grad(code.mean.square().sum() + removed.square().sum(), weights)
    two = torch.autograd.grad(alone.mean.square().sum() + encoder.removed(other).square().sum(), weights)
    for found, wanted in zip(one, two, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)


def test_strength_moves_from_the_own_voice_to_the_target() -> None:
    model = small().eval()
    source, target = Batch.of_clip(torch.randn(10, 64)), Batch.of_clip(torch.randn(10, 64) * 2)
    own = model.convert(source, [source], PitchControls())
    outputs = [model.convert(source, [target], PitchControls(strength=s)) for s in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(outputs[0], own, atol=1e-5, rtol=1e-5)
    distances = [float((o - own).abs().mean()) for o in outputs]
    assert distances[0] < distances[1] < distances[2]


def test_pitch_follows_the_controls_where_the_decoder_is_told_it() -> None:
    told = small(decoder={"channels": 16, "kernel": 3, "blocks": 4, "pitch_bins": 16}).eval()
    draw = torch.Generator().manual_seed(0)
    clip = Batch.of_clip(torch.randn(10, 64, generator=draw), f0=torch.linspace(90.0, 110.0, 64))
    plain, high = (told.pitch(clip, [clip], PitchControls(semitones=s)) for s in (0, 12))
    torch.testing.assert_close(high, 2 * plain)
    flat = told.pitch(clip, [clip], PitchControls(pitch_range=0))
    assert float(flat.std()) < 1e-3
    assert not torch.allclose(
        told.convert(clip, [clip], PitchControls(semitones=12)), told.convert(clip, [clip], PitchControls())
    )
    with pytest.raises(UserError, match="is not told the pitch"):
        small().eval().convert(Batch.of_clip(clip.features[0]), [clip], PitchControls(semitones=1))


def test_several_targets_are_averaged() -> None:
    model = small().eval()
    source = Batch.of_clip(torch.randn(10, 64))
    a, b = (Batch.of_clip(torch.randn(10, 64) * s) for s in (1, 3))
    one, other, both = (model.convert(source, t, PitchControls()) for t in ([a], [b], [a, b]))
    assert not torch.allclose(both, one) and not torch.allclose(both, other)
    torch.testing.assert_close(model.convert(source, [a, a], PitchControls()), one)


@pytest.mark.parametrize("frames", [1, 5, 23, 24, 25, 101])
def test_any_length_converts(frames: int) -> None:
    model = small().eval()
    clip = Batch.of_clip(torch.randn(10, frames))
    assert model.convert(clip, [clip], PitchControls()).shape == (1, 10, frames)


def test_statistics_are_undone() -> None:
    model = small().eval()
    clip = torch.randn(10, 64)
    plain = model.convert(Batch.of_clip(clip), [Batch.of_clip(clip)], PitchControls())
    mean, std = torch.randn(10), torch.rand(10) + 0.5
    model.set_statistics(mean, std)
    moved = clip * std[:, None] + mean[:, None]
    again = model.convert(Batch.of_clip(moved), [Batch.of_clip(moved)], PitchControls())
    torch.testing.assert_close(again, plain * std[:, None] + mean[:, None], atol=1e-3, rtol=1e-3)


def test_losses_by_hand() -> None:
    target, guess = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    guess[1, :, 2:] = 100.0  # padding of the second item
    assert float(masked_l1(guess, target, torch.tensor([4, 2]))) == 1.0
    assert float(kl_to_standard_normal(torch.zeros(2, 2), torch.zeros(2, 2))) == 0.0
    assert float(kl_to_standard_normal(torch.ones(1), torch.zeros(1))) == 0.5


def test_wrong_settings_say_what_is_valid() -> None:
    for settings, words in [
        ({"conditioning": "adaim"}, "did you mean 'adain'"),
        ({"norm_position": "between"}, "before"),
        ({"decoder": {"chanels": 3}}, "did you mean 'channels'"),
        ({"decoder": {"blocks": 2}}, "decoder.blocks=2"),
        ({"decoder": {"upsample": [2, 2]}}, "hop 8"),
        ({"conditioning": "stat_transfer", "decoder": {"channels": 12, "blocks": 5}}, "decoder.blocks=6"),
        ({"content_encoder": {**SMALL, "norm": "batch"}}, "instance"),
    ]:
        with pytest.raises(UserError, match=words) as error:
            small(**settings)
        assert "\n" not in str(error.value)


def test_upsampling_is_spread() -> None:
    assert [spread_upsampling(8, n) for n in (3, 5, 6, 7)] == [
        (2, 2, 2), (2, 2, 2, 1, 1), (2, 1, 2, 1, 2, 1), (2, 1, 2, 1, 2, 1, 1)
    ]  # fmt: skip


def test_registry_offers_facts_and_refuses_unknown_settings() -> None:
    assert isinstance(MODELS.build("adain_vc", {"frames": 64}, {"n_features": 10, "n_speakers": 3}), AdaINVC)
    with pytest.raises(UserError, match="did you mean 'adain_vc'"):
        MODELS.get("adain-vc")
    with pytest.raises(UserError, match="frames"):
        MODELS.build("adain_vc", {"frame": 64}, {"n_features": 10})


def test_pitch_is_required_only_where_the_decoder_takes_it() -> None:
    assert small().requires.fields == ("features",)
    assert small(decoder={"channels": 12, "pitch_bins": 16}).requires.fields == ("features", "f0")


def test_the_source_contour_is_moved_to_the_level_of_the_targets() -> None:
    model = small(decoder={"channels": 12, "pitch_bins": 16}).eval()
    clip = batch(draws=False).features
    contour = torch.tensor([0.0, 100.0, 120.0, 100.0] * 16)
    source = Batch.of_clip(clip[0], f0=contour)

    def convert(level: float, strength: float = 1.0) -> torch.Tensor:
        target = Batch.of_clip(clip[1], f0=torch.full((64,), level))
        return model.convert(source, [target], PitchControls(strength=strength))

    low, high = convert(110.0), convert(220.0)
    assert low.shape == high.shape == (1, 10, 64) and not torch.allclose(low, high)
    voiced = contour > 0
    assert model.decoder.pitch is not None
    heard: list[torch.Tensor] = []
    model.decoder.pitch.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0][0]))
    convert(220.0)
    assert heard[0][voiced].log().mean().exp().item() == pytest.approx(220.0, rel=1e-4)
    assert heard[0][voiced][1] / heard[0][voiced][0] == pytest.approx(1.2) and not heard[0][~voiced].any()
    convert(220.0, strength=0.0)
    assert torch.allclose(heard[1], contour)
    convert(0.0)
    assert torch.equal(heard[2], contour)
