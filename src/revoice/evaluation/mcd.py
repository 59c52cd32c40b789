"""Mel-cepstral distortion between two recordings of the same words.

Definition: both at 16 kHz; WORLD's spectral envelope (DIO + StoneMask pitch, CheapTrick) every 5 ms; mel-cepstrum with
all-pass constant 0.42, coefficients c1 to c13; frames more than 40 dB under the loudest one of their own recording left
out; dynamic time warping with the Euclidean distance on the same coefficients; 10 sqrt(2) / ln 10 times the mean
distance over the path, in dB (Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from revoice.audio.io import resample
from revoice.errors import UserError
from revoice.nn.alignment import align

RATE = 16000
FRAME_MS = 5.0
ALPHA = 0.42
ORDER = 13
RANGE_DB = 40.0
F0_FLOOR, F0_CEIL = 60.0, 600.0
FFT_SIZE = 1024
SECONDS_MIN = 0.1
PEAK_MIN = 1e-5  # a third of one step of 16 bits
SCALE_DB = 10.0 * np.sqrt(2.0) / np.log(10.0)


@dataclass(frozen=True)
class Analysis:
    """What the metrics need of one recording; N frames of 5 ms, K of them loud enough to count.

    Attributes:
        cepstra: (K, 13) mel-cepstral coefficients c1..c13 of the loud frames.
        frames: (K,) int64, which of the N frames they are.
        f0: (N,) Hz, 0 where unvoiced.
    """

    cepstra: NDArray[np.float64]
    frames: NDArray[np.int64]
    f0: NDArray[np.float64]


@dataclass(frozen=True)
class Distortion:
    """The distance between two recordings.

    Attributes:
        mcd: dB.
        path: (P, 2) int64, pairs of frames (numbers out of all N frames of each recording) that were compared.
    """

    mcd: float
    path: NDArray[np.int64]


def analyze(samples: ArrayLike, rate: int) -> Analysis:
    """WORLD analysis of one mono recording.

    Args:
        samples: (S,) at `rate` Hz; resampled to 16 kHz.

    Raises:
        UserError: the recording is silent, shorter than 0.1 s, or holds values that are not numbers.
    """
    import pyworld

    wave = _checked(samples, rate)
    coarse, times = pyworld.dio(wave, RATE, f0_floor=F0_FLOOR, f0_ceil=F0_CEIL, frame_period=FRAME_MS)
    f0 = pyworld.stonemask(wave, coarse, times, RATE)
    envelope = pyworld.cheaptrick(wave, f0, times, RATE, f0_floor=F0_FLOOR, fft_size=FFT_SIZE)
    frames = loud_frames(envelope)
    return Analysis(mel_cepstra(envelope[frames])[:, 1:], frames, f0)


def distortion(a: Analysis, b: Analysis) -> Distortion:
    """MCD between two analyzed recordings; symmetric, 0 for equal ones."""
    found = align(a.cepstra, b.cepstra)
    path = np.stack([a.frames[found.path[:, 0]], b.frames[found.path[:, 1]]], axis=1)
    return Distortion(float(SCALE_DB * found.costs.mean()), path)


def loud_frames(envelope: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices (K,) of frames whose power is at most 40 dB under that of the loudest.

    Args:
        envelope: (N, B) power spectral envelope; a frame's power is its sum over the full circle of frequencies.
    """
    power = 2.0 * envelope.sum(axis=1) - envelope[:, 0] - envelope[:, -1]
    return np.flatnonzero(power >= power.max() * 10.0 ** (-RANGE_DB / 10.0))


def mel_cepstra(envelope: NDArray[np.float64], order: int = ORDER, alpha: float = ALPHA) -> NDArray[np.float64]:
    """Mel-cepstral coefficients c0..c_order of power envelopes.

    They satisfy log|H(w)| = sum_m c_m cos(m w'), where w' is the frequency warped by the all-pass filter
    (z^-1 - alpha) / (1 - alpha z^-1); alpha 0.42 at 16 kHz comes close to the mel scale. The way there (log spectrum ->
    cepstrum -> frequency transform) is linear in the log spectrum, so it is one matrix product for all frames.

    Args:
        envelope: (N, B) power, B = n_fft / 2 + 1 bins from 0 to half the sample rate.

    Returns:
        (N, order + 1).
    """
    return np.log(np.maximum(envelope, 1e-30)) @ _from_log_power(envelope.shape[1], order, alpha)


def frequency_transform(size: int, order: int, alpha: float) -> NDArray[np.float64]:
    """Matrix A (order + 1, size) that takes a cepstrum to the all-pass warped axis: mel = A @ cepstrum.

    Column n holds the power series of ((z^-1 + alpha) / (1 + alpha z^-1))^n, hence
    A[m, n] = A[m-1, n-1] + alpha (A[m, n-1] - A[m-1, n])
    (Oppenheim and Johnson, "Discrete representation of signals", Proc. IEEE 60(6), 1972; SPTK's `freqt`).

    >>> frequency_transform(2, 2, 0.5).tolist()
    [[1.0, 0.5], [0.0, 0.75], [0.0, -0.375]]
    """
    matrix = np.zeros((order + 1, size))
    matrix[0] = alpha ** np.arange(size)
    for n in range(1, size):
        for m in range(1, order + 1):
            matrix[m, n] = matrix[m - 1, n - 1] + alpha * (matrix[m, n - 1] - matrix[m - 1, n])
    return matrix


@cache
def _from_log_power(bins: int, order: int, alpha: float) -> NDArray[np.float64]:
    """Matrix (bins, order + 1) from the log power spectrum to mel-cepstra."""
    cepstrum = np.fft.irfft(np.eye(bins), axis=1)[:, :bins]  # row b: the cepstrum that bin b alone makes
    cepstrum[:, 0] /= 2.0  # of the log amplitude, written as a one-sided cosine series
    cepstrum[:, -1] /= 2.0
    return cepstrum @ frequency_transform(bins, order, alpha).T


def _checked(samples: ArrayLike, rate: int) -> NDArray[np.float64]:
    """The recording at 16 kHz in float64, or a `UserError`.

    Its peak is brought to 1: that changes c0 alone, and keeps quiet recordings off the noise that WORLD adds.
    """
    given = np.asarray(samples, dtype=np.float32)
    assert given.ndim == 1, f"mono samples (S,) expected, not {given.shape}"
    if not np.isfinite(given).all():
        raise UserError("the recording holds samples that are not numbers: mel-cepstral distortion needs a sound")
    if len(given) < SECONDS_MIN * rate:
        raise UserError(f"the recording lasts {len(given) / rate:.3f} s: mel-cepstral distortion needs {SECONDS_MIN} s")
    peak = float(np.abs(given).max())
    if peak < PEAK_MIN:
        raise UserError("the recording is silent: mel-cepstral distortion needs a sound")
    return np.ascontiguousarray(resample(given / peak, rate, RATE), dtype=np.float64)
