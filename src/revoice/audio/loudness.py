"""Integrated loudness (ITU-R BS.1770-4) and matching it."""

from math import inf, isfinite, pi, tan

import numpy as np
import torch

from revoice.audio.usual import FRAME, QUIET, frame_powers, speech_power

_BLOCK_SECONDS = 0.4
_OFFSET = -0.691
_STEP_SECONDS = 0.25  # between the windows of a gain that follows
_WIDEST = 10.0 ** (36 / 10)  # of a gain (of power) relative to its median: 36 dB, the loudest speech and the softest
_NEAR = 5  # frames of 20 ms that are quiet side by side in a pause
_CREST = 10.0 ** (5 / 10)  # of the loudest frames of speech over the mean
_LEAST_GAIN = 10.0 ** (-40 / 20)  # of a pause
_KNEE = 0.8  # what is louder is bent towards full scale


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
    """Scale (S,) to a loudness of `reference_db` LUFS; peaks beyond full scale are bent, silence is left alone."""
    level = loudness_db(samples, sample_rate)
    if not (isfinite(level) and isfinite(reference_db)):
        return samples
    return _louder(samples, 10.0 ** ((reference_db - level) / 20.0))


def match_level(samples: np.ndarray, sample_rate: int, reference: np.ndarray, reference_rate: int) -> np.ndarray:
    """Scale (S,) to be as loud as `reference` (R,); peaks beyond full scale are bent, silence is left alone.

    Loudness tells nothing of a reference under -70 LUFS: there both get equal power, offsets left out.
    """
    wanted = loudness_db(reference, reference_rate)
    if isfinite(wanted):
        return match_loudness(samples, sample_rate, wanted)
    own = float(np.std(samples, dtype=np.float64))
    return _louder(samples, float(np.std(reference, dtype=np.float64)) / own) if own else samples


def _louder(samples: np.ndarray, gain: float) -> np.ndarray:
    return _bent(samples * gain).astype(samples.dtype)


def _bent(samples: np.ndarray) -> np.ndarray:
    """Samples of which what is louder than the knee comes near full scale and not beyond: one peak quiets no others."""
    over = np.maximum(np.abs(samples) - _KNEE, 0.0) / (1.0 - _KNEE)
    return np.sign(samples) * (np.minimum(np.abs(samples), _KNEE) + (1.0 - _KNEE) * np.tanh(over))


def follow_level(samples: np.ndarray, reference: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples (S,) with the level of `reference` (S,) in every stretch of some seconds, not only on the whole.

    The level is midway, in dB, between power and K-weighted power: two voices can be equal in one of these only. The
    gain changes slowly, stays within 36 dB of its median, and is held where the reference is quiet: a model may say all
    things equally loud, and a speaker turn from the microphone. Peaks beyond full scale are bent.
    """
    hop = round(_STEP_SECONDS * sample_rate)
    first = np.arange(0, len(samples), hop)
    gain = np.ones(len(first))  # of power, at every step
    given = _energies(samples, sample_rate, first)
    wanted, level = (_around(energies) for energies in (_energies(reference, sample_rate, first), given))
    at = np.flatnonzero((wanted > 1e-3 * wanted.mean()) & (level > 1e-20))
    if not len(at):
        return samples
    for _ in range(10):  # a step's gain is that of the stretches around it, and changes theirs
        change = np.log(wanted[at] / _around(given * gain)[at])
        gain *= np.exp(_smooth(np.interp(np.arange(len(first)), at, change)))
        middle = np.median(gain[at])
        gain = np.clip(gain, middle / _WIDEST, middle * _WIDEST)
    louder = samples * np.interp(np.arange(len(samples)), first + hop / 2, np.sqrt(gain))
    return _bent(louder).astype(samples.dtype)


def hushed(samples: np.ndarray, reference: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples (S,) that are no louder than `reference` (S,) in its pauses; what is said is left alone.

    A pause is what stays 35 dB below the speech around it for a tenth of a second. A network that has heard voices in
    noise and rooms says some of that where nothing is said. Nothing is made softer by more than 40 dB.
    """
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    size = round(FRAME * sample_rate)
    count = len(samples) // size
    if count < _NEAR:
        return samples
    own = frame_powers(reference[: count * size], size)
    wanted = maximum_filter1d(own, _NEAR)
    given = uniform_filter1d(frame_powers(samples[: count * size], size), _NEAR)
    around = maximum_filter1d(wanted, 2 * round(1.0 / FRAME) + 1) / _CREST  # within a second: soft speech is no pause
    quiet = (wanted < QUIET * around) | (around < QUIET * speech_power(own))
    gain = np.where(quiet, np.sqrt(np.clip(wanted / np.maximum(given, 1e-30), _LEAST_GAIN**2, 1.0)), 1.0)
    if gain.min() == 1.0:
        return samples
    return (samples * np.interp(np.arange(len(samples)), (np.arange(count) + 0.5) * size, gain)).astype(samples.dtype)


def _energies(samples: np.ndarray, rate: int, first: np.ndarray) -> np.ndarray:
    """Plain and K-weighted energy (2, steps) from each of the samples `first` to the next.

    Each step's own offset is left out of the plain one: that of a loud stretch is as loud as soft speech.
    """
    exact = np.asarray(samples, dtype=np.float64)
    counts = np.diff(np.append(first, len(exact)))
    offset = np.repeat(np.add.reduceat(exact, first) / counts, counts)
    return np.stack([np.add.reduceat(x * x, first) for x in (exact - offset, _k_weight(exact, rate))])


def _around(energies: np.ndarray) -> np.ndarray:
    """Energy in a stretch of 2 s around every step (steps,), the geometric mean of the kinds (kinds, steps)."""
    window = np.hanning(2 * round(1.0 / _STEP_SECONDS) + 1)
    # the middle of the whole convolution: "same" is as long as the window where there are few steps
    sums = [np.convolve(energy, window)[len(window) // 2 :][: len(energy)] for energy in energies]
    return np.exp(np.mean([np.log(np.maximum(each, 1e-30)) for each in sums], axis=0))


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean of five steps around every one (steps,)."""
    counted = np.convolve(np.ones(len(values)), np.ones(5), mode="full")[2:-2]
    return np.convolve(values, np.ones(5), mode="full")[2:-2] / counted


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
