"""Recognition-synthesis in codes: the melody apart from what is said and in which voice."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.nn.conv import fitted

EVERY = 4  # frames for which there is one code of the melody
SPREAD = 0.25  # nepers that are 1 in it
ANYWHERE = math.log(150.0)  # the level of a clip of which nothing is voiced


def levels(f0: Tensor, level: Tensor | None) -> Tensor:
    """Mean log-f0 (B,) of contours (B, T): as told, else their own; `ANYWHERE` where nothing tells it."""
    voiced = f0 > 0
    total, count = torch.where(voiced, f0.clamp(min=1).log(), 0).sum(1), voiced.sum(1)
    own = torch.where(count > 0, total / count.clamp(min=1), ANYWHERE)
    return own if level is None else torch.where(level.isfinite(), level.to(own), own)


def melody(f0: Tensor, level: Tensor) -> Tensor:
    """Contours (B, T) in Hz and levels (B,) -> (B, N, 1): log-f0 above the level in steps of `EVERY` frames.

    Between voiced frames it is interpolated; before the first and behind the last it stays as they are.
    """
    frames = f0.shape[1]
    place = torch.arange(frames, device=f0.device).expand_as(f0)
    voiced = f0 > 0
    count = voiced.long().cumsum(1)  # (B, T) of the voiced frames up to each; the voiced frame n is at `where` n
    where = torch.zeros_like(F.pad(place, (0, 1))).scatter(1, torch.where(voiced, count, 0), place)
    first = where.gather(1, count.clamp(min=1))  # the voiced frame at or before each, else the first one
    last = where.gather(1, torch.minimum(count + ~voiced, count[:, -1:]))  # at or behind it, else the last one
    log = f0.clamp(min=1).log()
    low, high = log.gather(1, first), log.gather(1, last)
    share = (place - first) / (last - first).clamp(min=1)
    whole = torch.lerp(low, high, share.to(log.dtype).clamp(0, 1))
    whole = torch.where(voiced.any(1, keepdim=True), whole, level[:, None])
    filled = fitted((whole - level[:, None])[:, None], (frames + EVERY - 1) // EVERY * EVERY)
    return F.avg_pool1d(filled, EVERY).transpose(1, 2) / SPREAD


def contour(code: Tensor, level: Tensor, voiced: Tensor) -> Tensor:
    """The way back: (B, N, 1), levels (B,) and voiced frames (B, T) -> Hz (B, T), 0 where unvoiced."""
    frames = voiced.shape[1]
    # a code is of the middle of its frames, between which it moves evenly
    whole = F.interpolate(code.transpose(1, 2), code.shape[1] * EVERY, mode="linear")
    log = fitted(whole, frames)[:, 0] * SPREAD
    return torch.where(voiced > 0.5, (log + level[:, None]).exp(), 0.0)
