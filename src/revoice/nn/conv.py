"""Convolutions over time that keep their length, and the 1-D pixel shuffle."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameConv1d(nn.Conv1d):
    """Conv1d whose output has ceil(T / stride) frames, by padding k//2 left, (k-1)//2 right (k odd: both sides alike).

    Args:
        channels_in, channels_out, kernel_size, stride: as `nn.Conv1d`.
        padding_mode: "reflect" (as AdaIN-VC publishes), "replicate" or "constant" (zeros).

    >>> import torch; SameConv1d(4, 8, 5, stride=2)(torch.zeros(1, 4, 33)).shape
    torch.Size([1, 8, 17])
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1, padding_mode: str = "reflect"
    ) -> None:
        super().__init__(channels_in, channels_out, kernel_size, stride)
        self.sides = (kernel_size // 2, (kernel_size - 1) // 2)
        self.fill = padding_mode

    def forward(self, x: Tensor, around: tuple[int, int] | None = None) -> Tensor:
        """Convolve.

        Args:
            x: (B, C, T), or (B, C, left + T + right) if it is padded already.
            around: the frames left and right, where it is, at least as many as are needed.

        Returns:
            (B, C', ceil(T / stride)).
        """
        if around is not None:
            x = x[..., around[0] - self.sides[0] : x.shape[-1] - (around[1] - self.sides[1])]
        elif self.sides != (0, 0):
            x = padded(x, self.sides, self.fill)
        return F.conv1d(x, self.weight, self.bias, self.stride)


class Pointwise(nn.Linear):
    """A linear map of the channels of (B, C, T), alike in every frame.

    In 16 bits it is a convolution, one operation where a product of matrices takes eight; in float32 the product, so
    that rounding stays what it has been.

    >>> import torch; Pointwise(4, 8)(torch.zeros(1, 4, 33)).shape
    torch.Size([1, 8, 33])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T) -> (B, C', T)."""
        if torch.is_autocast_enabled(input.device.type):
            return F.conv1d(input, self.weight[..., None], self.bias)
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def halved(x: Tensor) -> Tensor:
    """As autocast would give it to a convolution, for more than one of them; as it is without autocast."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def padded(x: Tensor, sides: tuple[int, int], mode: str) -> Tensor:
    """(B, C, T) -> (B, C, left + T + right), in its own precision: autocast on a CPU would make it float32 and back."""
    with torch.autocast(x.device.type, enabled=False) if x.dtype == torch.bfloat16 else nullcontext():
        return F.pad(x, sides, mode=mode)


def fitted(x: Tensor, frames: int) -> Tensor:
    """(B, C, T) -> (B, C, frames), cut or the last frame held: by an index, which can be traced for any length."""
    return x.index_select(-1, torch.arange(frames, device=x.device).clamp(max=x.shape[-1] - 1))


def upsampled(x: Tensor, factor: int) -> Tensor:
    """(B, C, T) -> (B, C, T * factor), each frame repeated; in its own precision, too."""
    with torch.autocast(x.device.type, enabled=False) if x.dtype == torch.bfloat16 else nullcontext():
        return F.interpolate(x, scale_factor=float(factor), mode="nearest")


def pixel_shuffle_1d(x: Tensor, factor: int) -> Tensor:
    """Interleave channel groups in time: (B, C * factor, T) -> (B, C, T * factor).

    >>> import torch; pixel_shuffle_1d(torch.arange(4.0).view(1, 4, 1), 2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    batch, channels, frames = x.shape
    x = x.view(batch, channels // factor, factor, frames)
    return x.transpose(2, 3).reshape(batch, channels // factor, frames * factor)
