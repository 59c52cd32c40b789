"""McAdams' coefficient: the poles of linear prediction, turned (Patino et al., "Speaker anonymisation using the McAdams
coefficient", Interspeech 2021; the second baseline of the VoicePrivacy Challenge)."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from revoice.audio.anonymization import ANONYMIZERS, Anonymizer, Drawn, Signal, between
from revoice.settings import Number, Seed, Whole

RATE = 16000.0  # Hz: of the baseline, whose angles are raised; others are converted to its
_BLOCK = 2048  # frames worked on at once
_FLOOR = 1e-9  # of white noise, so that digital silence has a prediction
Roots = NDArray[np.complex128]
Milliseconds = Annotated[Number, Field(ge=4, le=200)]


@ANONYMIZERS.register("mcadams")
class McAdams(Anonymizer):
    """Moves formants by raising the angle of each complex pole to a power.

    An angle below 1 (2.5 kHz) rises by a coefficient below 1, one above falls; radii stay, so that the filter stays
    stable, and real poles stay real, so that their number stays. An angle that would pass pi stops there. Departures
    from the baseline: frames are filtered in the frequency domain, all at once, their tails are kept instead of cut,
    and each keeps its power, which turned poles change by up to 40 dB; at other rates than 16 kHz angles are those at
    16 kHz.

    Args:
        coefficient: the power; of a range each utterance draws its own, as in the challenge of 2022; 1 changes nothing.
        order: poles.
        window: ms of a frame; frames overlap by half.
        seed: of the draws.
    """

    def __init__(
        self,
        coefficient: Drawn = (0.5, 0.9),
        order: Annotated[Whole, Field(ge=2, le=64)] = 20,
        window: Milliseconds = 20.0,
        seed: Seed = 0,
    ) -> None:
        self.coefficient, self.order, self.window, self.seed = coefficient, order, window, seed

    def change(self, samples: Signal, sample_rate: int, draws: np.random.Generator) -> Signal:
        """(S,) -> (S,) by overlapping frames, each with its own filter."""
        power = between(draws, self.coefficient)
        half = max(round(self.window * sample_rate / 2000.0), self.order)
        n_fft = 1 << int(np.ceil(np.log2(8 * half)))  # a frame and three times as much for its tail
        weights = np.sin(np.pi * (np.arange(2 * half) + 0.5) / (2 * half)) ** 2  # which add up to 1
        padded = np.pad(samples, (half, 2 * half))
        frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[::half]
        made = np.zeros(len(padded) + n_fft)
        for first in range(0, len(frames), _BLOCK):
            windowed = frames[first : first + _BLOCK] * weights
            whitening = predictors(windowed, self.order)
            coloring = from_poles(turned(poles(whitening), power, sample_rate))
            response = np.fft.rfft(whitening, n_fft) / np.fft.rfft(coloring, n_fft)
            parts = np.fft.irfft(np.fft.rfft(windowed, n_fft) * response, n_fft)
            parts *= np.sqrt(_power(windowed) / np.maximum(_power(parts), 1e-20))
            for row, part in enumerate(parts, first):
                made[row * half : row * half + n_fft] += part
        return made[half : half + len(samples)]


def _power(frames: Signal) -> Signal:
    """Sums of squares (N, 1) of frames (N, S)."""
    return np.einsum("ns,ns->n", frames, frames)[:, None]


def predictors(frames: Signal, order: int) -> Signal:
    """Coefficients (N, order + 1) of the whitening filters of frames (N, S), by Levinson and Durbin for all at once.

    The method of autocorrelation: all roots lie inside the unit circle.
    """
    size = 1 << int(np.ceil(np.log2(frames.shape[1] + order)))
    lags = np.fft.irfft(np.abs(np.fft.rfft(frames, size)) ** 2)[:, : order + 1]
    lags[:, 0] = lags[:, 0] * (1.0 + 1e-9) + _FLOOR
    found, error = np.zeros_like(lags), lags[:, 0].copy()
    found[:, 0] = 1.0
    for i in range(1, order + 1):
        reflection = -np.einsum("nk,nk->n", found[:, :i], lags[:, i:0:-1]) / error
        found[:, 1 : i + 1] += reflection[:, None] * found[:, i - 1 :: -1][:, :i]
        error *= 1.0 - reflection**2
    return found


def poles(whitening: Signal) -> Roots:
    """Roots (N, order) of monic polynomials (N, order + 1)."""
    order = whitening.shape[1] - 1
    companion = np.zeros((len(whitening), order, order))
    companion[:, 0] = -whitening[:, 1:]
    companion[:, np.arange(1, order), np.arange(order - 1)] = 1.0
    return np.linalg.eigvals(companion).astype(complex)


def turned(roots: Roots, power: float, sample_rate: int) -> Roots:
    """Roots whose angle, if they are complex, is raised to a power; conjugates stay conjugates."""
    angle = np.abs(np.angle(roots)) * (sample_rate / RATE)
    moved = np.minimum(angle**power * (RATE / sample_rate), np.pi)
    there = np.abs(roots) * np.exp(1j * np.sign(roots.imag) * moved)
    return np.where(roots.imag == 0.0, roots, there)


def from_poles(roots: Roots) -> Signal:
    """Monic real polynomials (N, order + 1) with these roots (N, order).

    >>> from_poles(np.array([[0.5j, -0.5j]])).tolist()
    [[1.0, 0.0, 0.25]]
    """
    found = np.zeros((len(roots), roots.shape[1] + 1), complex)
    found[:, 0] = 1.0
    for i in range(roots.shape[1]):
        found[:, 1 : i + 2] -= roots[:, i : i + 1] * found[:, : i + 1]
    return found.real
