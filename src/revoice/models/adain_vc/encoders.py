"""The encoders of AdaIN-VC (Chou, Yeh, Lee, arXiv:1904.05742)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.nn.adain import Moments, instance_norm
from revoice.nn.adain_decoder import Block, Steps
from revoice.nn.conv import SameConv1d, halved, padded
from revoice.settings import Fraction, Kernel, Whole, Width, settings


@settings
class EncoderSize:
    """Sizes of one encoder.

    Attributes:
        channels: width of the residual blocks.
        out: width of the code (content latent or speaker embedding).
        kernel: kernel of the residual blocks.
        bank: largest kernel of the convolution bank.  bank_step: its kernels are bank_step, 2 bank_step, ... <= bank.
        bank_channels: width of each convolution of the bank.
        subsample: stride of each residual block; their product is the content code's hop in frames.
        dense_blocks: fully connected residual blocks (speaker encoder only).
        norm: "instance" or "none" (content encoder only; none is the published ablation).
        dropout: after every activation.
    """

    channels: Width = 128
    out: Width = 128
    kernel: Kernel = 5
    bank: Annotated[Whole, Field(ge=1, le=64)] = 8
    bank_step: Annotated[Whole, Field(ge=1, le=64)] = 1
    bank_channels: Width = 128
    subsample: Steps = (1, 2, 1, 2, 1, 2)
    dense_blocks: Annotated[Whole, Field(ge=0, le=256)] = 6
    norm: Literal["instance", "none"] = "instance"
    dropout: Fraction = 0.0

    def __post_init__(self) -> None:
        if self.bank_step > self.bank:
            raise UserError(f"bank_step={self.bank_step} is more than bank={self.bank}: no convolution is left")


class Encoder(nn.Module):
    """Convolution bank, 1x1 convolution and strided residual blocks: what content and speaker encoder share."""

    def __init__(self, n_features: int, size: EncoderSize, norm_first: bool) -> None:
        super().__init__()
        kernels = range(size.bank_step, size.bank + 1, size.bank_step)
        bank = [SameConv1d(n_features, size.bank_channels, k) for k in kernels]
        self.bank, self.around = nn.ModuleList(bank), bank[-1].sides  # the widest pads for all
        self.conv_in = SameConv1d(len(kernels) * size.bank_channels + n_features, size.channels, 1)
        self.blocks = nn.ModuleList(
            Block(size.channels, size.kernel, size.dropout, stride=stride, norm_first=norm_first)
            for stride in size.subsample
        )
        self.dropout = nn.Dropout(size.dropout)

    def banked(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, C, T): bank, its input appended, 1x1 convolution."""
        x = halved(x)
        wide = padded(x, self.around, "reflect")
        heard = F.relu(torch.cat([conv(wide, self.around) for conv in self.bank], dim=1))
        return self.conv_in(torch.cat([heard, x], dim=1))


class SpeakerEncoder(Encoder):
    """(B, F, T) -> (B, out): no normalization anywhere, so that mean and deviation over time, the voice, survive."""

    def __init__(self, n_features: int, size: EncoderSize, norm_first: bool) -> None:
        super().__init__(n_features, size, norm_first)
        layers = [nn.Linear(size.channels, size.channels) for _ in range(2 * size.dense_blocks)]
        self.dense = nn.ModuleList(layers)
        self.out = nn.Linear(size.channels, size.out)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the whole clip: average over time after the convolutions."""
        h = self.dropout(F.relu(self.banked(x)))
        for block in self.blocks:
            h = block(h, _same, _same)
        h = h.mean(dim=2)
        for first, second in zip(self.dense[::2], self.dense[1::2], strict=True):
            h = h + self.dropout(F.relu(second(self.dropout(F.relu(first(h))))))
        return self.out(h)


@dataclass(frozen=True)
class Content:
    """Mean and log-variance of the code, (B, out, T')."""

    mean: Tensor
    log_variance: Tensor


class ContentEncoder(Encoder):
    """(B, F, T) -> `Content`: instance normalization removes each channel's mean and deviation over time."""

    def __init__(self, n_features: int, size: EncoderSize, norm_first: bool) -> None:
        super().__init__(n_features, size, norm_first)
        self.normalizes = size.norm == "instance"
        self.mean = SameConv1d(size.channels, size.out, 1)
        self.log_variance = SameConv1d(size.channels, size.out, 1)

    def forward(self, x: Tensor) -> Content:
        """Encode; T' is ceil(T / hop)."""
        return self._code(self._layers(x, self._norm))

    def removed(self, x: Tensor) -> Tensor:
        """What the blocks take out of clips, in the order in which a mirrored decoder puts it back.

        Args:
            x: (B, F, T).

        Returns:
            (layers, 2, B, C), float32: mean and deviation over time, the last layer's first.
        """
        return self._measured(x, 0)[1]

    def code_and_removed(self, x: Tensor, of: Tensor) -> tuple[Content, Tensor]:
        """The code of `x` and what is removed of others, both (B, F, T), in one pass."""
        h, removed = self._measured(torch.cat([x, of]), len(x))
        return self._code(h[: len(x)]), removed

    def _measured(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """What the layers make of clips, and what they remove of those from `first` on."""
        moments = Moments()

        def norm(h: Tensor) -> Tensor:
            moments.add(h[first:] if first else h)
            return self._norm(h)

        h = self._layers(x, norm)
        return h, moments.last_to_first()

    def _layers(self, x: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, F, T) -> (B, C, T'); `norm` is that of the blocks."""
        h = self.banked(x)
        h = self.dropout(F.relu(self._norm(h)) if self.blocks[0].norm_first else self._norm(F.relu(h)))
        for block in self.blocks:
            h = block(h, norm, norm)
        return h

    def _norm(self, h: Tensor) -> Tensor:
        return instance_norm(h) if self.normalizes else h

    def _code(self, h: Tensor) -> Content:
        return Content(self.mean(h), self.log_variance(h))


def _same(x: Tensor) -> Tensor:
    return x
