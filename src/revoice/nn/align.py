"""Alignment of two sequences in time."""

import torch
import torch.nn.functional as F
from torch import Tensor

FASTEST = 3  # steps of the other sequence for one of the first


def followed(first: Tensor, other: Tensor, steps: Tensor, lengths: Tensor) -> Tensor:
    """Which step of another sequence is as each step of the first, in their order: the path of the least distance.

    A step of the first stands for 0 to `FASTEST` steps of the other, which may begin and end anywhere in it. Squared
    distances are added up along the path, as dynamic time warping does (Sakoe and Chiba 1978).

    Args:
        first: (B, D, N).
        other: (B, D, M).
        steps, lengths: (B,) how many of their N and M steps are there, one at least; the others follow nothing.

    Returns:
        (B, N) int64, never falling.

    >>> at = torch.tensor([[[0.0, 1.0, 2.0, 5.0]]])
    >>> followed(at, torch.tensor([[[9.0, 0.0, 0.1, 1.0, 2.0, 2.2, 5.0, 9.0]]]), *torch.tensor([[4], [8]])).tolist()
    [[1, 3, 4, 6]]
    """
    cost = torch.cdist(first.float().transpose(1, 2), other.float().transpose(1, 2)).square()  # (B, N, M)
    asked = torch.arange(first.shape[2], device=first.device) < steps[:, None]
    there = torch.arange(other.shape[2], device=other.device) < lengths[:, None]
    cost = cost.masked_fill(~asked[:, :, None], 0.0).masked_fill(~there[:, None], torch.inf)
    best, moves = cost[:, 0], []
    for row in cost.unbind(1)[1:]:
        came = torch.stack([F.pad(best, (by, 0), value=torch.inf)[:, : best.shape[1]] for by in range(FASTEST + 1)])
        least, by = came.min(0)
        best = row + least
        moves.append(by)
    at = best.argmin(1, keepdim=True)
    path = [at]
    for by in reversed(moves):
        at = at - by.gather(1, at)
        path.append(at)
    return torch.cat(path[::-1], dim=1)
