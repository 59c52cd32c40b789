"""Pitch and formants moved in the short-time spectrum: no model of the voice in between, so that words stay clearer."""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from revoice.audio.anonymization import ANONYMIZERS, Anonymizer, Drawn, Signal, between
from revoice.audio.pitch import ANALYSIS_RATE, pitch
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft, griffin_lim
from revoice.settings import Seed, Share, Whole

_WINDOW = 0.064  # seconds: two periods of the lowest voices
_FITS = 6  # rounds of the true envelope
_SMALLEST = 1e-6
_DEEP, _STEEPEST = 3.0, 4.6  # nepers: frames of speech under the loudest, and of a color
_FLOOR, _CEIL = 71.0, 600.0  # Hz


@ANONYMIZERS.register("cepstrum")
class Cepstrum(Anonymizer):
    """Log magnitudes are an envelope (the true one: Roebel and Rodet, DAFx 2005) and what is fine in them.

    The fine part, harmonics, is read at other frequencies and so moves the pitch, the envelope moves formants. Phases
    begin as those of a phase vocoder, advancing as much faster as the pitch, and are made to fit by Griffin-Lim.

    Args:
        f0_range: Hz; the median of the pitch moves to a level drawn from here; None: it stays.
        envelope_stretch: ratio by which formants move, drawn for each utterance; None: 1.
        flatten: share of the utterance's mean spectrum that is taken away: the color of a voice, and of its microphone.
        iterations: of Griffin-Lim.
        seed: of all draws.
    """

    def __init__(
        self,
        f0_range: Drawn | None = None,
        envelope_stretch: Drawn | None = None,
        flatten: Share = 0.0,
        iterations: Annotated[Whole, Field(ge=0, le=1 << 12)] = 32,
        seed: Seed = 0,
    ) -> None:
        self.f0_range, self.envelope_stretch, self.flatten = f0_range, envelope_stretch, flatten
        self.iterations, self.seed = iterations, seed

    def change(self, samples: Signal, sample_rate: int, draws: np.random.Generator) -> Signal:
        """(S,) -> (S',) by analysis, two warps and synthesis."""
        level = between(draws, self.f0_range) if self.f0_range else None
        ratio = between(draws, self.envelope_stretch) if self.envelope_stretch else 1.0
        middle = _median(samples, sample_rate)
        rise = level / middle if level and middle else 1.0
        n_fft = 1 << round(math.log2(_WINDOW * sample_rate))
        stft = Stft(FeatureSpec(sample_rate=sample_rate, n_fft=n_fft, hop=n_fft // 4, win=n_fft))
        if len(samples) < n_fft // 4:
            return samples  # no sound yet
        with torch.no_grad():
            spectrum = stft(torch.from_numpy(samples).float()[None])  # (1, T, bins)
            logs = spectrum.abs().clamp(min=_SMALLEST).log()
            below = max(2, int(0.6 * sample_rate / (middle or 2 * _FLOOR)))  # quefrencies of less than a period
            smooth = envelope(logs, below)
            fine = logs - smooth
            if self.flatten:
                smooth = smooth - self.flatten * color(smooth)
            bins = torch.arange(logs.shape[-1], dtype=torch.float32)
            last = len(bins) - 1
            moved = read(smooth, (bins / ratio).clamp(max=last)) + read(fine, folded(bins / rise, last))
            phases = advanced(spectrum.angle(), folded(bins / rise, last).round().long(), rise, n_fft)
            start = torch.polar(torch.ones_like(phases), phases)
            made = griffin_lim(moved.exp(), stft, start, self.iterations, 0.99)[0]
        return made.double().numpy()


def _median(samples: Signal, sample_rate: int) -> float:
    """Of the pitch of (S,) samples in Hz; 0 where nothing is voiced."""
    hop = sample_rate // 100
    rate = min(ANALYSIS_RATE, sample_rate)
    found = pitch(samples, sample_rate, hop, len(samples) // hop + 1, floor=_FLOOR, ceil=_CEIL, rate=rate).f0
    return float(np.median(found[found > 0])) if (found > 0).any() else 0.0


def envelope(logs: Tensor, below: int) -> Tensor:
    """Smooth curves over the peaks of log magnitudes (..., bins): what their cepstrum holds `below` some samples."""
    n_fft = 2 * (logs.shape[-1] - 1)
    kept = torch.zeros(n_fft)
    kept[:below] = 1.0
    kept[n_fft - below + 1 :] = 1.0
    found = torch.full_like(logs, -torch.inf)
    for _ in range(_FITS + 1):
        found = torch.fft.rfft(torch.fft.irfft(torch.maximum(logs, found), n=n_fft) * kept).real
    return found


def color(smooth: Tensor) -> Tensor:
    """How the mean envelope (1, 1, bins) of frames of speech among (1, T, bins) differs from white, 40 dB at most."""
    level = smooth.mean(dim=2, keepdim=True)
    spoken = (level > level.amax() - _DEEP).to(smooth.dtype)
    mean = (smooth * spoken).sum(dim=1, keepdim=True) / spoken.sum()
    return (mean - mean.mean()).clamp(-_STEEPEST, _STEEPEST)


def folded(places: Tensor, last: int) -> Tensor:
    """Places beyond the end mirrored at it.

    >>> folded(torch.tensor([1.0, 4.5, 9.0]), 4).tolist()
    [1.0, 3.5, 1.0]
    """
    around = places % (2 * last)
    return torch.where(around > last, 2 * last - around, around)


def read(values: Tensor, places: Tensor) -> Tensor:
    """Values (..., N) at fractional places (N',), between 0 and N - 1 -> (..., N')."""
    low = places.floor().long().clamp(max=values.shape[-1] - 2)
    return torch.lerp(values[..., low], values[..., low + 1], places - low)


def advanced(phases: Tensor, source: Tensor, rise: float, n_fft: int) -> Tensor:
    """Phases (B, T, bins) of bins that take their advance from others, `rise` times as fast.

    Args:
        phases: in radians; frames are n_fft / 4 apart.
        source: (bins,) where each bin's advance is read.
    """
    turn = 2 * torch.pi
    expected = turn / 4 * torch.arange(phases.shape[-1], dtype=torch.float32)  # of a hop at the bin's center
    steps = torch.diff(phases, dim=1, prepend=torch.zeros_like(phases[:, :1]))
    steps = (steps - expected + torch.pi) % turn - torch.pi + expected
    return torch.cumsum(rise * steps[..., source].double(), dim=1).remainder(turn).float()
