"""Feature functions of HiFi-GAN, WaveGlow, random-CNN style transfer and SpeechSplit."""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from revoice.audio.condition import condition, highpass_coefficients
from revoice.audio.features import FeatureExtractor
from revoice.audio.pitch import log_f0_statistics, normalize_log_f0
from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.interop.cases import Given, Result, case
from revoice.interop.fixture import Fixture


@case("hg_mel")
def hifigan_mel(fixture: Fixture) -> Mapping[str, Result]:
    """HiFi-GAN's log-mel, up to `fmax` and up to half the sample rate ("none")."""
    get = fixture.setting
    spec = replace(
        load_preset("mel_22k"),
        sample_rate=get("sampling_rate"),
        n_fft=get("n_fft"),
        hop=get("hop_size"),
        win=get("win_size"),
        mels=get("num_mels"),
        fmin=get("fmin"),
        fmax=get("fmax"),
    )
    wav = fixture.input("wav")
    names = [name for name in fixture.outputs if name.startswith("mel_fmax")]
    return {name: features(wav, replace(spec, fmax=None) if name.endswith("none") else spec) for name in names}


@case("wg_mel")
def waveglow_mel(fixture: Fixture) -> Mapping[str, Result]:
    """Tacotron 2's log-mel of float samples and of 16-bit ones."""
    get = fixture.setting
    spec = replace(
        load_preset("mel_22k_tacotron"),
        sample_rate=get("sampling_rate"),
        n_fft=get("filter_length"),
        hop=get("hop_length"),
        win=get("win_length"),
        mels=get("n_mel_channels", 80),
        fmin=get("mel_fmin"),
        fmax=get("mel_fmax"),
    )
    from_integers = fixture.input("wav_int16").float() / get("max_wav_value", 32768.0)
    return {"mel": features(fixture.input("wav"), spec), "mel_of_int16": features(from_integers, spec)}


@case("rc_f")
def random_cnn_features(fixture: Fixture) -> Mapping[str, Result]:
    """ln(1 + |STFT|), the pad mode in the output's name."""
    get = fixture.setting
    spec = replace(load_preset("log1p_22k"), sample_rate=get("sr"), n_fft=get("n_fft"), hop=get("hop"), win=get("win"))
    wav = fixture.input("wav")
    modes = {name: re.fullmatch(r"log1p_mag_(reflect|constant)", name) for name in fixture.outputs}
    return {name: features(wav, padded(spec, m[1]), torch.float64) for name, m in modes.items() if m}


@case("ss_feat")
def speechsplit_features(fixture: Fixture) -> Mapping[str, Result]:
    """SpeechSplit's waveform, mel and normalized pitch of each speaker; the RAPT contour itself is given."""
    get = fixture.setting
    spec = replace(
        load_preset("speechsplit_16k"),
        sample_rate=get("sr"),
        n_fft=get("n_fft"),
        win=get("n_fft"),
        hop=get("hop"),
        mels=get("n_mels"),
        fmin=get("fmin"),
        fmax=get("fmax"),
        highpass=get("highpass_hz"),
    )
    results: dict[str, Result] = {"highpass_b_a": torch.from_numpy(np.stack(highpass_coefficients(spec)))}
    for speaker in get("speakers"):
        results.update(_speechsplit_speaker(fixture, spec, speaker))
    return results


def padded(spec: FeatureSpec, mode: str) -> FeatureSpec:
    """The features with their edges filled in another way."""
    return FeatureSpec.from_dict({**spec.to_dict(), "pad_mode": mode})


def features(wav: Tensor, spec: FeatureSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Features (F, T) of (S,); float64 where the published program computed its STFT in numpy, which does."""
    return FeatureExtractor(spec, dtype)(wav[None])[0]


def _speechsplit_speaker(fixture: Fixture, spec: FeatureSpec, speaker: str) -> dict[str, Result]:
    number = re.fullmatch(r"\D*(\d+)", speaker)
    if not number:
        raise UserError(f"{fixture.path}: speaker '{speaker}' has no number to seed the noise with")
    spec = replace(spec, dither_seed=int(number[1]))
    wav = fixture.input(f"wav_{speaker}").double()
    results: dict[str, Result] = {
        f"wav_processed_{speaker}": condition(wav[None], None, spec)[0][0],
        f"mel_{speaker}": features(wav, spec, torch.float64).T,
    }
    contour = fixture.outputs.get(f"log_f0_rapt_{speaker}")
    if contour is not None:
        statistics = log_f0_statistics(contour.numpy())
        results[f"log_f0_rapt_{speaker}"] = Given("pitch of RAPT (pysptk): an input here, not an output to match")
        results[f"log_f0_mean_std_{speaker}"] = torch.tensor([statistics.mean, statistics.std], dtype=torch.float64)
        results[f"f0_norm_{speaker}"] = torch.from_numpy(normalize_log_f0(contour.numpy(), statistics))
    return results
