"""Waveforms brought nearer to the features that they are to have."""

import torch
from torch import Tensor

from revoice.audio.condition import condition
from revoice.audio.features import FeatureExtractor
from revoice.audio.scale import from_scale
from revoice.audio.stft import Stft

MOMENTUM = 0.9  # of the fast form (Perraudin, Balazs and Sondergaard, 2013), which is as near in half of the times
_QUIET = 1e-5  # of full scale: what is below is not made louder
_MOST = 10.0  # times; at a time


def project(waveform: Tensor, features: Tensor, extractor: FeatureExtractor, stft: Stft, times: int) -> Tensor:
    """Change the magnitudes of a waveform towards those that features tell; again and again.

    Each time, every bin takes the geometric mean of what the bands it belongs to lack, and the waveform is what
    overlapping frames agree on (Griffin and Lim, 1984), which moves its phases a little. What no band
    covers is asked for nothing.

    Args:
        waveform: (B, S).
        features: (B, F, T) un-standardized, of magnitudes.
        extractor, stft: of the features.
        times: how often.

    Returns:
        (B, S).
    """
    spec, size = extractor.spec, waveform.shape[1]
    wanted = from_scale(features[:, : spec.rows].transpose(1, 2).float(), spec)
    if spec.power == 2:
        wanted = wanted.sqrt()
    shares = extractor.basis / extractor.basis.sum(1, keepdim=True).clamp(min=1e-8) if spec.mels else None
    signal, before = condition(waveform.float(), None, spec)[0], None
    weight = stft.weight(wanted.shape[1])
    for _ in range(times):
        reached = stft(signal)[:, : wanted.shape[1]]
        spectrum = reached if before is None else torch.lerp(before, reached, 1.0 + MOMENTUM)
        before, own = reached, spectrum.abs()
        if shares is None:
            gain = _lacking(wanted, own[..., : spec.rows])
            gain = torch.nn.functional.pad(gain, (0, spec.bins - spec.rows))
        else:
            bands = own @ extractor.basis if spec.power == 1 else (own.square() @ extractor.basis).sqrt()
            gain = _lacking(wanted, bands) @ shares.T
        signal = stft.inverse(spectrum * gain.exp_(), weight)
    return _sized(extractor.invert_waveform(signal), size)


def _lacking(wanted: Tensor, own: Tensor) -> Tensor:
    """Logarithm of what magnitudes are to be multiplied by."""
    return ((wanted + _QUIET) / (own + _QUIET)).clamp(1 / _MOST, _MOST).log()


def _sized(signal: Tensor, size: int) -> Tensor:
    return torch.nn.functional.pad(signal, (0, max(0, size - signal.shape[1])))[:, :size]
