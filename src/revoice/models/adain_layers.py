"""The encoders and the decoder of AdaIN-VC (Chou, Yeh, Lee, arXiv:1904.05742)."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.errors import UserError, choices
from revoice.nn.adain import TimeStatistics, adaptive_instance_norm, instance_norm, time_statistics
from revoice.nn.conv import SameConv1d, pixel_shuffle_1d
from revoice.nn.pitch import PitchEmbedding

LONGEST_HOP = 1024  # frames of a step of the content code


@dataclass(frozen=True, kw_only=True)
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

    channels: int = 128
    out: int = 128
    kernel: int = 5
    bank: int = 8
    bank_step: int = 1
    bank_channels: int = 128
    subsample: tuple[int, ...] = (1, 2, 1, 2, 1, 2)
    dense_blocks: int = 6
    norm: str = "instance"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_factors(self.subsample, "subsample")


@dataclass(frozen=True, kw_only=True)
class DecoderSize:
    """Sizes of the decoder.

    Attributes:
        channels, kernel, dropout: as in `EncoderSize`.
        blocks: residual blocks, each with two AdaIN layers (3, 5 and 7 are the depths studied; 6 is published).
        upsample: factor of each block; None spreads the content encoder's hop evenly over the blocks.
        pitch_bins: more than 0 tells the decoder every frame's pitch: steps of log-f0, each with a learned vector that
            joins where the frame rate is reached. 0 is as published: pitch has to pass through the content code.
    """

    channels: int = 128
    kernel: int = 5
    blocks: int = 6
    upsample: tuple[int, ...] | None = None
    dropout: float = 0.0
    pitch_bins: int = 0

    def __post_init__(self) -> None:
        if self.upsample is not None:
            check_factors(self.upsample, "decoder.upsample")
        if self.blocks < 1 or self.pitch_bins < 0 or self.pitch_bins == 1:
            raise UserError(
                f"decoder.blocks={self.blocks}, decoder.pitch_bins={self.pitch_bins}: expected 1 or more, and 0 or 2 "
                "or more"
            )


def check_factors(factors: tuple[int, ...], name: str) -> None:
    """Refuse what is not a list of whole numbers from 1 on with a product that leaves frames to convert."""
    whole = 0 < len(factors) <= LONGEST_HOP and all(type(factor) is int and factor >= 1 for factor in factors)
    if not whole or prod(factors) > LONGEST_HOP:
        raise UserError(
            f"{name}={list(factors)}: expected a list of whole numbers from 1, together {LONGEST_HOP} at most"
        )


class Block(nn.Module):
    """Two convolutions with a skip connection; normalisation before ("code") or after ("paper") each activation."""

    def __init__(self, size: EncoderSize | DecoderSize, stride: int = 1, upsample: int = 1, norm_first: bool = True):
        super().__init__()
        c = size.channels
        self.conv1 = SameConv1d(c, c, size.kernel)
        self.conv2 = SameConv1d(c, c * upsample, size.kernel, stride)
        self.stride, self.upsample, self.norm_first = stride, upsample, norm_first
        self.dropout = nn.Dropout(size.dropout)

    def activate(self, x: Tensor, norm: Any) -> Tensor:
        """Normalise and rectify in the configured order; `norm` is a function (B, C, T) -> (B, C, T)."""
        x = F.relu(norm(x)) if self.norm_first else norm(F.relu(x))
        return self.dropout(x)

    def forward(self, x: Tensor, norm1: Any, norm2: Any) -> Tensor:
        """(B, C, T) -> (B, C, ceil(T / stride) or T * upsample)."""
        y = self.activate(self.conv1(x), norm1)
        y = self.conv2(y)
        if self.upsample > 1:
            y = pixel_shuffle_1d(y, self.upsample)
            x = F.interpolate(x, scale_factor=float(self.upsample), mode="nearest")
        if self.stride > 1:
            x = F.avg_pool1d(x, self.stride, ceil_mode=True)
        return x + self.activate(y, norm2)


class Encoder(nn.Module):
    """Convolution bank, 1x1 convolution and strided residual blocks: what content and speaker encoder share."""

    def __init__(self, n_features: int, size: EncoderSize, norm_first: bool) -> None:
        super().__init__()
        kernels = range(size.bank_step, size.bank + 1, size.bank_step)
        self.bank = nn.ModuleList(SameConv1d(n_features, size.bank_channels, k) for k in kernels)
        self.conv_in = SameConv1d(len(kernels) * size.bank_channels + n_features, size.channels, 1)
        self.blocks = nn.ModuleList(Block(size, stride=s, norm_first=norm_first) for s in size.subsample)
        self.dropout = nn.Dropout(size.dropout)

    def banked(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, C, T): bank, its input appended, 1x1 convolution."""
        return self.conv_in(torch.cat([*(F.relu(conv(x)) for conv in self.bank), x], dim=1))


class SpeakerEncoder(Encoder):
    """(B, F, T) -> (B, out): no normalisation anywhere, so that mean and deviation over time, the voice, survive."""

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
    """Mean and log-variance (B, out, T') of the code, and the statistics each layer removed if they are kept."""

    mean: Tensor
    log_variance: Tensor
    removed: tuple[TimeStatistics, ...]


class ContentEncoder(Encoder):
    """(B, F, T) -> `Content`: instance normalisation removes each channel's mean and deviation over time."""

    def __init__(self, n_features: int, size: EncoderSize, norm_first: bool, keep_statistics: bool) -> None:
        super().__init__(n_features, size, norm_first)
        if size.norm not in ("instance", "none"):
            raise choices(size.norm, ["instance", "none"], "content_encoder.norm")
        self.normalises, self.keeps = size.norm == "instance", keep_statistics
        self.mean = SameConv1d(size.channels, size.out, 1)
        self.log_variance = SameConv1d(size.channels, size.out, 1)

    def forward(self, x: Tensor) -> Content:
        """Encode; T' is ceil(T / hop)."""
        removed: list[TimeStatistics] = []

        def norm(h: Tensor) -> Tensor:
            if self.keeps:
                removed.append(time_statistics(h))
            return instance_norm(h) if self.normalises else h

        h = self.banked(x)
        h = self.dropout(F.relu(norm(h)) if self.blocks[0].norm_first else norm(F.relu(h)))
        for block in self.blocks:
            h = block(h, norm, norm)
        return Content(self.mean(h), self.log_variance(h), tuple(removed))


class Decoder(nn.Module):
    """Content code and per-layer style statistics -> features; the style enters at two AdaIN layers per block."""

    def __init__(self, n_features: int, n_content: int, size: DecoderSize, upsample: tuple[int, ...], norm_first: bool):
        super().__init__()
        self.conv_in = SameConv1d(n_content, size.channels, 1)
        self.blocks = nn.ModuleList(Block(size, upsample=u, norm_first=norm_first) for u in upsample)
        self.conv_out = SameConv1d(size.channels, n_features, 1)
        self.dropout = nn.Dropout(size.dropout)
        self.pitch = PitchEmbedding(size.pitch_bins, size.channels) if size.pitch_bins else None
        self.pitch_enters = max((i + 1 for i, factor in enumerate(upsample) if factor > 1), default=0)

    def forward(self, content: Tensor, styles: list[TimeStatistics], f0: Tensor | None = None) -> Tensor:
        """(B, C, T'), two styles per block and, if it was built for pitch, f0 (B, T' * hop) -> (B, F, T' * hop)."""
        h = self.conv_in(content)
        h = self.dropout(F.relu(instance_norm(h)) if self.blocks[0].norm_first else instance_norm(F.relu(h)))
        for index, block in enumerate(self.blocks):
            if index == self.pitch_enters:
                h = self._with_pitch(h, f0)
            h = block(h, _adain(styles[2 * index]), _adain(styles[2 * index + 1]))
        if self.pitch_enters == len(self.blocks):
            h = self._with_pitch(h, f0)
        return self.conv_out(h)

    def _with_pitch(self, h: Tensor, f0: Tensor | None) -> Tensor:
        if self.pitch is None:
            return h
        assert f0 is not None, "this decoder was built with pitch_bins: it needs f0 (B, T)"
        return h + self.pitch(f0)


def _same(x: Tensor) -> Tensor:
    return x


def _adain(style: TimeStatistics) -> Any:
    return lambda x: adaptive_instance_norm(x, style)
