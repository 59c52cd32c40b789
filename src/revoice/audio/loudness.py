"""Integrated loudness (ITU-R BS.1770-4) and matching it."""

from math import inf, isfinite, pi, tan

import numpy as np
import torch

_BLOCK_SECONDS = 0.4
_OFFSET = -0.691


def loudness_db(samples: np.ndarray, sample_rate: int) -> float:
    """Loudness of a mono clip (S,) in LUFS; minus infinity for silence (all blocks under -70).

    A clip shorter than one block of 0.4 s is measured as a single block.
    """
    if not len(samples):
        return -inf
    weighted = _k_weight(np.asarray(samples, dtype=np.float64), sample_rate)
    size = min(len(weighted), round(_BLOCK_SECONDS * sample_rate))
    total = np.concatenate([[0.0], np.cumsum(weighted * weighted)])
    first = np.arange(0, len(weighted) - size + 1, max(1, size // 4))
    energy = (total[first + size] - total[first]) / size
    loud = energy[_decibels(energy) > -70.0]
    if not len(loud):
        return -inf
    gated = loud[_decibels(loud) > _decibels(loud.mean()) - 10.0]
    return float(_decibels(gated.mean()))


def match_loudness(samples: np.ndarray, sample_rate: int, reference_db: float) -> np.ndarray:
    """Scale (S,) to a loudness of `reference_db` LUFS, as far as no sample passes full scale; silence is left alone."""
    level = loudness_db(samples, sample_rate)
    if not (isfinite(level) and isfinite(reference_db)):
        return samples
    peak = float(np.abs(samples).max())
    gain = min(10.0 ** ((reference_db - level) / 20.0), 1.0 / peak)
    return (samples * gain).astype(samples.dtype)


def _decibels(energy: np.ndarray) -> np.ndarray:
    return _OFFSET + 10.0 * np.log10(np.maximum(energy, 1e-30))


def _k_weight(samples: np.ndarray, rate: int) -> np.ndarray:
    """The standard's two filters (a high shelf and a high-pass), their 48 kHz coefficients carried to any rate."""
    from torchaudio.functional import lfilter

    k, q = tan(pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10.0 ** (3.999843853973347 / 20.0)
    middle = high**0.4996667741545416
    scale = 1.0 + k / q + k * k
    below = [scale, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    above = [high + middle * k / q + k * k, 2.0 * (k * k - high), high - middle * k / q + k * k]
    shelf = lfilter(torch.from_numpy(samples), _double(below), _double(above), clamp=False)
    k, q = tan(pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1.0 + k / q + k * k
    below = [1.0, 2.0 * (k * k - 1.0) / scale, (1.0 - k / q + k * k) / scale]
    return lfilter(shelf, _double(below), _double([1.0, -2.0, 1.0]), clamp=False).numpy()


def _double(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
