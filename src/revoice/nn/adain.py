"""Instance normalization over time and its adaptive form (Huang and Belongie, arXiv:1703.06868, equation 8)."""

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


def instance_norm(x: Tensor) -> Tensor:
    """Remove mean and deviation over time: (B, C, T) -> (B, C, T), statistics in float32 whatever comes in."""
    with torch.autocast(x.device.type, enabled=False):
        return F.instance_norm(_exact(x), eps=EPS)


def styles_from(voice: Tensor, maps: nn.ModuleList) -> list[TimeStatistics]:
    """A style for each of several affine maps of voice codes (B, D): half of what it gives is mean, half deviation.

    In 16 bits the maps are one product. In float32 they are one each, so that rounding stays what it has been.
    """
    if torch.is_autocast_enabled(voice.device.type):
        weight, bias = (torch.cat([getattr(each, name) for each in maps]) for name in ("weight", "bias"))
        told = F.linear(voice, weight, bias).view(len(voice), len(maps), -1).transpose(0, 1)
    else:
        told = torch.stack([each(voice) for each in maps])
    halves = told.unflatten(2, (2, -1)).transpose(1, 2).float().contiguous().unsqueeze(4)  # (maps, 2, B, C, 1)
    flat = halves.flatten(0, 1).unbind()
    return [TimeStatistics(mean, std) for mean, std in zip(flat[::2], flat[1::2], strict=True)]


def adaptive_instance_norm(x: Tensor, style: TimeStatistics) -> Tensor:
    """Normalize `x` (B, C, T) over time, then give it the style's deviation and mean, each (B, C, 1).

    One fused kernel: every (item, channel) row is a channel of a batch of one.
    """
    batch, channels, frames = x.shape
    with torch.autocast(x.device.type, enabled=False):
        rows = _exact(x).reshape(1, batch * channels, frames)
        scale, shift = style.std.float().reshape(-1), style.mean.float().reshape(-1)
        normed = F.batch_norm(rows, None, None, scale, shift, training=True, eps=EPS)
    return normed.view(batch, channels, frames)


def _exact(x: Tensor) -> Tensor:
    """What keeps its precision: bf16 as it is, for torch's normalizations take its statistics in float32."""
    return x if x.dtype == torch.bfloat16 else x.float()
