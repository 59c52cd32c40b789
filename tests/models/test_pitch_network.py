"""The pitch tracker that is trained here."""

import numpy as np
import pytest
import torch

from revoice.audio.pitch import pitch, pitch_for
from revoice.audio.pitch_network import BLOCK, CLASSES, HOP, PitchNetwork, class_hertz, classes, hertz, pitch_network
from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.data.fields.f0 import F0
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.models.pitch import Pitch
from revoice.nn.draws import Draws

RATE = 16000


def voice(low=110.0, high=220.0, seconds=1.0, rate=RATE, harmonics=20):
    """Something like a vowel that glides, and its f0 at every sample."""
    f0 = np.linspace(low, high, int(rate * seconds))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    heights = [1 / (1 + ((k * np.sqrt(low * high) - 500) / 400) ** 2) for k in range(1, harmonics)]
    return 0.1 * sum(a * np.sin(k * phase) for k, a in enumerate(heights, 1)), f0


def test_places_of_pitch_among_the_classes_and_back():
    f0 = torch.tensor([55.0, 123.4, 440.0, 900.0])
    place = classes(f0)
    logits = -0.5 * ((torch.arange(CLASSES) - place[:, None]) / 1.25).square()
    assert torch.allclose(hertz(logits), f0, rtol=3e-4)
    assert float(class_hertz()[0]) == 50.0 and abs(float(class_hertz()[-1]) - 1000) < 4


def test_the_range_is_kept():
    logits = torch.zeros(1, CLASSES)
    logits[0, 30] = 9.0  # 70 Hz
    assert float(hertz(logits, 100.0, 300.0)) == pytest.approx(105, rel=0.1)


def test_long_recordings_are_searched_in_blocks_that_cannot_be_told(monkeypatch):
    torch.manual_seed(0)
    network = PitchNetwork().eval()
    samples, _ = voice(seconds=6.0)
    whole = network.search(samples)
    monkeypatch.setattr("revoice.audio.pitch_network.BLOCK", 100)
    pieces = network.search(samples)
    assert BLOCK > len(whole) == len(pieces) == len(samples) // HOP + 1
    assert np.allclose(whole, pieces, rtol=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(4000), np.zeros(0), np.full(3000, 0.5), np.full(100, np.nan)])
def test_what_is_no_sound_is_unvoiced(samples):
    assert not pitch_network().search(samples).any()


@pytest.mark.parametrize("name", ["mel_22k", "mel_24k100", "whisper_16k", "stft_16k"])
def test_it_is_in_time_with_the_frames_of_every_spec(name):
    spec = load_preset(name)
    wave, truth = voice(rate=spec.sample_rate, seconds=2.0)
    found = pitch_for(wave, spec, method="network")
    assert found.f0.shape == (spec.frames(len(wave)),)
    centers = np.arange(len(found.f0)) * spec.hop + spec.frame_offset
    inside = found.voiced & (centers > 0.1 * len(wave)) & (centers < 0.9 * len(wave))
    assert inside.mean() > 0.75
    cents = 1200 * np.log2(found.f0[inside] / truth[centers[inside]])
    assert np.abs(cents).max() < 50


@pytest.mark.parametrize("name", ["mel_22k", "mel_24k100", "whisper_16k", "stft_16k"])
def test_it_is_a_little_early_on_glides(name):
    """Errors of pitch where it rises, less those where it falls: what is left is an error of time."""
    spec, errors = load_preset(name), []
    for ends in ((110.0, 220.0), (220.0, 110.0)):
        wave, truth = voice(*ends, rate=spec.sample_rate, seconds=2.0)
        found = pitch_for(wave, spec, method="network")
        centers = np.arange(len(found.f0)) * spec.hop + spec.frame_offset
        inside = found.voiced & (centers > 0.1 * len(wave)) & (centers < 0.9 * len(wave))
        errors.append((found.f0[inside] - truth[centers[inside]]).mean())
    early = 1000 * (errors[0] - errors[1]) / 2 / 55.0  # ms; the glides move by 55 Hz a second
    assert abs(early) < 5


def test_a_telephone_takes_the_fundamental_away_and_the_pitch_stays():
    wave, truth = voice(100.0, 130.0, seconds=2.0, harmonics=30)
    spectrum, at = np.fft.rfft(wave), np.fft.rfftfreq(len(wave), 1 / RATE)
    heard = np.fft.irfft(np.where((at > 300) & (at < 3400), spectrum, 0), len(wave))
    heard = heard + 1e-3 * np.random.default_rng(0).normal(size=len(heard))
    found = pitch(heard, RATE, HOP, 200, method="network").f0
    inside = slice(20, 180)
    cents = 1200 * np.abs(np.log2(np.maximum(found[inside], 1) / truth[np.arange(20, 180) * HOP]))
    assert np.median(cents) < 20 and (cents < 100).mean() > 0.9


def test_noise_is_unvoiced():
    found = pitch(0.1 * np.random.default_rng(0).normal(size=RATE), RATE, HOP, 100, method="network")
    assert found.voiced.mean() < 0.05


def test_wrong_ranges_are_one_line():
    with pytest.raises(UserError, match=r"50\.\.1000"):
        pitch(np.zeros(RATE), RATE, HOP, 100, method="network", floor=1000.0, ceil=2000.0)
    with pytest.raises(UserError, match=r"50\.\.1000"):
        F0(load_preset("mel_22k"), method="network", floor=997.0, ceil=2000.0)  # no class lies there
    with pytest.raises(UserError, match="features=whisper_16k"):
        MODELS.build("pitch", {}, facts={"sample_rate": 22050, "hop": 256})
    with pytest.raises(UserError, match="16000 Hz or more"):
        F0(FeatureSpec(sample_rate=8000, n_fft=512, hop=128, win=512), method="world")


def test_contours_of_other_weights_are_stored_elsewhere(monkeypatch):
    field = F0(load_preset("mel_22k"), method="network")
    key = field.key
    monkeypatch.setattr("revoice.data.fields.f0.weights_mark", lambda: "others")
    assert field.key != key
    dio = F0(load_preset("mel_22k"))
    assert "weights" not in dio.parameters()


def batch(draws):
    wave, f0 = voice(seconds=1.92)
    waveform = torch.from_numpy(np.stack([wave, 0.5 * wave])).float()
    contour = torch.from_numpy(f0[::HOP]).float().expand(2, -1).clone()
    contour[1, :40], waveform[1, : 40 * HOP] = 0, 0
    features = torch.zeros(2, 80, contour.shape[1])
    lengths = torch.tensor([192, 150])
    return Batch(id=("a", "b"), features=features, lengths=lengths, f0=contour, waveform=waveform, draws=draws)


def test_losses_are_finite_and_what_is_padding_does_not_count():
    torch.manual_seed(0)
    model = Pitch(channels=16, hidden=16, dilations=(1,))
    given = batch(Draws(0, 0, 0, 2, 2))
    losses = model.losses(given)
    assert set(losses) == {"pitch", "voicing"} and all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    clean = batch(None)
    before = model.losses(clean)
    clean.f0[1, 150:] = 500.0
    assert all(torch.equal(before[k], v) for k, v in model.losses(clean).items())


def test_it_learns_a_glide():
    torch.manual_seed(0)
    model = Pitch(channels=32, hidden=32, dilations=(1, 1))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    given = batch(None)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model.losses(given).values()).backward()
        optimizer.step()
    measured = model.measures(given)
    assert measured["right"] > 0.9 and measured["voicing"] < 0.1
