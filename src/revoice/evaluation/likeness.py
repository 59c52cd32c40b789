"""Whether two clips are one recording: what exposes a system that plays back what it was given."""

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio, resample

RATE, WINDOW, HOP, BANDS = 16000, 512, 256, 24
_EDGES = np.unique(np.geomspace(3, WINDOW // 2, BANDS + 1).astype(int))


def likeness(a: Audio, b: Audio) -> float:
    """Correlation of two clips' levels over time and frequency at the lag where they agree best, -1 to 1.

    Above 0.8 for a recording and itself, shifted, scaled, or through a vocoder; clips of other words stay far below. At
    least 60 % of the shorter clip must overlap. nan if one of them is silent or shorter than 0.2 s.
    """
    x, y = levels(a), levels(b)
    if min(len(x), len(y)) < 12:
        return float("nan")
    short = min(len(x), len(y))
    dot = _cross(x, y)
    power_x, power_y = (np.concatenate([[0.0], np.cumsum((z**2).sum(1))]) for z in (x, y))
    lags = np.arange(-(len(y) - 1), len(x))
    begin, end = np.maximum(lags, 0), np.minimum(len(x), lags + len(y))
    energy = np.sqrt((power_x[end] - power_x[begin]) * (power_y[end - lags] - power_y[begin - lags]))
    enough = (end - begin >= 0.6 * short) & (energy > 1e-9)
    return float((dot[enough] / energy[enough]).max()) if enough.any() else float("nan")


def _cross(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over bands of the cross-correlations of (N, B) and (M, B), for lags from 1 - M to N - 1."""
    size = 1 << (len(x) + len(y) - 1).bit_length()
    spectrum = (np.fft.rfft(x, size, axis=0) * np.conj(np.fft.rfft(y, size, axis=0))).sum(1)
    found = np.fft.irfft(spectrum, size)
    return np.concatenate([found[size - len(y) + 1 :], found[: len(x)]])


def levels(clip: Audio) -> NDArray[np.float64]:
    """(N, 24) levels of bands in dB, every 16 ms, at most 50 dB under the loudest, each band's mean taken out."""
    power = powers(clip)
    bands = np.stack([power[:, low:high].mean(1) for low, high in zip(_EDGES, _EDGES[1:], strict=False)], axis=1)
    if not len(bands) or bands.max() < 1e-14:
        return np.zeros((0, bands.shape[1]))
    decibels = 10 * np.log10(np.maximum(bands, bands.max() * 1e-5))
    return decibels - decibels.mean(0)


def powers(clip: Audio) -> NDArray[np.float64]:
    """(N, 257) power at 16 kHz in windows of 32 ms, every 16 ms; none of a clip shorter than a window."""
    samples = resample(clip.samples, clip.sample_rate, RATE).astype(np.float64)
    if len(samples) < WINDOW:
        return np.zeros((0, WINDOW // 2 + 1))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * np.hanning(WINDOW)
    return np.abs(np.fft.rfft(frames, axis=1)) ** 2


def flatness_db(clip: Audio) -> float:
    """Spectral flatness from 100 Hz to 7 kHz of the louder half of the frames, in dB: white noise about -2.5, speech
    under -10; nan without sound."""
    power = powers(clip)[:, 3:225]
    total = power.sum(1)
    if not len(power) or total.max() < 1e-14:
        return float("nan")
    loud = power[total >= np.median(total[total > 1e-6 * total.max()])] + 1e-20
    return float(np.mean(10 * (np.log10(loud).mean(1) - np.log10(loud.mean(1)))))
