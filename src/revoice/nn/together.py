"""Several small maps of the same vectors, which a GPU would rather see as one."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def each_of(maps: Sequence[nn.Linear] | nn.ModuleList, x: Tensor) -> Tensor:
    """What each of N linear maps of one width makes of vectors (B, D): (N, B, width).

    In 16 bits they are one product. In float32 they are one each, so that rounding stays what it has been.

    >>> each_of([nn.Linear(4, 6), nn.Linear(4, 6)], torch.zeros(3, 4)).shape
    torch.Size([2, 3, 6])
    """
    if not torch.is_autocast_enabled(x.device.type):
        return torch.stack([each(x) for each in maps])
    weight, bias = (torch.cat([getattr(each, name) for each in maps]) for name in ("weight", "bias"))
    return F.linear(x, weight, bias).view(len(x), len(maps), -1).transpose(0, 1)
