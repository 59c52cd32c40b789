"""The encoder of ZeroSpeech's VQ-VAE (van Niekerk, Nortje, Kamper, arXiv:2005.09409)."""

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from revoice.nn.adain import instance_norm
from revoice.nn.batch_norm import BatchNorm1d
from revoice.settings import Whole, Width, settings

Strides = Annotated[tuple[Annotated[Whole, Field(ge=1, le=2)], ...], Field(min_length=1, max_length=256)]


@settings
class VQEncoderSize:
    """Sizes of the encoder of ZeroSpeech (van Niekerk, Nortje, Kamper, arXiv:2005.09409).

    Attributes:
        channels: of every layer.
        strides: of each convolution: kernel 3 where it is 1, 4 where it is 2.
        norm: "batch" (published) or "instance", which removes each clip's own statistics and with them much of the
            voice.
    """

    channels: Width = 768
    strides: Strides = (1, 1, 2, 1, 1)
    norm: Literal["batch", "instance"] = "batch"


class VQEncoder(nn.Module):
    """Convolution, normalization, ReLU, again and again; then down to the width of the codes.

    Args:
        n_features: F.  out: D.  size: of the layers.
        padded: whether the first convolution is padded as the others are; published, it is not.
    """

    def __init__(self, n_features: int, out: int, size: VQEncoderSize, padded: bool = True) -> None:
        super().__init__()
        widths = [n_features] + [size.channels] * len(size.strides)
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, 2 + stride, stride, padding=int(padded or i > 0), bias=False)
            for i, (a, b, stride) in enumerate(zip(widths, widths[1:], size.strides, strict=False))
        )
        batch = size.norm == "batch"
        self.norms = nn.ModuleList(BatchNorm1d(size.channels) if batch else _InstanceNorm() for _ in size.strides)
        self.out = nn.Conv1d(size.channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, D, T / hop); T a multiple of the hop."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return self.out(x)


class _InstanceNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x)
