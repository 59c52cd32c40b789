"""The vocoder that is told the pitch: harmonics and noise through filters."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from revoice.audio.features import FeatureExtractor, extract
from revoice.audio.pitch import pitch_for
from revoice.audio.presets import load_preset, preset_names
from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.nn.draws import Draws
from revoice.vocoders.excitation import harmonics
from revoice.vocoders.source_filter import SourceFilter

SMALL: dict[str, Any] = {"dim": 16, "hidden": 16, "layers": 1}
SPEC = load_preset("mel_22k")


def vocoder(spec: FeatureSpec = SPEC, **settings: Any) -> SourceFilter:
    torch.manual_seed(0)
    made = SourceFilter(spec, **{**SMALL, **settings}).eval()
    torch.nn.init.normal_(made.out.weight, std=0.02)  # as if it had learned something
    return made


def batch(draws: bool = True, **more: Any) -> Batch:
    wave = 0.1 * torch.randn(4, 32 * 256, generator=torch.Generator().manual_seed(1))
    f0 = torch.where(torch.rand(4, 32, generator=torch.Generator().manual_seed(2)) > 0.3, 140.0, 0.0)
    drawn = Draws(0, 3, 0, 4, 4) if draws else None
    features = FeatureExtractor(SPEC)(wave)
    lengths = torch.full((4,), 32)
    return Batch(id=("",) * 4, features=features, lengths=lengths, f0=f0, waveform=wave, draws=drawn, **more)


def test_harmonics_are_the_sum_of_all_cosines_below_half_the_rate() -> None:
    rate, hertz = SPEC.sample_rate, 130.0
    made = harmonics(torch.full((1, 60), hertz), SPEC)[0].double()
    time = (torch.arange(len(made), dtype=torch.float64) + 1) / rate
    count = int(rate / 2 / hertz)
    waves = [torch.cos(2 * torch.pi * hertz * k * time) for k in range(1, count + 1)]
    torch.testing.assert_close(made, torch.stack(waves).sum(0) / (count / 2) ** 0.5, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", preset_names())
def test_harmonics_have_unit_power_for_every_spec_and_pitch(name: str) -> None:
    spec = load_preset(name)
    f0 = torch.stack([torch.full((80,), 70.0), torch.full((80,), 550.0), torch.zeros(80)])
    made = harmonics(f0, spec)
    assert made.shape == (3, spec.samples(80))
    assert made.square().mean(1).tolist() == pytest.approx([1.0] * 3, rel=0.1)


def test_the_pitch_is_the_one_that_was_asked_for_whatever_the_features_say() -> None:
    asked = torch.linspace(110.0, 220.0, 150)[None]
    features = extract(0.1 * harmonics(torch.full_like(asked, 100.0), SPEC)[0].numpy(), SPEC)[None]
    speaking = SourceFilter(SPEC, **SMALL).eval()
    with torch.no_grad():
        speaking.out.bias[2 * SPEC.bins :] = -4  # little noise, which is all that this needs to learn
        made = speaking(features, f0=asked)[0]
    heard = pitch_for(made.numpy(), SPEC).f0
    assert (heard[5:-5] > 0).all()
    np.testing.assert_allclose(heard[5:-5], asked[0].numpy()[5:-5], rtol=0.02)


@pytest.mark.parametrize("name", ["mel_22k", "mel_24k100", "linear_16k", "whisper_16k", "adain_24k"])
def test_what_is_said_is_about_as_loud_as_the_features_before_anything_was_learned(name: str) -> None:
    """Harmonics and noise both begin as loud as the features: 3 dB too much together."""
    spec = load_preset(name)
    noise = torch.from_numpy(0.05 * np.random.default_rng(0).standard_normal(spec.hop * 120)).float()
    features = extract(noise.numpy(), spec)[None]
    with torch.no_grad():
        made = SourceFilter(spec, **SMALL).eval()(features, f0=torch.zeros(1, features.shape[2]))
    assert float(made.square().mean() / noise.square().mean()) == pytest.approx(2.0, rel=0.5)


def test_it_says_the_same_twice_and_in_any_company() -> None:
    speaking, given = vocoder(), batch()
    assert given.f0 is not None
    with torch.no_grad():
        together = speaking(given.features, given.f0)
        assert torch.equal(together, speaking(given.features, given.f0))
        alone = speaking(given.features[1:2], given.f0[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(vocoder(seed=1)(given.features, given.f0), together)


def test_pitch_that_nobody_tells_is_measured() -> None:
    asked = torch.full((1, 120), 150.0)
    features = extract(0.1 * harmonics(asked, SPEC)[0].numpy(), SPEC)[None]
    found = vocoder().pitch_of(features)[0]
    assert found.shape == (120,)
    voiced = found[found > 0]
    assert len(voiced) > 90 and float(voiced.median()) == pytest.approx(150.0, rel=0.02)
    with torch.no_grad():
        assert torch.equal(vocoder()(features), vocoder()(features, f0=found[None]))


def band_limited(wave: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(wave)
    spectrum[:, torch.fft.rfftfreq(wave.shape[1], 1 / SPEC.sample_rate) > 8000] = 0
    return torch.fft.irfft(spectrum, n=wave.shape[1])


def test_what_a_recording_has_no_band_for_is_not_asked() -> None:
    given = batch()
    assert given.waveform is not None
    half = torch.cat([band_limited(given.waveform[:2]), given.waveform[2:]])
    fake = vocoder().said(replace(given, waveform=half), given.features)
    power = torch.fft.rfft(fake.detach()).abs().square()
    above = torch.fft.rfftfreq(fake.shape[1], 1 / SPEC.sample_rate) > 8100
    share = power[:, above].sum(1) / power.sum(1)
    assert (share[:2] < 1e-8).all() and (share[2:] > 1e-3).all()


def test_some_segments_hear_the_recording_where_others_hear_a_model() -> None:
    given = batch(generated=torch.full((4, 80, 32), -3.0))
    real = given.waveform
    assert real is not None
    recorded = vocoder().extractor(real)

    def which(share: float) -> list[bool]:
        heard = vocoder(generated=True, recorded_share=share)._heard(given, real)
        return [bool(torch.equal(one, other)) for one, other in zip(heard, recorded, strict=True)]

    assert which(0.0) == [False] * 4
    some = which(0.5)
    assert True in some and False in some
    measured = replace(given, draws=None)  # all hear the model where it is measured
    heard = vocoder(generated=True, recorded_share=0.5)._heard(measured, real)
    assert measured.generated is not None and torch.equal(heard, measured.generated)


def test_segments_are_said_with_noise_of_their_own_and_learned_from() -> None:
    speaking, given = vocoder(), batch()
    play = speaking.train().play(given)
    assert play.fake is not None and play.fake.shape == (4, 32 * 256)
    sum(play.losses.values()).backward()  # type: ignore[union-attr]
    assert all(one.grad is not None and one.grad.isfinite().all() for one in speaking.parameters())
    other = speaking.play(replace(given, draws=Draws(0, 4, 0, 4, 4)))
    assert other.fake is not None and not torch.allclose(other.fake, play.fake)


@pytest.mark.parametrize("name", ["stft_16k", "speechsplit_16k"])
def test_features_that_it_cannot_speak_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected features without phases, high-pass and a level of their own"):
        SourceFilter(load_preset(name))
