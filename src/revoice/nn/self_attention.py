"""Self-attention over the places of a picture (Zhang et al., "Self-Attention GANs", arXiv:1805.08318, section 3)."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class SelfAttention2d(nn.Module):
    """Every place looks at every other; what it finds is added, weighted by a number that starts at 0.

    Memory grows with the square of the places: fine for the small maps in the middle of a network. As fastai has it,
    the scores are not scaled, and the weights have spectral norm.

    Args:
        channels: of the picture.
        narrow: of queries and keys; None is an eighth of the channels.

    >>> SelfAttention2d(16)(torch.ones(2, 16, 4, 6)).shape
    torch.Size([2, 16, 4, 6])
    """

    def __init__(self, channels: int, narrow: int | None = None) -> None:
        super().__init__()
        narrow = narrow or max(1, channels // 8)
        self.query = spectral_norm(nn.Conv1d(channels, narrow, 1, bias=False))
        self.key = spectral_norm(nn.Conv1d(channels, narrow, 1, bias=False))
        self.value = spectral_norm(nn.Conv1d(channels, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        places = x.flatten(2)  # (B, C, N), N = H x W
        weights = torch.softmax(self.query(places).transpose(1, 2) @ self.key(places), dim=1)  # (B, N, N), over queries
        return (self.gamma * (self.value(places) @ weights)).view_as(x) + x
