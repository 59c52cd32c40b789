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
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float()
            count = x.shape[0] * x.shape[2] * processes()
            mean = summed_with_gradient(wide.sum((0, 2))) / count
            centered = wide - mean[:, None]
            variance = summed_with_gradient(centered.square().sum((0, 2))) / count
            self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
            scale = self.weight * (variance + self.eps).rsqrt()
            return centered * scale[:, None] + self.bias[:, None]

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
