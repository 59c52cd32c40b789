"""WaveGlow: it can be undone, its determinants are those of its Jacobian, and it speaks the same on every batch."""

import pytest
import torch
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.waveglow import WaveGlow

SPEC = load_preset("mel_22k_tacotron")
SMALL = {"channels": 8, "layers": 2, "flows": 6}
KINDS = {"published": {}, "older": {"alternate": True}, "linear": {"upsample": "linear"}, "one": {"early_every": 6}}


def tiny(spec: FeatureSpec = SPEC, **settings: object) -> WaveGlow:
    """One that does something: the last layers of the couplings begin at zero."""
    torch.manual_seed(0)
    model = WaveGlow(spec, **(SMALL | settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for flow in model.flows:
            flow.coupling.last.weight.normal_(std=0.1)  # type: ignore[union-attr]
            flow.mix.weight += 0.1 * torch.randn_like(flow.mix.weight)  # type: ignore[union-attr, operator]
    return model.eval()


def heard(frames: int, items: int = 2) -> Tensor:
    return torch.randn(items, SPEC.channels, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_there_and_back(kind: str) -> None:
    model = tiny(**KINDS[kind])
    wave = 0.1 * torch.randn(2, 2048)
    encoded = model.encode(wave, heard(9))
    assert encoded.z.shape == (2, 8, 256)
    assert (model.decode(model.noise_of(encoded.z), heard(9)) - wave).abs().max() < 1e-5
    noise = [torch.randn_like(each) for each in model.noise_of(encoded.z)]
    again = model.noise_of(model.encode(model.decode(noise, heard(9)), heard(9)).z)
    assert max(float((a - b).abs().max()) for a, b in zip(again, noise, strict=True)) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_determinants_are_those_of_the_jacobian(kind: str) -> None:
    spec = FeatureSpec(sample_rate=8000, n_fft=32, hop=16, win=32, mels=4)
    model = tiny(spec, **KINDS[kind]).double()
    wave, mel = torch.randn(1, 32, dtype=torch.float64), torch.randn(1, 4, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.encode(x, mel).z, wave).reshape(32, 32)
    encoded = model.encode(wave, mel)
    told = (sum(each.sum() for each in encoded.log_scales) + sum(encoded.log_determinants)).detach()
    assert float(told) == pytest.approx(float(torch.linalg.slogdet(jacobian).logabsdet), abs=1e-9)
    expected = (encoded.z.square().sum() / 2 - told) / 32
    assert float(model.likelihood(encoded).detach()) == pytest.approx(float(expected.detach()), abs=1e-9)


def test_it_begins_with_rotations() -> None:
    model = WaveGlow(SPEC, **SMALL)  # type: ignore[arg-type]
    for flow in model.flows:
        weight = flow.mix.weight[..., 0].double()  # type: ignore[union-attr, index]
        assert torch.allclose(weight @ weight.T, torch.eye(len(weight), dtype=torch.float64), atol=1e-6)
        assert float(torch.det(weight.detach())) == pytest.approx(1, abs=1e-5)
    mirrored = model.flows[0].mix
    with torch.no_grad():
        mirrored.weight[0] *= -1  # type: ignore[operator, index]
    assert torch.isfinite(mirrored.log_determinant())  # type: ignore[operator]


@torch.no_grad()
def test_what_it_says() -> None:
    model = tiny()
    said = model(heard(9))
    assert said.shape == (2, SPEC.samples(9))
    assert torch.equal(model(heard(9)), said)  # the noise is that of its seed
    one = torch.cat([model(each) for each in heard(9).split(1)])
    assert torch.allclose(one, said, atol=1e-6)
    model.set_speaking({"sigma": 0.0})
    assert not torch.allclose(model(heard(9)), said, atol=1e-3)
    assert model(heard(1)).shape == (2, 0)
    same = tiny(load_preset("mel_22k"), upsample="linear")
    assert same(heard(9)).shape == (2, 256 * 9)


@torch.no_grad()
def test_fused_it_says_the_same() -> None:
    model = tiny()
    said = model(heard(9))
    model.fuse()
    assert not any("parametrizations" in name for name in model.state_dict())
    assert torch.allclose(model(heard(9)), said, atol=1e-6)


@torch.no_grad()
def test_the_hum_is_subtracted() -> None:
    model = tiny(sigma=0.0)
    zeros = torch.zeros(1, SPEC.channels, 88)
    hum = model(zeros)
    model.set_speaking({"denoise": 1.0})
    assert float(model(zeros).square().mean()) < 0.1 * float(hum.square().mean())
    model.set_speaking({"denoise": 0.0})
    assert torch.equal(model(zeros), hum)


def test_between_frames_it_hears_what_lies_between() -> None:
    model = tiny(load_preset("mel_22k"), upsample="linear")
    ramp = torch.arange(5.0)[None, None].expand(1, 80, -1)
    dense = model.condition(ramp, 5 * 32)[0, 0]  # 32 groups in a hop; frame 0 is centered half a hop in
    assert dense[16] == 0 and dense[48] == 1 and dense[32] == pytest.approx(0.5)
    assert dense[0] == 0 and dense[-1] == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"groups": 6}, "divisor of the hop"), ({"groups": 7}, "vocoder.groups"), ({"flows": 20}, "leave"),
     ({"kernel": 2}, "vocoder.kernel"), ({"sigma": -1}, "vocoder.sigma")],
)  # fmt: skip
def test_wrong_settings_are_told_in_a_line(settings: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        VOCODERS.build("waveglow", settings, {"spec": SPEC})
    assert "\n" not in str(caught.value)


def test_a_setting_that_is_anothers() -> None:
    with pytest.raises(UserError, match="vocoder.sigma=0.5: vocos has no such setting"):
        VOCODERS.build("vocos", {"dim": 8, "hidden": 8, "layers": 1}, {"spec": SPEC}).set_speaking({"sigma": 0.5})  # type: ignore[attr-defined]
