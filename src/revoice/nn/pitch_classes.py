"""Pitch contours relative to a voice, in steps, as SpeechSplit takes them (arXiv:2004.11284)."""

import torch
from torch import Tensor

UNVOICED = -1e10  # in a normalized contour; between it and anything voiced lies nothing that could be taken for voiced
REACH = 4.0  # standard deviations to both sides of the mean
LEAST = 0.02  # nepers; a voice that hardly moves would be all noise
STEPS = 256
UNTOLD = -1  # in place of a class: nothing is known of the frame, not even that it is unvoiced


def pitch_statistics(f0: Tensor) -> Tensor:
    """Mean and deviation (B, 2) of natural log-f0 over the voiced frames of f0 (B, T) in Hz; nan where none is.

    >>> import math
    >>> pitch_statistics(torch.tensor([[0.0, 1.0, math.e], [0.0, 0.0, 0.0]])).tolist()
    [[0.5, 0.5], [nan, nan]]
    """
    voiced = f0 > 0
    log = f0.clamp(min=1e-3).log() * voiced
    count = voiced.sum(1)
    mean = log.sum(1) / count
    squares = (log - mean[:, None]).masked_fill(~voiced, 0.0).square().sum(1) / count
    return torch.stack([mean, squares.sqrt()], dim=1)


def normalized(f0: Tensor, statistics: Tensor) -> Tensor:
    """f0 (B, T) in Hz, 0 where unvoiced -> (B, T) in (0, 1], `UNVOICED` where unvoiced.

    The mean becomes 1/2, four deviations below and above it 0 and 1. Published code takes a voiced frame at exactly 0
    for unvoiced; here it is just above.

    Args:
        f0: contours.
        statistics: (B, 2), as `pitch_statistics` gives them; where they are nan, every frame should be unvoiced.
    """
    mean, deviation = statistics.unbind(1)
    spread = REACH * deviation.clamp(min=LEAST)
    scaled = ((f0.clamp(min=1e-3).log() - mean[:, None]) / spread[:, None]).clamp(-1, 1)
    voiced = (f0 > 0) & mean.isfinite()[:, None]
    return ((scaled + 1) / 2).clamp(min=1e-6).masked_fill(~voiced, UNVOICED)


def classes(contour: Tensor) -> Tensor:
    """Normalized contours -> int64: 0 unvoiced, else 1 to 256, halves to the even step.

    >>> classes(torch.tensor([UNVOICED, 0.0, 0.001, 0.5, 1.0])).tolist()
    [0, 0, 1, 129, 256]
    """
    return ((contour * (STEPS - 1)).round() + 1).masked_fill(contour <= 0, 0).long()


def one_hot(found: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Classes (B, T) -> (B, 257, T); `UNTOLD` is all zeros."""
    return (found[:, None] == torch.arange(STEPS + 1, device=found.device)[:, None]).to(dtype)


def expected(logits: Tensor) -> Tensor:
    """Logits (B, 257, T) over classes -> the mean of the voiced ones (B, T), no integer; 0 where that is more probable.

    The most probable class would be unvoiced too often, since what is voiced is shared by 256 classes.

    >>> logits = torch.full((1, 257, 1), -100.0); logits[0, [0, 99, 100], 0] = torch.tensor([0.4, 0.3, 0.3]).log()
    >>> expected(logits).tolist()
    [[99.5]]
    """
    shares = logits.softmax(1)
    voiced = shares[:, 1:].sum(1)
    places = torch.arange(1, STEPS + 1, dtype=shares.dtype, device=shares.device)[:, None]
    mean = (shares[:, 1:] * places).sum(1) / voiced.clamp(min=1e-9)
    return mean.masked_fill(voiced < 0.5, 0.0)


def hertz(found: Tensor, statistics: Tensor) -> Tensor:
    """Classes (B, T), integers or between them, as f0 in Hz for a voice of these statistics (B, 2); 0 where unvoiced.

    >>> import math
    >>> voice = torch.tensor([[math.log(100.0), 0.1]])
    >>> hertz(classes(normalized(torch.tensor([[0.0, 100.0, 110.0]]), voice)), voice).round().tolist()
    [[0.0, 100.0, 110.0]]
    """
    mean, deviation = statistics.unbind(1)
    scaled = 2 * (found - 1) / (STEPS - 1) - 1
    log = mean[:, None] + scaled * REACH * deviation.clamp(min=LEAST)[:, None]
    return log.exp().masked_fill((found <= 0) | ~mean.isfinite()[:, None], 0.0)
