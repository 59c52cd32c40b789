"""Parity holds at other sizes and seeds: fixtures made here by the published recipe, written out with librosa."""

import json

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import signal

from revoice.interop.fixture import load_fixture
from revoice.interop.parity import compare


def clip(samples, rate, seed):
    rng, time = np.random.default_rng(seed), np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 280) * (1 + 0.1 * np.sin(2 * np.pi * 2 * time))) / rate
    wave = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 25)) * (0.6 + 0.4 * np.sin(7 * time))
    quiet = np.interp(time, [0, 0.1, time[-1] - 0.1, time[-1]], [1e-4, 1, 1, 1e-4])
    return (0.1 * quiet * (wave + rng.normal(0, 0.02, samples))).astype(np.float32)


def write(folder, case, config, inputs, outputs, tolerance):
    tensors = {f"in/{k}": v for k, v in inputs.items()} | {f"out/{k}": v for k, v in outputs.items()}
    save_file({k: torch.from_numpy(np.array(v, order="C")) for k, v in tensors.items()}, folder / "f.safetensors")
    noise = {name: {"suggested_atol": tolerance[name]} for name in outputs}
    (folder / "f.json").write_text(json.dumps({"case": case, "config": config, "outputs_noise": noise}))
    return load_fixture(folder / "f.json")


def failures(fixture):
    return [row for row in compare(fixture) if not row.ok]


SIZES = [
    {"sr": 24000, "n_fft": 2048, "hop_length": 300, "win_length": 1200, "n_mels": 512, "ref_db": 20, "max_db": 100},
    {"sr": 16000, "n_fft": 1024, "hop_length": 200, "win_length": 800, "n_mels": 80, "ref_db": 15, "max_db": 110},
    {"sr": 22050, "n_fft": 1024, "hop_length": 240, "win_length": 1000, "n_mels": 300, "ref_db": 20, "max_db": 100},
]
REST = {"preemphasis": 0.97, "top_db": 20, "floor": 1e-5, "clip": [1e-8, 1]}


def published_mel(wav, c, pad_mode):
    emphasized = np.append(wav[0], wav[1:] - np.float32(c["preemphasis"]) * wav[:-1])
    stft = librosa.stft(
        emphasized, n_fft=c["n_fft"], hop_length=c["hop_length"], win_length=c["win_length"], pad_mode=pad_mode
    )
    mel = librosa.filters.mel(sr=c["sr"], n_fft=c["n_fft"], n_mels=c["n_mels"]) @ np.abs(stft)
    decibels = 20 * np.log10(np.maximum(c["floor"], mel))
    return np.clip((decibels - c["ref_db"] + c["max_db"]) / c["max_db"], *c["clip"]).T.astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("sizes", SIZES, ids=["published", "16k", "22k"])
def test_adain_features(tmp_path, sizes, seed):
    config = sizes | REST
    wav = clip(20011 + 977 * seed, config["sr"], seed)
    kept, index = librosa.effects.trim(wav, top_db=config["top_db"])
    outputs = {f"mel_{mode}": published_mel(kept, config, mode) for mode in ("reflect", "constant")}
    outputs["trim_index"] = index.astype(np.int64)
    tolerance = {"mel_reflect": 2e-5, "mel_constant": 2e-5, "trim_index": 0}
    assert failures(write(tmp_path, "adain_features", config, {"wav": wav}, outputs, tolerance)) == []


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("sizes", SIZES, ids=["published", "16k", "22k"])
def test_adain_inverse(tmp_path, sizes, seed):
    c = sizes | REST
    mel = published_mel(clip(11000 + 1003 * seed, c["sr"], seed), c, "reflect")
    mel[::7, ::31] += 0.5
    mel[3] -= 1.0
    basis = librosa.filters.mel(sr=c["sr"], n_fft=c["n_fft"], n_mels=c["n_mels"])
    sums = (basis @ basis.T).sum(0)
    matrix = basis.T @ np.diag([1 / s if abs(s) > 1e-8 else s for s in sums])
    decibels = np.clip(mel.T, 0, 1) * c["max_db"] - c["max_db"] + c["ref_db"]
    linear = (matrix @ np.power(10.0, decibels * 0.05)).astype(np.float32)
    outputs = {"linear": linear, "matrix_colsum": matrix.sum(0), "matrix_rowsum": matrix.sum(1)}
    settings = {"hop_length": c["hop_length"], "win_length": c["win_length"]}
    for pad_mode, iterations in (("reflect", 0), ("reflect", 3), ("constant", 3), ("reflect", 30)):
        wav = librosa.istft(linear.astype(np.complex64), n_fft=c["n_fft"], **settings)
        for _ in range(iterations):
            estimate = librosa.stft(wav, n_fft=c["n_fft"], pad_mode=pad_mode, **settings)
            phase = estimate / np.maximum(1e-8, np.abs(estimate))
            wav = librosa.istft(linear * phase, n_fft=c["n_fft"], **settings)
        outputs[f"griffinlim_{pad_mode}_{iterations}"] = wav
    emphasized = signal.lfilter([1], [1, -c["preemphasis"]], outputs["griffinlim_reflect_3"])
    outputs["wav_reflect_3"] = librosa.effects.trim(emphasized)[0].astype(np.float32)
    tolerance = {name: 1e-6 * float(np.abs(value).max()) for name, value in outputs.items()}
    tolerance |= {name: 1e-4 for name in outputs if name.startswith("griffinlim")} | {"wav_reflect_3": 1e-3}
    tolerance["griffinlim_reflect_0"] = 1e-5
    assert failures(write(tmp_path, "adain_inverse", c, {"mel_norm": mel}, outputs, tolerance)) == []


@pytest.mark.parametrize("seed", [4, 5])
def test_speechsplit_features(tmp_path, seed):
    config = {"speakers": {"p301": "F", "p007": "M"}, "sr": 16000, "n_fft": 512, "hop": 128, "n_mels": 40}
    config |= {"fmin": 60, "fmax": 7000, "highpass_hz": 40, "f0_range": {"M": [50, 250], "F": [100, 600]}}
    b, a = signal.butter(5, config["highpass_hz"] / (config["sr"] / 2), btype="high")
    inputs, outputs, tolerance = {}, {"highpass_b_a": np.stack([b, a])}, {"highpass_b_a": 1e-6}
    rng = np.random.default_rng(seed)
    for number, samples in ((301, 12800), (7, 15001)):
        name = f"p{number:03d}"
        wav = clip(samples, 16000, seed + number)
        longer = np.append(wav, 1e-6) if samples % config["hop"] == 0 else wav
        noise = (np.random.RandomState(number).rand(len(longer)) - 0.5) * 1e-6
        processed = signal.filtfilt(b, a, longer) * 0.96 + noise
        stft = librosa.stft(processed, n_fft=512, hop_length=128, pad_mode="reflect", dtype=np.complex128)
        mel = librosa.filters.mel(sr=16000, n_fft=512, fmin=60, fmax=7000, n_mels=40) @ np.abs(stft)
        contour = np.where(rng.random(stft.shape[1]) < 0.4, -1e10, rng.normal(5, 0.2, stft.shape[1]))
        voiced = contour[contour > 0]
        normal = (np.clip((contour - voiced.mean()) / voiced.std() / 4, -1, 1) + 1) / 2
        inputs[f"wav_{name}"] = wav
        made = {
            "wav_processed": processed,
            "mel": ((20 * np.log10(np.maximum(1e-5, mel)) - 16 + 100) / 100).T.astype(np.float32),
            "log_f0_rapt": contour.astype(np.float32),
            "log_f0_mean_std": np.array([voiced.mean(), voiced.std()]),
            "f0_norm": np.where(contour > 0, normal, -1e10).astype(np.float32),
        }
        limits = {"wav_processed": 1e-6, "mel": 1e-5, "log_f0_rapt": 1e4, "log_f0_mean_std": 5e-6, "f0_norm": 1e4}
        outputs |= {f"{key}_{name}": value for key, value in made.items()}
        tolerance |= {f"{key}_{name}": value for key, value in limits.items()}
    assert failures(write(tmp_path, "ss_feat", config, inputs, outputs, tolerance)) == []
