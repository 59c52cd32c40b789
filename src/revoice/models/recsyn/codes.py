"""Recognition-synthesis in codes: the melody apart from what is said and in which voice."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

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
    before = torch.where(voiced, place, -1).cummax(1)[0]  # (B, T), the voiced frame at or before each; -1: none
    after = frames - 1 - torch.where(voiced, frames - 1 - place, -1).flip(1).cummax(1)[0].flip(1)  # or behind; T: none
    first, last = torch.where(before < 0, after, before), torch.where(after >= frames, before, after)
    log = f0.clamp(min=1).log()
    low, high = (log.gather(1, at.clamp(0, frames - 1)) for at in (first, last))
    share = (place - first) / (last - first).clamp(min=1)
    whole = torch.lerp(low, high, share.to(log.dtype).clamp(0, 1))
    whole = torch.where(voiced.any(1, keepdim=True), whole, level[:, None])
    filled = F.pad((whole - level[:, None])[:, None], (0, -frames % EVERY), mode="replicate")
    return F.avg_pool1d(filled, EVERY).transpose(1, 2) / SPREAD


def contour(code: Tensor, level: Tensor, voiced: Tensor) -> Tensor:
    """The way back: (B, N, 1), levels (B,) and voiced frames (B, T) -> Hz (B, T), 0 where unvoiced."""
    frames = voiced.shape[1]
    # a code is of the middle of its frames, between which it moves evenly
    log = F.interpolate(code.transpose(1, 2), scale_factor=EVERY, mode="linear")[:, 0, :frames] * SPREAD
    return torch.where(voiced > 0.5, (log + level[:, None]).exp(), 0.0)
