"""Pitch as networks take it, and pitch moved from one voice's level to another's."""

import math
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from revoice.mistakes import Expected
from revoice.settings import Number, Whole

LOWEST, HIGHEST = 60.0, 600.0  # Hz; what lies beyond is held at the edge


def _none_or_steps(bins: int) -> int:
    if bins == 1:
        raise ValueError("one step tells nothing")
    return bins


Bins = Annotated[Whole, Field(ge=2, le=1 << 14)]
BinsOrNone = Annotated[
    Whole, Field(ge=0, le=1 << 14), AfterValidator(_none_or_steps), Expected("0, or a whole number from 2 to 16384")
]

Semitones = Annotated[Number, Field(ge=-48, le=48)]
PitchRange = Annotated[Number, Field(ge=0, le=10)]  # factor on how far a melody moves from its mean


class PitchEmbedding(nn.Module):
    """A learned vector for every step of log-f0 (linear between steps), and one for unvoiced frames.

    Args:
        bins: steps from 60 to 600 Hz.
        channels: C.
    """

    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        self.bins = bins
        self.table = nn.Embedding(bins + 1, channels)  # the last row: unvoiced
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, f0: Tensor) -> Tensor:
        """f0 (B, T) in Hz, 0 where unvoiced -> (B, C, T)."""
        span = math.log(HIGHEST / LOWEST)
        place = (f0.clamp(LOWEST, HIGHEST) / LOWEST).log() * ((self.bins - 1) / span)
        low = place.long().clamp(max=self.bins - 2)
        silent = (f0 > 0).logical_not()
        below, above = low.masked_fill(silent, self.bins), (low + 1).masked_fill(silent, self.bins)
        share = (place - low)[..., None].to(self.table.weight.dtype)
        return torch.lerp(self.table(below), self.table(above), share).transpose(1, 2)


def log_level(f0: Tensor) -> Tensor:
    """Mean natural log-f0 of the voiced frames of f0 (T,) in Hz, a scalar; nan if nothing is voiced."""
    return f0[f0 > 0].log().mean()


def log_spread(f0: Tensor) -> Tensor:
    """Standard deviation of the same, a scalar; nan if nothing is voiced."""
    log = f0[f0 > 0].log()
    return log.std(correction=0) if len(log) else log.new_tensor(math.nan)


def at_levels_of(f0: Tensor, other: Tensor) -> Tensor:
    """Contours f0 (B, T) in Hz, each at the mean log-f0 of another one, `other` (B,); 150 Hz where nothing is voiced.

    >>> at_levels_of(torch.tensor([[100.0, 0.0], [200.0, 200.0]]), torch.tensor([1, 0])).round().tolist()
    [[200.0, 0.0], [100.0, 100.0]]
    """
    voiced = f0 > 0
    count = voiced.sum(1)
    level = (voiced * f0.clamp(min=1).log()).sum(1) / count.clamp(min=1)
    level = level.masked_fill(count == 0, math.log(150.0))
    return moved(f0, level[other] - level)


def moved(f0: Tensor, by: Tensor | float) -> Tensor:
    """f0 (..., T) in Hz moved by `by` (...) nepers (log 2 is an octave up); unvoiced frames stay 0.

    >>> moved(torch.tensor([0.0, 100.0]), math.log(2.0)).round().tolist()
    [0.0, 200.0]
    """
    return f0 * torch.as_tensor(by, dtype=f0.dtype, device=f0.device).exp()[..., None]


def transposed(f0: Tensor, semitones: float) -> Tensor:
    """Contours f0 (..., T) in Hz moved by semitones; unvoiced frames stay 0."""
    return moved(f0, semitones * math.log(2) / 12) if semitones else f0


def spread(f0: Tensor, factor: float, level: Tensor | None = None) -> Tensor:
    """Contours f0 (B, T) in Hz whose log moves `factor` times as far from its mean; unvoiced frames stay 0.

    Args:
        f0: contours.
        factor: 0 is a monotone, 1 changes nothing.
        level: (B,) mean log-f0 of the whole recordings that the contours are chunks of; None: each contour's own.

    >>> spread(torch.tensor([[0.0, 100.0, 400.0]]), 0.5).round().tolist()
    [[0.0, 141.0, 283.0]]
    """
    if factor == 1.0:
        return f0
    own = torch.stack([log_level(contour) for contour in f0]) if level is None else level.to(f0)
    center = own[:, None]
    return torch.where(f0 > 0, (center + factor * (f0.clamp(min=1e-3).log() - center)).exp(), f0)


def steered(f0: Tensor, semitones: float, factor: float, level: Tensor | None = None) -> Tensor:
    """Contours transposed, then spread around their `level` (B,) before that, which goes along; see `spread`."""
    center = None if level is None else level + semitones * math.log(2) / 12
    return spread(transposed(f0, semitones), factor, center)
