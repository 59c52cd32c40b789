"""Instance normalization over time and its adaptive form (Huang and Belongie, arXiv:1703.06868, equation 8)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5  # added to the (population) variance, as `nn.InstanceNorm1d` does


class TimeStatistics(NamedTuple):
    """Mean and standard deviation over time, each (B, C, 1)."""

    mean: Tensor
    std: Tensor


def time_statistics(x: Tensor) -> TimeStatistics:
    """Mean and standard deviation of (B, C, T) over T."""
    with torch.autocast(x.device.type, enabled=False):
        variance, mean = torch.var_mean(x.float(), dim=2, keepdim=True, correction=0)
        return TimeStatistics(mean, torch.sqrt(variance + EPS))


class Moments:
    """Mean and deviation over time of the layers of a network, as `time_statistics`, but one square root for all."""

    def __init__(self) -> None:
        self.means: list[Tensor] = []
        self.variances: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """Those of another layer's (B, C, T)."""
        with torch.autocast(x.device.type, enabled=False):
            variance, mean = torch.var_mean(x.float(), dim=2, correction=0)
        self.means.append(mean)
        self.variances.append(variance)

    def last_to_first(self) -> Tensor:
        """(layers, 2, B, C), float32, mean and deviation; the newest layer comes first."""
        deviations = torch.sqrt(torch.stack(self.variances[::-1]) + EPS)
        return torch.stack([torch.stack(self.means[::-1]), deviations], dim=1)


def instance_norm(x: Tensor) -> Tensor:
    """Remove mean and deviation over time: (B, C, T) -> (B, C, T), statistics in float32 whatever comes in.

    Of a single frame nothing is left, which torch would refuse to say.
    """
    if x.shape[-1] == 1:
        return torch.zeros_like(_exact(x))
    with torch.autocast(x.device.type, enabled=False):
        return F.instance_norm(_exact(x), eps=EPS)


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


def styles_from(voice: Tensor, maps: nn.ModuleList) -> Tensor:
    """A style for each of several affine maps of voice codes: half of what it gives is mean, half deviation.

    Args:
        voice: (B, D).  maps: N linear ones, each to 2 C.

    Returns:
        (N, 2, B, C), float32: for each map, what is to be mean and deviation over time.
    """
    return each_of(maps, voice).unflatten(2, (2, -1)).transpose(1, 2).float()


def adaptive_instance_norm(x: Tensor, style: TimeStatistics) -> Tensor:
    """Normalize `x` (B, C, T) over time, then give it the style's deviation and mean, each (B, C, 1) or flat (B C,).

    One fused kernel: every (item, channel) row is a channel of a batch of one.
    """
    batch, channels, frames = x.shape
    with torch.autocast(x.device.type, enabled=False):
        rows = _exact(x).reshape(1, batch * channels, frames)
        shift, scale = (told.float() if told.ndim == 1 else told.float().flatten() for told in style)
        normed = F.batch_norm(rows, None, None, scale, shift, training=True, eps=EPS)
    return normed.view(batch, channels, frames)


def _exact(x: Tensor) -> Tensor:
    """What keeps its precision: bf16 as it is, for torch's normalizations take its statistics in float32."""
    return x if x.dtype == torch.bfloat16 else x.float()
