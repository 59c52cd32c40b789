"""What CodeGAN's losses and its measure compare codes by."""

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.nn.collective import summed
from revoice.nn.labels import one_hot


def centered(features: Tensor, lengths: Tensor, every: int) -> Tensor:
    """Features (B, F, T), one step for `every` frames, without the mean of the `lengths` (B,) frames that are there."""
    there = (torch.arange(features.shape[2], device=features.device) < lengths[:, None])[:, None]
    mean = (features * there).sum(2, keepdim=True) / lengths.clamp(min=1)[:, None, None]
    return F.avg_pool1d((features - mean) * there, every, ceil_mode=True)


def again(codes: Tensor, steps: Tensor) -> Tensor:
    """Codes (B, C, N) of which so many `steps` (B,) are there, said again and again behind them.

    What is compared over time then knows nothing of how much of a crop is filled up.

    >>> again(torch.tensor([[[1, 2, 0, 0, 0]]]), torch.tensor([2])).tolist()
    [[[1, 2, 1, 2, 1]]]
    """
    places = torch.arange(codes.shape[2], device=codes.device) % steps.clamp(min=1)[:, None]
    return codes.gather(2, places[:, None].expand_as(codes))


def deviations(codes: Tensor, there: Tensor, together: bool) -> Tensor:
    """Deviation over time of each code (C,) of (B, C, N), of all processes if they are at it `together`."""
    codes = whole(codes)
    known = there[:, None].to(codes)
    apart = codes - (codes * known).sum(2, keepdim=True) / known.sum(2, keepdim=True).clamp(min=1)
    sums = torch.cat([(known * apart.square()).sum((0, 2)), known.sum()[None]])
    if together:
        sums = summed(sums)
    return (sums[:-1] / sums[-1].clamp(min=1)).clamp(min=1e-4).sqrt()


def statistics(codes: Tensor) -> Tensor:
    """What is heard of an emotion however long a clip is (B, 4 C): mean, deviation, mean step, peak above it."""
    codes = whole(codes)
    steps, peaks = codes.diff(dim=2).abs().mean(2), codes.amax(2) - codes.mean(2)
    return torch.cat([summary(codes), steps, peaks], dim=1)


def shift_apart(
    real: Tensor, fake: Tensor, own: Tensor, wanted: Tensor, count: int, together: bool, tells: Tensor | None = None
) -> Tensor:
    """How far numbers (B, D) are from having moved as the means of the emotions `own` and `wanted` (B,) differ.

    The means are those of the batch's items that `tells` (B,) names, or all, of all processes if they are at it
    `together`; an emotion that it lacks asks for nothing. Each number is in deviations of it within an emotion, and the
    distance is the mean of the squares.
    """
    known = one_hot(own, count, real)
    if tells is not None:
        known = known * tells[:, None]
    sums = torch.cat([known.T @ real, known.T @ real.square(), known.sum(0)[:, None]], dim=1).detach()
    if together:
        sums = summed(sums)
    totals, squares, items = sums.split([real.shape[1], real.shape[1], 1], dim=1)
    means = totals / items.clamp(min=1)
    within = (squares - items * means.square()).sum(0) / items.sum().clamp(min=1)
    apart = fake - real - (means[wanted] - means[own])
    asked = ((items[wanted] > 0) & (items[own] > 0)).to(apart)  # (B, 1)
    return (asked * apart.square() / within.clamp(min=1e-4)).mean()


def summary(codes: Tensor) -> Tensor:
    """Mean and deviation over time (B, 2 C) of codes (B, C, N)."""
    codes = whole(codes)
    return torch.cat([codes.mean(2), codes.std(2)], dim=1)


def whole(values: Tensor) -> Tensor:
    """In single precision at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
