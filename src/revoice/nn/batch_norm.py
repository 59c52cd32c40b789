"""Batch normalization over the whole batch of a run, on any device (torch's SyncBatchNorm refuses CPUs)."""

import torch
from torch import Tensor, nn

from revoice.nn.collective import processes, summed_with_gradient


class BatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose statistics are those of all processes together.

    >>> BatchNorm1d(4)(torch.zeros(2, 4, 10)).shape
    torch.Size([2, 4, 10])
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T); every process must bring as many frames."""
        if not self.training or processes() == 1:
            return super().forward(x)
        return _normalized_together(self, x)


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` in the same way."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); every process must bring as many places."""
        if not self.training or processes() == 1:
            return super().forward(x)
        return _normalized_together(self, x)


def _normalized_together(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """(B, C, ...) by the mean and deviation of each channel over the batches of all processes."""
    with torch.autocast(x.device.type, enabled=False):
        wide = x if x.dtype == torch.float64 else x.float()
        others, shape = [i for i in range(x.ndim) if i != 1], (-1, *[1] * (x.ndim - 2))
        count = wide.numel() // wide.shape[1] * processes()
        mean = summed_with_gradient(wide.sum(others)) / count
        centered = wide - mean.view(shape)
        variance = summed_with_gradient(centered.square().sum(others)) / count
        _follow(norm, mean.detach(), variance.detach() * (count / (count - 1)))
        scale = norm.weight * (variance + norm.eps).rsqrt()
        return centered * scale.view(shape) + norm.bias.view(shape)


@torch.no_grad()
def _follow(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
