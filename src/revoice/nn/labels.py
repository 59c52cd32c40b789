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


def energy_distance_by(ours: Tensor, our: Tensor, theirs: Tensor, their: Tensor, count: int) -> Tensor:
    """The mean of the energy distances within each of `count` labels that both sides have, 0 if there is none.

    Args:
        ours, theirs: points (N, D) and (M, D).
        our, their: places of their labels (N,) and (M,).
        count: of labels.

    >>> x, there = torch.tensor([[0.0], [9.0]]), torch.tensor([0, 1])
    >>> energy_distance_by(x, there, x + 1, there, 3).item()
    2.0
    >>> energy_distance_by(x[:1], there[:1], x[1:], there[1:], 2).item()
    0.0
    """
    a, b = one_hot(our, count, ours), one_hot(their, count, theirs)
    both = (a.sum(0) > 0) & (b.sum(0) > 0)
    a, b = a / a.sum(0).clamp(min=1), b / b.sum(0).clamp(min=1)  # so that products with them are means
    with torch.autocast(ours.device.type, enabled=False):
        between, own, other = (
            torch.einsum("ne,nm,me->e", left, torch.cdist(x, y), right)
            for left, x, y, right in ((a, ours, theirs, b), (a, ours, ours, a), (b, theirs, theirs, b))
        )
    return ((2 * between - own - other) * both).sum() / both.sum().clamp(min=1)


def energy_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of points (N, D) and (M, D): 0 only for equal distributions.

    Szekely and Rizzo, Journal of Statistical Planning and Inference 2013; points are paired with themselves, too.

    >>> energy_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]])).item()
    0.0
    """
    between, own, other = (torch.cdist(a, b).mean() for a, b in ((ours, theirs), (ours, ours), (theirs, theirs)))
    return 2 * between - own - other
