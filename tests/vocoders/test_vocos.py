"""Vocos: lengths and alignment for every spec, its size, what it sees and what it must not do."""

from dataclasses import replace

import pytest
import torch

from revoice.audio.features import FeatureExtractor, extract
from revoice.audio.presets import load_preset, preset_names
from revoice.audio.scale import to_log_magnitude
from revoice.errors import UserError
from revoice.nn.spectral import mel_l1, stft_distance
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.vocos import Vocos

TINY = {"dim": 16, "hidden": 24, "layers": 2}
SMALL = {"dim": 256, "hidden": 768, "layers": 6}


def noise(samples: int, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


def count(vocoder: Vocos) -> int:
    return sum(p.numel() for p in vocoder.parameters())


@pytest.mark.parametrize("name", preset_names())
def test_every_spec_gets_as_many_samples_as_it_says(name: str) -> None:
    torch.manual_seed(0)
    spec = load_preset(name)
    vocoder = VOCODERS.build("vocos", TINY, {"spec": spec})
    features = FeatureExtractor(spec)(noise(9 * spec.hop + 5))
    for frames in range(features.shape[2] + 1):
        made = vocoder(features[..., :frames])
        assert made.shape == (2, max(0, spec.samples(frames))) and torch.isfinite(made).all()
    made.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in vocoder.parameters())


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("n_fft", [None, 4])
def test_its_frames_lie_where_those_of_the_features_do(name: str, n_fft: int | None) -> None:
    """The STFT of a waveform, one frame for each of its features', is that waveform again, sample by sample."""
    spec = load_preset(name)
    vocoder = Vocos(spec, **TINY, n_fft=n_fft and n_fft * spec.hop)
    wave = noise(40 * spec.hop + 7, 1)
    frames = extract(wave[0], spec).shape[1]
    spectrum = vocoder.synthesis(wave)
    assert spectrum.shape[1:] == (frames, vocoder.synthesis.spec.n_fft // 2 + 1)
    back = vocoder.synthesis.inverse(spectrum)
    size = spec.samples(frames)
    torch.testing.assert_close(back, wave[:, :size], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["mel_22k", "mel_24k100"])
def test_an_edge_of_the_features_is_an_edge_of_the_sound(name: str) -> None:
    """A network that copies its input's level: what starts at a sample in the features starts there in the sound."""
    spec = load_preset(name)
    vocoder = Vocos(spec, dim=8, hidden=8, layers=1)
    start = 20 * spec.hop
    wave = noise(40 * spec.hop, 1)
    wave[:, :start] = 0
    loud = extract(wave[0], spec).mean(0) > spec.silence + 1
    frames = torch.where(loud)[0] * spec.hop + spec.frame_offset  # centers of those that hear something
    assert abs(int(frames[0]) - start) <= spec.n_fft // 2
    spectrum = torch.zeros(1, len(loud), vocoder.synthesis.spec.bins, dtype=torch.complex64)
    spectrum[0, loud] = vocoder.synthesis(wave)[0, loud]
    back = vocoder.synthesis.inverse(spectrum)
    torch.testing.assert_close(back, wave[:, : spec.samples(len(loud))], rtol=0, atol=1e-4)


def test_its_inverse_is_that_of_torch() -> None:
    torch.manual_seed(0)
    vocoder, features = Vocos(load_preset("mel_24k100"), **TINY), torch.randn(2, 100, 14)
    with torch.no_grad():
        spectrum = vocoder.spectrum(vocoder.backbone(features)).transpose(1, 2)
        expected = torch.istft(spectrum, 1024, 256, 1024, torch.hann_window(1024))
        torch.testing.assert_close(vocoder(features), expected, rtol=0, atol=1e-6)


def test_published_and_small_size() -> None:
    with torch.device("meta"):
        published = Vocos(load_preset("mel_24k100"))
        small = Vocos(load_preset("mel_22k"), **SMALL)
    assert count(published) == 13_531_650
    assert 2e6 < count(small) < 3e6


@pytest.mark.parametrize("name", [name for name in preset_names() if not load_preset(name).phase])
def test_it_sees_logarithms_of_magnitudes(name: str) -> None:
    spec = replace(load_preset(name), top_db=None)
    plain = replace(spec, scale="log", power=1, multiply=1.0, add=0.0, clip=None, floor=1e-7, floor_rule="max")
    wave = noise(20 * spec.hop)
    seen = to_log_magnitude(FeatureExtractor(spec)(wave), spec)
    silence = to_log_magnitude(torch.full((1, spec.channels, 1), spec.silence), spec).max()
    expected = FeatureExtractor(plain)(wave).clamp(min=float(silence))
    if spec.power == 2 and spec.mels:  # sums of powers are no powers of sums
        assert seen.min() > expected.min() - 3 and seen.max() < expected.max() + 3
    else:
        torch.testing.assert_close(seen, expected, rtol=0, atol=2e-3)


def test_phase_rows_stay() -> None:
    spec = load_preset("stft_16k")
    features = FeatureExtractor(spec)(noise(4000))
    seen = to_log_magnitude(features, spec)
    assert seen.shape == features.shape and torch.equal(seen[:, spec.rows :], features[:, spec.rows :])


def test_what_is_published_is_not_touched() -> None:
    features = torch.randn(1, 80, 5)
    assert to_log_magnitude(features, load_preset("mel_22k")) is features


def test_bfloat16_speaks_in_float32_and_an_overflow_teaches_nothing_wrong() -> None:
    torch.manual_seed(0)
    spec = load_preset("mel_22k")
    vocoder, features = Vocos(spec, **TINY), torch.randn(1, 80, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert vocoder(features).dtype == torch.float32
    with torch.no_grad():
        vocoder.out.bias[3] = 200.0  # exp overflows; published: at most 100
    assert vocoder.spectrum(vocoder.backbone(features))[..., 3].abs().max() < 100.001
    vocoder(features).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in vocoder.parameters())


def test_an_item_is_spoken_alone() -> None:
    torch.manual_seed(0)
    vocoder, features = Vocos(load_preset("mel_22k"), **TINY), torch.randn(3, 80, 12)
    torch.testing.assert_close(vocoder(features)[1:2], vocoder(features[1:2]), rtol=0, atol=1e-5)


def test_a_row_of_the_table_changes_the_sound() -> None:
    torch.manual_seed(0)
    spec, features = load_preset("mel_22k"), torch.randn(1, 80, 6)
    one, other = Vocos(spec, **TINY, rows=2), Vocos(spec, **TINY, rows=2, row=1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(features), other(features))  # untrained rows are alike
    for vocoder in (one, other):
        vocoder.norm.scale.data[1] = 3.0
    assert not torch.allclose(one(features), other(features))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_fft": 1023}, "vocoder.n_fft=1023: expected an even number from 256"),
        ({"n_fft": 128}, "vocoder.n_fft=128"),
        ({"rows": 2, "row": 2}, "vocoder.row=2"),
        ({"row": 1}, "vocoder.row=1"),
        ({"dim": 0}, "vocoder.dim=0"),
    ],
)
def test_wrong_settings_are_told_in_a_line(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        VOCODERS.build("vocos", arguments, {"spec": load_preset("mel_22k")})
    assert "\n" not in str(caught.value)


def test_it_learns_a_sound() -> None:
    """A few steps on a gliding tone in noise bring both distances down to well below those of silence."""
    torch.manual_seed(0)
    spec = load_preset("mel_22k")
    time = torch.arange(32 * spec.hop) / spec.sample_rate
    wave = (0.3 * torch.sin(2 * torch.pi * (200 * time + 300 * time**2)) + noise(len(time), 1) / 10).float()
    vocoder, extractor = Vocos(spec, dim=64, hidden=128, layers=2), FeatureExtractor(spec)
    features = extractor(wave)
    optimizer = torch.optim.AdamW(vocoder.parameters(), 3e-3)
    for _ in range(60):
        made = vocoder(features)
        loss = (stft_distance(made, wave) + mel_l1(made, wave, extractor)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    silence = torch.zeros_like(wave)
    assert mel_l1(made, wave, extractor) < 0.2 * mel_l1(silence, wave, extractor)
    assert stft_distance(made, wave) < 0.2 * stft_distance(silence, wave)


@pytest.mark.parametrize("preset", ["mel_22k", "mel_24k100", "adain_24k", "linear_16k", "log1p_22k"])
def test_projections_bring_a_waveform_nearer_to_its_features(preset: str) -> None:
    spec = load_preset(preset)
    vocoder = VOCODERS.build("vocos", {"dim": 16, "hidden": 16, "layers": 1}, {"spec": spec})
    assert isinstance(vocoder, Vocos)
    draw = torch.Generator().manual_seed(0)
    recording = torch.randn(1, 60 * spec.hop, generator=draw).cumsum(1)
    recording = 0.1 * (recording - recording.mean()) / recording.std()
    features = vocoder.extractor(recording)
    distances = []
    with torch.no_grad():
        for times in (0, 1, 8):
            vocoder.set_projections(times)
            said = vocoder(features)
            assert said.shape == (1, spec.samples(features.shape[2]))
            again = vocoder.extractor(said)[..., : features.shape[2]]
            distances.append(float((again - features[..., : again.shape[2]]).abs().mean()))
    assert distances[1] < 0.9 * distances[0] and distances[2] < 0.8 * distances[1]


def test_projections_are_refused_where_the_way_back_is_not_known() -> None:
    with pytest.raises(UserError, match="vocoder.projections=2"):
        VOCODERS.build("vocos", {"projections": 2}, {"spec": load_preset("stft_16k")})
