"""Labels as coordinates, and how far two sets of points are apart."""

import torch
from torch import Tensor


def one_hot(places: Tensor, count: int, like: Tensor | None = None) -> Tensor:
    """Places (B,) -> (B, count), in the type of `like` or float32; a place that is not in the table is all zeros.

    >>> one_hot(torch.tensor([1, -1]), 2).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    found = places[:, None] == torch.arange(count, device=places.device)
    return found.to(torch.float32 if like is None else like.dtype)


def energy_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of points (N, D) and (M, D): 0 only for equal distributions.

    Szekely and Rizzo, Journal of Statistical Planning and Inference 2013; points are paired with themselves, too.

    >>> energy_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]])).item()
    0.0
    """
    between, own, other = (torch.cdist(a, b).mean() for a, b in ((ours, theirs), (ours, ours), (theirs, theirs)))
    return 2 * between - own - other
