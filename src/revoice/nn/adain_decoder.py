"""The decoder of AdaIN-VC (Chou, Yeh, Lee, arXiv:1904.05742), which other systems speak with too."""

from math import prod
from typing import Annotated, Any

import torch.nn.functional as F
from pydantic import AfterValidator
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.mistakes import Expected
from revoice.nn.adain import TimeStatistics, adaptive_instance_norm, instance_norm
from revoice.nn.conv import SameConv1d, pixel_shuffle_1d, upsampled
from revoice.nn.pitch import BinsOrNone, PitchEmbedding
from revoice.settings import Depth, Factors, Fraction, Kernel, Width, settings

LONGEST_HOP = 1024  # frames of a step of the content code


def _converts(factors: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse strides after which a step of the code is longer than what is converted."""
    if prod(factors) > LONGEST_HOP:
        raise ValueError("too long a hop")
    return factors


Steps = Annotated[
    Factors, AfterValidator(_converts), Expected(f"a list of whole numbers from 1, together {LONGEST_HOP} at most")
]


@settings
class DecoderSize:
    """Sizes of the decoder.

    Attributes:
        channels, kernel, dropout: of the residual blocks; dropout follows every activation.
        blocks: residual blocks, each with two AdaIN layers (3, 5 and 7 are the depths studied; 6 is published).
        upsample: factor of each block; None spreads the content encoder's hop evenly over the blocks.
        pitch_bins: more than 0 tells the decoder every frame's pitch: steps of log-f0, each with a learned vector that
            joins where the frame rate is reached. 0 is as published: pitch has to pass through the content code.
    """

    channels: Width = 128
    kernel: Kernel = 5
    blocks: Depth = 6
    upsample: Steps | None = None
    dropout: Fraction = 0.0
    pitch_bins: BinsOrNone = 0


def spread_upsampling(hop: int, blocks: int) -> tuple[int, ...]:
    """Factors of 2 whose product is `hop`, spread evenly over the blocks, the first block always upsampling.

    >>> spread_upsampling(8, 6), spread_upsampling(8, 3), spread_upsampling(8, 7)
    ((2, 1, 2, 1, 2, 1), (2, 2, 2), (2, 1, 2, 1, 2, 1, 1))
    """
    steps = hop.bit_length() - 1
    if 2**steps != hop or blocks < steps:
        raise UserError(
            f"decoder.blocks={blocks} cannot upsample by {hop}: give a power of 2 hop and at least {steps} blocks"
        )
    every = max(1, blocks // steps) if steps else 1
    return tuple(2 if i % every == 0 and i // every < steps else 1 for i in range(blocks))


class Block(nn.Module):
    """Two convolutions with a skip connection; normalization before ("code") or after ("paper") each activation."""

    def __init__(
        self, channels: int, kernel: int, dropout: float, stride: int = 1, upsample: int = 1, norm_first: bool = True
    ) -> None:
        super().__init__()
        self.conv1 = SameConv1d(channels, channels, kernel)
        self.conv2 = SameConv1d(channels, channels * upsample, kernel, stride)
        self.stride, self.upsample, self.norm_first = stride, upsample, norm_first
        self.dropout = nn.Dropout(dropout)

    def activate(self, x: Tensor, norm: Any) -> Tensor:
        """Normalize and rectify in the configured order; `norm` is a function (B, C, T) -> (B, C, T)."""
        x = F.relu(norm(x)) if self.norm_first else norm(F.relu(x))
        return self.dropout(x)

    def forward(self, x: Tensor, norm1: Any, norm2: Any) -> Tensor:
        """(B, C, T) -> (B, C, ceil(T / stride) or T * upsample)."""
        y = self.activate(self.conv1(x), norm1)
        y = self.conv2(y)
        if self.upsample > 1:
            y = pixel_shuffle_1d(y, self.upsample)
            x = upsampled(x, self.upsample)
        if self.stride > 1:
            x = F.avg_pool1d(x, self.stride, ceil_mode=True)
        return x + self.activate(y, norm2)


class Decoder(nn.Module):
    """Content code and per-layer styles -> features; the style enters at two AdaIN layers per block."""

    def __init__(self, n_features: int, n_content: int, size: DecoderSize, upsample: tuple[int, ...], norm_first: bool):
        super().__init__()
        self.conv_in = SameConv1d(n_content, size.channels, 1)
        self.blocks = nn.ModuleList(
            Block(size.channels, size.kernel, size.dropout, upsample=factor, norm_first=norm_first)
            for factor in upsample
        )
        self.conv_out = SameConv1d(size.channels, n_features, 1)
        self.dropout = nn.Dropout(size.dropout)
        self.pitch = PitchEmbedding(size.pitch_bins, size.channels) if size.pitch_bins else None
        self.pitch_enters = max((i + 1 for i, factor in enumerate(upsample) if factor > 1), default=0)

    def forward(self, content: Tensor, styles: Tensor, f0: Tensor | None = None) -> Tensor:
        """Speak in a voice.

        Args:
            content: (B, D, T').
            styles: (2 blocks, 2, B, C), two for each block: mean and deviation over time.
            f0: (B, T' * hop) in Hz, if it was built for pitch.

        Returns:
            (B, F, T' * hop).
        """
        flat = styles.float().flatten(0, 1).flatten(1).unbind()  # vectors (B C,): a mean, a deviation, a mean, ...
        told = [TimeStatistics(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        h = self.conv_in(content)
        h = self.dropout(F.relu(instance_norm(h)) if self.blocks[0].norm_first else instance_norm(F.relu(h)))
        for index, block in enumerate(self.blocks):
            if index == self.pitch_enters:
                h = self._with_pitch(h, f0)
            h = block(h, _adain(told[2 * index]), _adain(told[2 * index + 1]))
        if self.pitch_enters == len(self.blocks):
            h = self._with_pitch(h, f0)
        return self.conv_out(h)

    def _with_pitch(self, h: Tensor, f0: Tensor | None) -> Tensor:
        if self.pitch is None:
            return h
        assert f0 is not None, "this decoder was built with pitch_bins: it needs f0 (B, T)"
        return h + self.pitch(f0)


def _adain(style: TimeStatistics) -> Any:
    return lambda x: adaptive_instance_norm(x, style)
