"""The encoder of Whisper (Radford et al., arXiv:2212.04356, section 2.2), for clips of any length.

Names of the parameters are those of openai-whisper, so that published weights load as they are.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.settings import Depth, Width, settings

POSITIONS = 1500  # steps of a window of 30 s, for which there are positions
RATE = 50.0  # steps per second
_OVERLAP = 50  # steps shared by neighboring windows of a clip that is longer


@settings
class WhisperSize:
    """Sizes of the encoder; those of "tiny" by default.

    Attributes:
        mels: rows of the log-mel.  width, heads, layers: of the transformer.
    """

    mels: Width = 80
    width: Width = 384
    heads: Width = 6
    layers: Depth = 4

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise UserError(
                f"Whisper of width={self.width}, heads={self.heads}: expected a width that is a multiple of "
                "twice the heads"
            )


class Attention(nn.Module):
    """Self-attention in which every step sees all steps of its clip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D), mask (B, 1, 1, T) of the steps that are there -> (B, T, D)."""
        split = (x.shape[0], x.shape[1], self.heads, -1)
        q, k, v = (layer(x).view(split).transpose(1, 2) for layer in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A transformer layer, normalized before each half."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.attn(self.attn_ln(x), mask)
        return x + self.mlp(self.mlp_ln(x))


class WhisperEncoder(nn.Module):
    """Log-mels of the preset `whisper_16k` -> what is said, 50 steps a second.

    Published, every clip is padded to 30 s; here a clip is as long as it is, and one of more than 30 s is heard in
    windows that overlap by a second.

    >>> WhisperEncoder(WhisperSize(width=8, heads=2, layers=1))(torch.zeros(2, 80, 301)).shape
    torch.Size([2, 151, 8])
    """

    positional_embedding: Tensor

    def __init__(self, size: WhisperSize) -> None:
        super().__init__()
        self.size = size
        self.conv1 = nn.Conv1d(size.mels, size.width, 3, padding=1)
        self.conv2 = nn.Conv1d(size.width, size.width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(POSITIONS, size.width))
        self.blocks = nn.ModuleList(Layer(size.width, size.heads) for _ in range(size.layers))
        self.ln_post = nn.LayerNorm(size.width)

    def forward(self, log_mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode a batch.

        Args:
            log_mel: (B, mels, T) at 100 frames a second.
            lengths: (B,) frames that are there; None: all. The rest is padding, which changes nothing: a clip gives
                what it gives alone.

        Returns:
            (B, ceil(T / 2), width) at 50 steps a second.
        """
        steps = (log_mel.shape[-1] + 1) // 2
        if steps <= POSITIONS:
            return self._window(log_mel, lengths)
        hop, joined = POSITIONS - _OVERLAP, log_mel.new_zeros(log_mel.shape[0], steps, self.size.width)
        for start in range(0, steps - _OVERLAP, hop):
            piece = log_mel[..., 2 * start : 2 * (start + POSITIONS)]
            there = None if lengths is None else (lengths - 2 * start).clamp(0, piece.shape[-1])
            keep = _OVERLAP // 2 if start else 0  # of the second shared by two windows, each gives its own half
            found = self._window(piece, there)
            rows = slice(None) if lengths is None or not start else (lengths + 1) // 2 > start + _OVERLAP  # as alone
            joined[rows, start + keep : start + found.shape[1]] = found[rows, keep:].to(joined.dtype)
        return joined

    def _window(self, log_mel: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is not None:  # both convolutions meet zeros after the clip, as they do after a clip alone
            frames = _before(lengths, log_mel)
            x = F.gelu(self.conv1(log_mel.where(frames, 0))).where(frames, 0)
        else:
            x = F.gelu(self.conv1(log_mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]].to(x.dtype)
        mask = None
        if lengths is not None:  # a clip without a single step sees its padding, or nothing would be finite
            mask = _before(((lengths + 1) // 2).clamp(min=1), x.transpose(1, 2))[:, None]
        for block in self.blocks:
            x = block(x, mask)
        return self.ln_post(x)


def _before(lengths: Tensor, x: Tensor) -> Tensor:
    """(B, 1, T): which columns of x (B, C, T) come before each length (B,)."""
    return (torch.arange(x.shape[-1], device=x.device) < lengths.to(x.device)[:, None])[:, None]


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's positions (length, channels): sines, then cosines, of wavelengths from 2 pi to 10,000 x 2 pi."""
    scale = torch.exp(-math.log(10_000) / (channels // 2 - 1) * torch.arange(channels // 2)) if channels > 2 else None
    angle = torch.arange(length)[:, None] * (torch.ones(1) if scale is None else scale)
    return torch.cat([angle.sin(), angle.cos()], dim=1)
