"""ConvNeXt blocks over time (Liu et al., arXiv:2201.03545; over time as in Vocos, Siuzdak, arXiv:2306.00814)."""

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, normalization, FiLM by a condition, two pointwise layers, and the way around them.

    Args:
        channels: C.  hidden: width of the pointwise layers.  kernel, dilation: of the depthwise convolution.
        condition: width of the vector that scales and shifts every channel (Perez et al., arXiv:1709.07871); 0: none.
        causal: a frame does not see those after it.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: int = 7,
        dilation: int = 1,
        condition: int = 0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.before = dilation * (kernel - 1) if causal else 0  # frames of silence that a causal block puts in front
        padding = 0 if causal else dilation * (kernel // 2)
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.film = nn.Linear(condition, 2 * channels) if condition else None
        self.up = nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)
        nn.init.normal_(self.down.weight, std=0.02 / hidden**0.5 * channels**0.5)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, C, T), condition (B, D) -> (B, C, T)."""
        seen = F.pad(x, (self.before, 0)) if self.before else x
        h = self.norm(self.depthwise(seen).transpose(1, 2))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, None].chunk(2, dim=-1)
            h = h * (1 + scale) + shift
        return x + self.down(F.gelu(self.up(h))).transpose(1, 2)
