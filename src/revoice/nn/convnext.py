"""ConvNeXt blocks over time (Liu et al., arXiv:2201.03545; over time as in Vocos, Siuzdak, arXiv:2306.00814)."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.nn.adain import each_of


class TableNorm(nn.Module):
    """Layer normalization whose scale and shift are rows of a table.

    Args:
        rows: of the table.  channels: C.  eps: added to the variance.
    """

    def __init__(self, rows: int, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(rows, channels))
        self.shift = nn.Parameter(torch.zeros(rows, channels))

    def forward(self, x: Tensor, row: int) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * self.scale[row] + self.shift[row]


class Film(NamedTuple):
    """Factor and offset of every channel, (B, 1, C) each."""

    factor: Tensor
    offset: Tensor


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, normalization, FiLM by a condition, two pointwise layers, and the way around them.

    Args:
        channels: C.  hidden: width of the pointwise layers.  kernel, dilation: of the depthwise convolution.
        condition: width of the vector that scales and shifts every channel (Perez et al., arXiv:1709.07871); 0: none.
        causal: a frame does not see those after it.
        norm: the normalization over channels, if not a plain one.
        layer_scale: factor at the start of what a block adds, learned for every channel; None: 1 for good.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: int = 7,
        dilation: int = 1,
        condition: int = 0,
        causal: bool = False,
        norm: nn.LayerNorm | TableNorm | None = None,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.before = dilation * (kernel - 1) if causal else 0  # frames of silence that a causal block puts in front
        padding = 0 if causal else dilation * (kernel // 2)
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
        self.norm = nn.LayerNorm(channels) if norm is None else norm
        self.film = nn.Linear(condition, 2 * channels) if condition else None
        self.up = nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)
        self.gamma = None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        nn.init.normal_(self.down.weight, std=0.02 / hidden**0.5 * channels**0.5)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, film: Film | None = None, row: int = 0) -> Tensor:
        """(B, C, T), what `films_of` made of a condition, the row of a `TableNorm` -> (B, C, T)."""
        seen = F.pad(x, (self.before, 0)) if self.before else x
        h = self.depthwise(seen).transpose(1, 2)
        h = self.norm(h, row) if isinstance(self.norm, TableNorm) else self.norm(h)
        if film is not None:
            h = h * film.factor + film.offset
        h = self.down(F.gelu(self.up(h.flatten(0, 1)))).unflatten(0, h.shape[:2])
        return x + (h if self.gamma is None else self.gamma * h).transpose(1, 2)


def films_of(blocks: Iterable[nn.Module], condition: Tensor) -> list[Film]:
    """What a condition (B, D) asks of each of several blocks."""
    maps = [block.film for block in blocks if isinstance(block, ConvNeXtBlock) and block.film is not None]
    scale, shift = each_of(maps, condition)[:, :, None].chunk(2, dim=-1)  # (blocks, B, 1, C)
    return [Film(*pair) for pair in zip((1 + scale).unbind(), shift.unbind(), strict=True)]
