"""Mel filter banks and the ways from mel bands back to linear bins."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from revoice.audio.spec import FeatureSpec

_LINEAR_STEP = 200.0 / 3.0  # Slaney's scale: 15 mels per 1000 Hz below 1 kHz, then 27 mels per factor 6.4
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


def mel_basis(spec: FeatureSpec) -> np.ndarray:
    """Triangular mel filters (mels, bins), float64.

    Slaney's Auditory Toolbox scale or HTK's, as librosa's `filters.mel` defines them; written out here because
    importing librosa takes seconds.
    """
    to_mel, to_hz = (_slaney_mel, _slaney_hz) if spec.mel_scale == "slaney" else (_htk_mel, _htk_hz)
    low, high = (float(to_mel(np.array(f))) for f in (spec.fmin, spec.top_frequency))
    edges = to_hz(np.linspace(low, high, spec.mels + 2))
    bins = np.linspace(0.0, spec.sample_rate / 2, spec.bins)
    ramps = edges[:, None] - bins[None, :]
    widths = np.diff(edges)[:, None]
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    basis = np.maximum(0.0, np.minimum(rising, falling))
    if spec.mel_norm == "slaney":
        basis *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return basis


def mel_inverse(spec: FeatureSpec) -> Callable[[Tensor], Tensor]:
    """The function mel (..., mels) -> linear magnitude (..., bins) that `spec.mel_inverse` names.

    - "transpose": M^T diag(1 / column sums of M M^T), AdaIN-VC's published rule;
    - "pinv": pseudo-inverse, negative values set to 0;
    - "nonnegative": multiplicative updates (Lee and Seung, 2001) towards the non-negative least-squares solution.
    """
    basis = torch.from_numpy(mel_basis(spec))
    if spec.mel_inverse == "transpose":
        return _linear_map(transpose_inverse(basis))
    if spec.mel_inverse == "pinv":
        return _linear_map(torch.linalg.pinv(basis))
    return _multiplicative(basis)


def transpose_inverse(basis: Tensor) -> Tensor:
    """AdaIN-VC's inverse (bins, mels) of a filter bank (mels, bins); sums that are nothing are not divided by."""
    sums = (basis @ basis.T).sum(0)
    return basis.T * torch.where(sums.abs() > 1e-8, 1.0 / sums, sums)


def _linear_map(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda mel: (mel @ matrix.T.to(mel)).clamp(min=0.0)


def fitted(linear: Tensor, mel: Tensor, basis: Tensor, iterations: int) -> Tensor:
    """Linear magnitudes (..., bins) changed until their bands are `mel` (..., mels), which keeps their fine structure.

    Multiplicative updates (Lee and Seung, 2001); `basis` is the filter bank (mels, bins).
    """
    wanted = mel @ basis
    for _ in range(iterations):
        linear = linear * wanted / ((linear @ basis.T) @ basis).clamp(min=1e-12)
    return linear


def _multiplicative(basis: Tensor, iterations: int = 32) -> Callable[[Tensor], Tensor]:
    start = transpose_inverse(basis)
    return lambda mel: fitted(mel @ start.T.to(mel), mel, basis.to(mel), iterations)


def _slaney_mel(hz: np.ndarray) -> np.ndarray:
    logarithmic = _BREAK_HZ / _LINEAR_STEP + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, logarithmic, hz / _LINEAR_STEP)


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    first = _BREAK_HZ / _LINEAR_STEP
    return np.where(mel >= first, _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, first) - first)), mel * _LINEAR_STEP)


def _htk_mel(hz: np.ndarray) -> np.ndarray:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
