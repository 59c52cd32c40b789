"""The feature function: batches, lengths, precision, the way back, published values."""

import json
from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from revoice.audio.condition import condition
from revoice.audio.features import FeatureExtractor, extract, extractor
from revoice.audio.mel import mel_basis
from revoice.audio.presets import load_preset, preset_names
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError

SPECS = {name: load_preset(name) for name in preset_names()}


def harmonics(samples, rate, hz=140.0, seed=0):
    time = np.arange(samples) / rate
    noise = np.random.default_rng(seed).normal(0, 0.003, samples)
    wave = sum(np.sin(2 * np.pi * hz * k * time + k * k) / k for k in range(1, 20))
    return torch.from_numpy((0.2 * wave * (1 + 0.5 * np.sin(9 * time)) + noise).astype(np.float32))


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.mels])
def test_mel_bands_equal_librosa(name):
    spec = SPECS[name]
    expected = librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.mels,
        fmin=spec.fmin,
        fmax=spec.top_frequency,
        htk=spec.mel_scale == "htk",
        norm=None if spec.mel_norm == "none" else "slaney",
    )
    np.testing.assert_allclose(mel_basis(spec), expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize("name", SPECS)
def test_an_item_of_a_batch_is_as_if_alone(name, pad_mode):
    spec = replace(SPECS[name], pad_mode=pad_mode)
    lengths = [9600, 4000, 7680, spec.hop * 12]
    clips = [harmonics(n, spec.sample_rate, 100 + 30 * i, i) for i, n in enumerate(lengths)]
    batch = torch.full((len(clips), 9600), 7.0)  # what lies behind an item's end must not matter
    for row, clip in enumerate(clips):
        batch[row, : len(clip)] = clip
    together = FeatureExtractor(spec)(batch, torch.tensor(lengths))
    assert together.dtype == torch.float32 and together.shape[2] == spec.frames(9600)
    silence = torch.tensor(spec.silence_frame)[:, None]
    for row, clip in enumerate(clips):
        alone = extract(clip, spec)
        found = together[row, :, : alone.shape[1]]
        if spec.phase:  # an angle at the border of -pi and pi may fall on either side
            turned = (found[spec.rows :] - alone[spec.rows :] + 0.5) % 1 - 0.5
            loud = alone[: spec.rows] > 0.3
            assert turned[loud].abs().max() < 1e-3
            found, alone = found[: spec.rows], alone[: spec.rows]
        torch.testing.assert_close(found, alone, atol=2e-4, rtol=1e-4)
        rest = together[row, :, spec.frames(len(clip)) :]
        assert torch.equal(rest, silence.expand_as(rest))


@pytest.mark.parametrize("name", ["mel_22k", "mel_24k100", "log1p_22k"])
@pytest.mark.parametrize("samples", [300, 513, 700])
def test_clips_shorter_than_the_padding_are_reflected_again(name, samples):
    spec = SPECS[name]
    wave = harmonics(samples, spec.sample_rate)
    padded = torch.from_numpy(np.pad(wave.numpy(), spec.pad, mode="reflect"))
    expected = torch.stft(
        padded, spec.n_fft, spec.hop, spec.win, torch.hann_window(spec.win), center=False, return_complex=True
    ).abs()
    found = extract(wave, replace(spec, mels=0, scale="linear", fmin=0, fmax=None))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_clip_without_a_frame_is_refused():
    with pytest.raises(UserError, match="200 samples is too short"):
        extract(torch.zeros(200), SPECS["mel_22k"])
    with pytest.raises(UserError, match="too short"):
        extract(torch.zeros(0), SPECS["log1p_22k"])
    with pytest.raises(UserError, match="too short"):
        FeatureExtractor(SPECS["mel_22k"])(torch.zeros(2, 4000), torch.tensor([4000, 100]))


def test_autocast_does_not_touch_the_precision():
    wave = harmonics(8000, 22050)[None]
    module = FeatureExtractor(SPECS["mel_22k"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = module(wave)
    assert torch.equal(inside, module(wave))


@pytest.mark.parametrize("name", sorted(SPECS))
def test_gradients_are_finite_even_in_silence(name):
    wave = torch.cat([torch.zeros(2, 6000), harmonics(6000, 22050).expand(2, -1)], 1).requires_grad_()
    FeatureExtractor(SPECS[name])(wave, torch.tensor([12000, 9000])).sum().backward()
    assert wave.grad is not None and torch.isfinite(wave.grad).all() and (wave.grad.abs().sum(1) > 0).all()
    assert not wave.grad[1, 9000:].any()  # padding


def test_the_gradient_of_a_high_pass_is_that_of_small_differences():
    spec = SPECS["speechsplit_16k"]
    wave = harmonics(12000, 16000)[None].double().requires_grad_()
    weights = torch.randn(1, 12000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    passed = lambda x: (condition(x, None, spec)[0][:, :12000] * weights).sum()  # noqa: E731
    (found,) = torch.autograd.grad(passed(wave), wave)
    with torch.no_grad():
        for place in (5000, 6000, 6001, 7000):
            step = torch.zeros(1, 12000, dtype=torch.float64)
            step[0, place] = 1e-4
            expected = (passed(wave + step) - passed(wave - step)) / 2e-4
            assert float(found[0, place]) == pytest.approx(float(expected), abs=1e-3)


def test_gradients_of_gradients_pass_a_high_pass():
    wave = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    made = condition(wave, None, replace(SPECS["mel_22k"], highpass=100))[0]
    (first,) = torch.autograd.grad(made.square().sum(), wave, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), wave)
    assert torch.isfinite(second).all() and second.abs().sum() > 0


def test_long_inputs_are_computed_in_blocks_without_seams():
    spec = SPECS["mel_22k"]
    wave = harmonics(22050 * 12, 22050)
    piece = extract(wave[256 * 300 : 256 * 400], spec)
    torch.testing.assert_close(extract(wave, spec)[:, 302:398], piece[:, 2:98], atol=1e-3, rtol=1e-4)


def test_numpy_in_and_one_cached_extractor():
    wave = harmonics(8000, 22050)
    assert torch.equal(extract(wave.numpy(), SPECS["mel_22k"]), extract(wave, SPECS["mel_22k"]))
    assert extractor(SPECS["mel_22k"]) is extractor(replace(SPECS["mel_22k"]))


def test_a_first_use_in_inference_mode_does_not_spoil_later_training():
    spec = replace(SPECS["mel_22k"], fmax=7654.0)
    with torch.inference_mode():
        module = extractor(spec)
        module.to_magnitude(module(harmonics(4000, 22050)[None]))
    wave = harmonics(4000, 22050)[None].requires_grad_()
    extractor(spec).to_magnitude(extractor(spec)(wave)).sum().backward()
    assert wave.grad is not None


def test_top_db_is_relative_to_the_loudest_value_of_each_item():
    spec = SPECS["db_16k384"]
    wave = harmonics(8192, 16384)
    both = FeatureExtractor(spec)(torch.stack([wave, 0.01 * wave]))
    torch.testing.assert_close(both.amax((1, 2)) - both.amin((1, 2)), torch.tensor([80.0, 80.0]))
    assert (both[0].max() - both[1].max()).item() == pytest.approx(40, abs=1e-3)


@pytest.mark.parametrize(("scale", "top_db"), [("db", 60.0), ("db", None), ("log", None), ("linear", None)])
def test_an_utterance_reference_forgets_the_level(scale, top_db):
    spec = FeatureSpec(
        sample_rate=16000, n_fft=512, hop=128, win=512, mels=40, scale=scale, reference="utterance", top_db=top_db
    )
    wave = harmonics(8000, 16000)
    quiet = torch.cat([0.01 * wave, torch.zeros(2000)])
    both = FeatureExtractor(spec)(
        torch.stack([torch.cat([wave, torch.zeros(2000)]), quiet]), torch.tensor([8000, 8000])
    )
    torch.testing.assert_close(both[0], both[1], atol=1e-3, rtol=1e-3)
    assert both.max().item() == pytest.approx(1.0 if scale == "linear" else 0.0, abs=1e-5)
    assert both[0, 0, -1].item() == pytest.approx(spec.silence)
    assert torch.isfinite(extract(torch.zeros(4000), spec)).all()


def test_features_of_librosa_for_zerospeech_and_speech2speech():
    wave = harmonics(16000, 16000).numpy()
    spec = SPECS["zerospeech_16k"]
    loud = wave / np.abs(wave).max() * 0.999
    emphasized = np.append(loud[0], loud[1:] - 0.97 * loud[:-1])
    sizes = {"n_fft": 2048, "hop_length": 160, "win_length": 400, "pad_mode": "reflect"}
    mel = librosa.feature.melspectrogram(y=emphasized, sr=16000, n_mels=80, fmin=50, power=1, **sizes)
    expected = librosa.amplitude_to_db(mel, top_db=80) / 80 + 1
    np.testing.assert_allclose(extract(wave, spec).numpy(), expected, atol=1e-4)
    linear = np.abs(librosa.stft(wave, pad_mode="reflect"))
    np.testing.assert_allclose(extract(wave, SPECS["linear_16k"]).numpy(), linear, atol=1e-4)
    decibels = librosa.amplitude_to_db(np.abs(librosa.stft(wave, n_fft=512, pad_mode="reflect")), top_db=80)
    np.testing.assert_allclose(extract(wave, SPECS["db_16k384"]).numpy(), decibels, atol=2e-2)


def test_the_two_images_of_pix2pix():
    wave = harmonics(16000, 16000)
    spectrum = librosa.stft(wave.numpy(), n_fft=256, hop_length=64, pad_mode="reflect")[:128]
    found = extract(wave, SPECS["stft_16k"]).numpy()
    np.testing.assert_allclose(found[:128], np.clip(np.log10(np.abs(spectrum) + 1e-6) * 0.1 + 0.6, 0, 1), atol=2e-4)
    turned = (found[128:] - np.angle(spectrum) / (2 * np.pi)) % 1 - 0.5
    assert np.abs(turned[np.abs(spectrum) > 1e-2]).max() < 1e-3
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("name", SPECS)
def test_to_magnitude_undoes_the_scale(name):
    spec = replace(SPECS[name], mel_inverse="nonnegative")
    wave = harmonics(12000, spec.sample_rate)
    module = FeatureExtractor(spec)
    magnitude = module.to_magnitude(module(wave[None]))
    assert magnitude.shape == (1, spec.bins, spec.frames(12000)) and magnitude.min() >= 0
    plain = {"mels": 0, "fmax": None, "phase": False, "drop_top": 0, "scale": "linear", "power": 1}
    true = extract(wave, replace(spec, **plain, top_db=None, multiply=1, add=0, clip=None))
    kept = slice(0, spec.bins - spec.drop_top)
    error = float((magnitude[0, kept] - true[kept]).norm() / true[kept].norm())
    assert error < (0.45 if spec.mels else 2e-3), error


@pytest.mark.parametrize("how", ["nonnegative", "pinv", "transpose"])
def test_each_mel_inverse_is_non_negative_and_close(how):
    spec = replace(SPECS["mel_22k"], mel_inverse=how)
    module = FeatureExtractor(spec)
    features = module(harmonics(12000, 22050)[None])
    magnitude = module.to_magnitude(features)
    bands = torch.from_numpy(mel_basis(spec)).float() @ magnitude[0]
    error = float((bands - features[0].exp()).norm() / features[0].exp().norm())
    assert magnitude.min() >= 0 and error < {"nonnegative": 0.02, "pinv": 0.2, "transpose": 0.6}[how], error


@pytest.mark.parametrize("name", ["adain_24k", "speechsplit_16k", "mel_22k"])
def test_invert_waveform_undoes_pre_emphasis_and_gain(name):
    spec = replace(SPECS[name], highpass=0, dither=0, tail=0)
    wave = harmonics(9000, 16000)[None]
    changed, _ = condition(wave, None, spec)
    torch.testing.assert_close(FeatureExtractor(spec).invert_waveform(changed), wave, atol=2e-5, rtol=1e-4)


def test_the_high_pass_removes_hum_without_delay():
    rate, time = 16000, torch.arange(16000) / 16000
    hum, voice = 0.3 * torch.sin(2 * torch.pi * 8 * time), 0.3 * torch.sin(2 * torch.pi * 300 * time)
    spec = replace(SPECS["speechsplit_16k"], gain=1.0, dither=0.0, sample_rate=rate)
    found, _ = condition((hum + voice)[None], None, spec)
    torch.testing.assert_close(found[0, 2000:-2000], voice[2000:-2000], atol=5e-3, rtol=0)
    short, _ = condition(voice[None, :5], None, spec)
    assert torch.isfinite(short).all()


@pytest.mark.parametrize("name", ["vocos_center", "vocos_same", "vocos_adanorm_same"])
def test_vocos_mel_equals_the_published_one(shared, name):
    folder = shared / "parity" / "vocos"
    tensors = load_file(folder / f"{name}.safetensors")
    described = json.loads((folder / f"{name}.json").read_text())
    given = described["config"]["vocos"]["feature_extractor"]["init_args"]
    spec = replace(
        SPECS["mel_24k100"],
        sample_rate=given["sample_rate"],
        n_fft=given["n_fft"],
        win=given["n_fft"],
        hop=given["hop_length"],
        mels=given["n_mels"],
        padding=given["padding"],
        fmax=None,
    )
    tolerance = described["outputs_noise"]["mel_of_audio"]["suggested_atol"]
    found = FeatureExtractor(spec)(tensors["in/audio"])
    torch.testing.assert_close(found, tensors["out/mel_of_audio"], atol=tolerance, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", SPECS)
def test_a_gpu_gives_what_a_cpu_gives(name):
    spec = SPECS[name]
    wave, lengths = torch.stack([harmonics(9600, 16000), harmonics(9600, 16000, 90)]), torch.tensor([9600, 8000])
    on_gpu = FeatureExtractor(spec).cuda()(wave.cuda(), lengths).cpu()[:, : spec.rows]
    torch.testing.assert_close(on_gpu, FeatureExtractor(spec)(wave, lengths)[:, : spec.rows], atol=2e-3, rtol=1e-3)
