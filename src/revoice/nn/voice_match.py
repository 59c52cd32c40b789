"""How much features sound like a voice, by the speaker encoder and with gradients, without a vocoder in between."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.mel import mel_basis
from revoice.audio.speaker import ENCODER_SPEC, speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import analysis_window
from revoice.errors import UserError
from revoice.nn.content import interpolated

_LEAST_POWER = 10 ** (-30 / 10)  # of samples: the encoder is given nothing quieter


def require_mels(spec: FeatureSpec) -> None:
    """A `UserError` unless the features are logarithms of mel magnitudes, which can be turned into the encoder's."""
    if not spec.mels or spec.scale != "log" or spec.power != 1 or spec.multiply != 1 or spec.add != 0:
        raise UserError("model.match_voice needs features like mel_22k, natural logarithms of mel magnitudes")


def voice_of(features: Tensor, spec: FeatureSpec) -> Tensor:
    """Speaker embeddings (B, 256), of length 1, of log-mel features (B, F, T).

    The encoder wants 40 mels of power at 16 kHz. Every band tells a density of power, which is taken to be a straight
    line between the centers of bands.
    """
    device = str(features.device)
    with torch.autocast(features.device.type, enabled=False):
        power = torch.einsum("mf,bft->bmt", _matrix(spec, device), (2 * features.float()).exp())
        frames = max(round(features.shape[-1] * spec.hop / spec.sample_rate * _rate()), 2)
        mels = interpolated(power[:, :-1], frames, spec.sample_rate / (spec.hop * _rate()))
        louder = (_LEAST_POWER / power[:, -1].mean(-1).clamp(min=1e-12)).clamp(min=1.0)
        return speaker_encoder(device)((mels * louder[:, None, None]).transpose(1, 2))


def voice_distance(features: Tensor, voices: Tensor, spec: FeatureSpec) -> Tensor:
    """1 - cosine of what features (B, F, T) sound like and voices (B, 256), a mean."""
    return (1 - F.cosine_similarity(voice_of(features, spec), voices.float())).mean()


def _rate() -> float:
    return ENCODER_SPEC.sample_rate / ENCODER_SPEC.hop


@lru_cache(maxsize=8)
def _matrix(spec: FeatureSpec, device: str) -> Tensor:
    """Squares of mel magnitudes (F,) -> the encoder's mels of power (40,), and the mean power of the samples."""
    with torch.inference_mode(False):
        basis, theirs = mel_basis(spec), mel_basis(ENCODER_SPEC)
        centers = (basis * _bins(spec)).sum(1) / basis.sum(1)
        spread = np.stack([np.interp(_bins(ENCODER_SPEC), centers, row) for row in np.eye(len(centers))], axis=1)
        spread[_bins(ENCODER_SPEC) > (spec.fmax or spec.sample_rate / 2)] = 0
        energy = [float((analysis_window(s, torch.float64) ** 2).sum()) for s in (spec, ENCODER_SPEC)]
        density = spread / basis.sum(1) ** 2 / energy[0]
        rows = np.concatenate([theirs @ density * energy[1], 2 * density.sum(0, keepdims=True) / ENCODER_SPEC.n_fft])
        return torch.from_numpy(rows.astype(np.float32)).to(device)


def _bins(spec: FeatureSpec) -> np.ndarray:
    return np.arange(spec.bins) * spec.sample_rate / spec.n_fft
