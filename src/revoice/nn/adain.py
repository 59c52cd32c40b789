"""Instance normalization over time and its adaptive form (Huang and Belongie, arXiv:1703.06868, equation 8)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

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


def instance_norm(x: Tensor) -> Tensor:
    """Remove mean and deviation over time: (B, C, T) -> (B, C, T), in float32 whatever the precision of the step."""
    with torch.autocast(x.device.type, enabled=False):
        return F.instance_norm(x.float(), eps=EPS)


def adaptive_instance_norm(x: Tensor, style: TimeStatistics) -> Tensor:
    """Normalize `x` (B, C, T) over time, then give it the style's deviation and mean, each (B, C, 1).

    One fused kernel: every (item, channel) row is a channel of a batch of one.
    """
    batch, channels, frames = x.shape
    with torch.autocast(x.device.type, enabled=False):
        rows = x.float().reshape(1, batch * channels, frames)
        scale, shift = style.std.float().reshape(-1), style.mean.float().reshape(-1)
        normed = F.batch_norm(rows, None, None, scale, shift, training=True, eps=EPS)
    return normed.view(batch, channels, frames)
