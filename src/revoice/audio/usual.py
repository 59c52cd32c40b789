"""Recordings as networks know them: without offset and rumble, at a usual level."""

import numpy as np

FRAME = 0.02  # seconds for which one power is measured
QUIET = 10 ** (-35 / 10)  # power relative to that of speech, below which nothing is said
LEVEL = 10 ** (-22 / 10)  # power of speech: the median of LibriSpeech and VCTK
USUAL = (10 ** (-34 / 10), 10 ** (-12 / 10))  # power that networks hear as it is; of those corpora: -32 to -15 dB
_OFFSET = 10 ** (-25 / 10)  # power of an offset relative to all else: a larger one is taken out
_LOWEST = 45.0  # Hz: no voice is below
_MOST = 10 ** (-6 / 10)  # power of what is below, relative to all else: of more, it is taken out


def frame_powers(samples: np.ndarray, size: int) -> np.ndarray:
    """Power (T,) of frames of so many samples of (S,), each without its own offset; what is left over is one, too."""
    whole = len(samples) // size * size
    parts = [samples[:whole].reshape(-1, size), samples[None, whole:]]
    return np.concatenate([part.var(axis=1, dtype=np.float64) for part in parts if part.size])


def speech_power(power: np.ndarray) -> float:
    """Mean power of the frames (T,) that are not 10 dB below the mean of all: of speech without its pauses."""
    return float(power[power >= 0.1 * power.mean()].mean()) if len(power) else 0.0


def usual_gain(power: float) -> float:
    """What brings speech of this power to `LEVEL` where that is softer or louder than `USUAL`; 1 where it is not.

    >>> usual_gain(0.01), round(usual_gain(1e-6))
    (1.0, 79)
    """
    return 1.0 if USUAL[0] <= power <= USUAL[1] or not power > 0 else (LEVEL / power) ** 0.5


def without_rumble(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (S,) without their offset, and without what is below 45 Hz where that is loud (wind, handling, mains).

    What has neither is given back as it is. Pitch is searched relative to the power of all that is there, and an
    offset of 0.02 already makes another voice of a clip.
    """
    offset = float(samples.mean(dtype=np.float64)) if len(samples) else 0.0
    large = offset**2 > _OFFSET * float(samples.var(dtype=np.float64)) if len(samples) else False
    made = samples - samples.dtype.type(offset) if large else samples
    if _below(made, rate) <= _MOST:
        return made
    from scipy.signal import butter, sosfiltfilt

    high = sosfiltfilt(butter(4, _LOWEST, "highpass", fs=rate, output="sos"), made.astype(np.float64))
    return high.astype(samples.dtype)


def _below(samples: np.ndarray, rate: int) -> float:
    """Power below 45 Hz, an offset left out, relative to that above; 0 of what is too short to tell."""
    size = round(0.5 * rate)  # frames of half a second: steps of 2 Hz
    if len(samples) < size or rate < 4 * _LOWEST:
        return 0.0
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    spectrum = np.abs(np.fft.rfft((frames - frames.mean()) * np.hanning(size))) ** 2
    bins = np.fft.rfftfreq(size, 1 / rate)
    low, high = spectrum[:, bins < _LOWEST].sum(), spectrum[:, bins >= _LOWEST].sum()
    return float(low / high) if high > 0 else 0.0
