"""Griffin-Lim for every spec, against librosa's and against itself."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from revoice.audio.features import FeatureExtractor, extract
from revoice.audio.presets import load_preset, preset_names
from revoice.audio.stft import Stft
from revoice.errors import UserError
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.griffin_lim import GriffinLim, griffin_lim, initial_phase


def speechlike(samples, rate, hz=150.0):
    time = torch.arange(samples) / rate
    wave = sum(torch.sin(2 * torch.pi * hz * k * time + k * k) / k for k in range(1, 15))
    return 0.2 * wave * (1 + 0.5 * torch.sin(8 * time))


def convergence(wave, magnitude, stft):
    return float((stft(wave).abs() - magnitude).norm() / magnitude.norm())


@pytest.mark.parametrize("name", preset_names())
def test_every_spec_gets_a_waveform_that_has_its_features(name):
    spec = load_preset(name)
    wave = speechlike(12000, spec.sample_rate)
    features = extract(wave, spec)[None]
    vocoder = GriffinLim(spec)
    made = vocoder(features)
    assert made.shape == (1, spec.samples(features.shape[2])) and torch.isfinite(made).all()
    again = FeatureExtractor(spec)(made)
    frames = again.shape[2]
    error = (again - features[..., :frames])[:, : spec.rows].abs().mean()
    spread = features[:, : spec.rows].std()
    assert error < 0.35 * spread, (error, spread)


def test_features_with_phase_come_back_as_the_waveform():
    spec = load_preset("stft_16k")
    wave = speechlike(16000, 16000)
    made = GriffinLim(spec)(extract(wave, spec)[None])[0]
    assert made.shape == (16000,)
    torch.testing.assert_close(made, wave, atol=2e-3, rtol=0)
    silent = GriffinLim(spec)(torch.tensor(spec.silence_frame)[None, :, None].expand(1, -1, 30))
    assert silent.abs().max() < 1e-6


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_few_frames_are_enough(name, frames):
    spec = load_preset(name)
    made = GriffinLim(spec, iterations=2)(torch.zeros(2, spec.channels, frames))
    assert made.shape == (2, spec.samples(frames)) and torch.isfinite(made).all()


def test_items_do_not_influence_each_other_and_the_seed_decides():
    spec = load_preset("mel_22k")
    features = torch.stack([extract(speechlike(9000, 22050, hz), spec) for hz in (110, 160, 230)])
    vocoder = GriffinLim(spec, iterations=5)
    together = vocoder(features)
    torch.testing.assert_close(together[1:2], vocoder(features[1:2]), atol=1e-4, rtol=0)
    assert torch.equal(together, GriffinLim(spec, iterations=5)(features))
    assert not torch.allclose(together, GriffinLim(spec, iterations=5, seed=1)(features), atol=1e-2)


def test_more_iterations_and_momentum_come_closer():
    spec = replace(load_preset("mel_22k_tacotron"), mels=0, fmax=None)
    stft, wave = Stft(spec), speechlike(16000, 22050)[None]
    magnitude = stft(wave).abs()
    start = initial_phase(magnitude, "random", 0)
    errors = {
        (n, m): convergence(griffin_lim(magnitude, stft, start, n, m), magnitude, stft)
        for n, m in ((0, 0.0), (8, 0.0), (32, 0.0), (32, 0.99))
    }
    assert errors[0, 0.0] > errors[8, 0.0] > errors[32, 0.0] > errors[32, 0.99]


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_as_good_as_librosa_at_equal_iterations(momentum):
    spec = replace(load_preset("mel_22k_tacotron"), mels=0, fmax=None)
    stft = Stft(spec)
    magnitude = stft(speechlike(12000, 22050)[None]).abs()
    ours = griffin_lim(magnitude, stft, initial_phase(magnitude, "random", 0), 20, momentum)
    sizes = {"hop_length": 256, "win_length": 1024, "pad_mode": "reflect"}
    theirs = librosa.griffinlim(magnitude[0].T.numpy(), n_iter=20, momentum=momentum, random_state=0, **sizes)
    reference = convergence(torch.from_numpy(theirs)[None], magnitude, stft)
    assert convergence(ours, magnitude, stft) < 1.25 * reference


def test_the_classic_form_keeps_the_published_iteration():
    spec = load_preset("adain_24k")
    magnitude = Stft(spec, torch.float64)(speechlike(9000, 24000).double()[None]).abs()
    ours = griffin_lim(magnitude, Stft(spec, torch.float64), initial_phase(magnitude, "zero", 0), 2)[0].numpy()
    sizes = {"hop_length": 300, "win_length": 1200}
    target = magnitude[0].T.numpy()
    wave = librosa.istft(target.astype(complex), n_fft=2048, **sizes)
    for _ in range(2):
        estimate = librosa.stft(wave, n_fft=2048, pad_mode="reflect", dtype=complex, **sizes)
        wave = librosa.istft(target * estimate / np.maximum(1e-8, np.abs(estimate)), n_fft=2048, **sizes)
    np.testing.assert_allclose(ours, wave, atol=1e-9)


def test_the_registry_knows_it_and_checks_its_settings():
    spec = load_preset("mel_22k")
    vocoder = VOCODERS.build("griffin_lim", {"iterations": 3}, {"spec": spec, "unused": 1})
    assert vocoder.spec is spec and vocoder.fingerprint == spec.fingerprint
    assert isinstance(vocoder, GriffinLim) and vocoder.iterations == 3
    with pytest.raises(UserError, match="did you mean 'zero'"):
        GriffinLim(spec, init="zeros")
    with pytest.raises(UserError, match="iterations"):
        GriffinLim(spec, iterations=-1)
    with pytest.raises(UserError, match="momentum"):
        GriffinLim(spec, momentum=1.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_a_cpu_gives():
    spec = load_preset("mel_22k")
    features = torch.stack([extract(speechlike(9000, 22050, hz), spec) for hz in (110, 160)])
    on_gpu = GriffinLim(spec, iterations=2).cuda()(features.cuda()).cpu()
    torch.testing.assert_close(on_gpu, GriffinLim(spec, iterations=2)(features), atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", ["log1p_22k", "db_16k384"])
def test_the_phases_of_a_waveform_give_it_back(name):
    spec = load_preset(name)
    wave = speechlike(9000, spec.sample_rate)
    features = extract(wave, spec)[None]
    made = GriffinLim(spec, iterations=0)(features, like=wave[None])
    size = min(made.shape[1], 8000)
    assert (made[0, 500:size] - wave[500:size]).abs().max() < 0.02 * wave.abs().max()
    longer = torch.cat([features, features], dim=2)
    assert GriffinLim(spec, iterations=2)(longer, like=wave[None]).isfinite().all()


PUBLISHED = {
    "AdaIN-VC": {"iterations": 100, "momentum": 0.0, "init": "zero"},
    "speech2speech": {"iterations": 32, "momentum": 0.99, "init": "random"},
    "random-CNN": {"iterations": 50, "momentum": 0.0, "init": "random"},
}


@pytest.mark.parametrize("system", PUBLISHED)
def test_published_settings_can_be_chosen(system):
    spec = replace(load_preset("mel_22k_tacotron"), mels=0, fmax=None)
    wave = speechlike(8000, spec.sample_rate)[None]
    vocoder = VOCODERS.build("griffin_lim", PUBLISHED[system], {"spec": spec})
    stft = Stft(spec)
    made = vocoder(extract(wave[0], spec)[None])
    assert convergence(made, stft(wave).abs()[:, : stft(made).shape[1]], stft) < 0.25
    assert vocoder.settings.items() >= PUBLISHED[system].items()


def test_a_band_is_kept_and_the_rest_is_not():
    spec = load_preset("linear_16k")
    time = torch.arange(16000) / 16000
    wave = sum(torch.sin(2 * torch.pi * hz * time) for hz in (60.0, 1000.0, 7600.0))
    features = extract(0.2 * wave, spec)[None]
    made, kept = (GriffinLim(spec, band=band)(features)[0] for band in (None, (300.0, 4000.0)))
    before, after = (torch.fft.rfft(each[2000:14000]).abs() for each in (made, kept))
    places = [round(hz * 12000 / 16000) for hz in (60, 1000, 7600)]
    low, middle, high = (float(after[p - 2 : p + 3].max() / before[p - 2 : p + 3].max()) for p in places)
    assert low < 0.1 and high < 0.01 and middle == pytest.approx(1, abs=0.02) and kept.shape == made.shape
    with pytest.raises(UserError, match="vocoder.band"):
        GriffinLim(spec, band=(300.0, 9000.0))
