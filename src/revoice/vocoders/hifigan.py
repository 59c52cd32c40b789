"""HiFi-GAN's generator (Kong, Kim and Bae, arXiv:2010.05646)."""

from math import prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from revoice.audio.scale import to_log_magnitude
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError
from revoice.settings import Factors, Flag, Frames, NotNegative, OddKernel, Width
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.neural import NeuralVocoder, Projections

_SLOPE = 0.1  # of the leaky rectifiers but for the last, which has torch's default of 0.01, as published
Dilations = Annotated[tuple[Factors, ...], Field(min_length=1, max_length=16)]
OddKernels = Annotated[tuple[OddKernel, ...], Field(min_length=1, max_length=16)]


class ResidualBlock(nn.Module):
    """Dilated convolutions with a way around each, or around each pair of a dilated and a plain one.

    Args:
        channels: C.  kernel: odd.  dilations: one for each way around.  paired: HiFi-GAN's "1"; else its "2".
    """

    def __init__(self, channels: int, kernel: int, dilations: Factors, paired: bool) -> None:
        super().__init__()

        def convolution(dilation: int) -> nn.Module:
            padding = dilation * (kernel // 2)
            return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding))

        self.dilated = nn.ModuleList(convolution(d) for d in dilations)
        self.plain = nn.ModuleList(convolution(1) for _ in dilations) if paired else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        for i, dilated in enumerate(self.dilated):
            h = dilated(F.leaky_relu(x, _SLOPE))
            if self.plain is not None:
                h = self.plain[i](F.leaky_relu(h, _SLOPE))
            x = x + h
        return x


@VOCODERS.register("hifigan")
class HiFiGAN(NeuralVocoder):
    """Transposed convolutions up to the sample rate; after each, the mean of residual blocks of several kernels.

    It sees natural logarithms of magnitudes for any features, as `vocos` does, and learns from the recording itself.
    The defaults are V1 (13.9 M parameters with 80 mels). V2: `channels=128`; V3: `channels=256, rates=[8,8,4],
    kernels=[16,16,8], block=2, block_kernels=[3,5,7], dilations=[[1,2],[2,6],[3,12]]`. Weights start as torch draws
    them, which is what the published training does: its own draw falls on weights that weight norm computes anew.

    Args:
        spec: the features; their hop must be the product of `rates`.
        channels: of the first layer; each transposed convolution halves them.
        rates: factors of the transposed convolutions.
        kernels: their kernels.
        block: 1 (pairs of convolutions) or 2.
        block_kernels: of the residual blocks after each transposed convolution.
        dilations: for each of those kernels.
        frames, gain_db, projections, generated: of the segments that it learns from, see `NeuralVocoder`.

    Raises:
        UserError: lists that do not belong together, or to the hop.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        channels: Width = 512,
        rates: Factors = (8, 8, 2, 2),
        kernels: Factors = (16, 16, 4, 4),
        block: Literal[1, 2] = 1,
        block_kernels: OddKernels = (3, 7, 11),
        dilations: Dilations = ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        frames: Frames = 32,
        gain_db: NotNegative = 12.0,
        projections: Projections = 0,
        generated: Flag = False,
    ) -> None:
        super().__init__(spec, frames, gain_db, projections, generated)
        _require_fit(spec.hop, channels, rates, kernels, len(block_kernels), len(dilations))
        self.settings = {"channels": channels, "rates": list(rates), "block": block}
        self.first = weight_norm(nn.Conv1d(spec.channels, channels, 7, padding=3))
        widths = [channels // 2**i for i in range(len(rates) + 1)]
        self.up = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, rate, padding=(kernel - rate) // 2))
            for i, (rate, kernel) in enumerate(zip(rates, kernels, strict=True))
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(width, kernel, each, paired=block == 1)
            for width in widths[1:]
            for kernel, each in zip(block_kernels, dilations, strict=True)
        )
        self.last = weight_norm(nn.Conv1d(widths[-1], 1, 7, padding=3))

    def speak(self, features: Tensor, f0: Tensor | None = None) -> Tensor:
        """Un-standardized features (B, F, T) -> waveform (B, spec.samples(T)).

        A frame becomes the `hop` samples around its center.
        """
        size = self.spec.samples(features.shape[2])
        first = self.spec.hop // 2 - self.spec.frame_offset
        return self.upsample(to_log_magnitude(features, self.spec))[:, first : first + size]

    def upsample(self, x: Tensor) -> Tensor:
        """Logarithms of magnitudes (B, F, T) -> samples (B, hop * T)."""
        x = self.first(x)
        beside = len(self.blocks) // len(self.up)
        for i, up in enumerate(self.up):
            x = up(F.leaky_relu(x, _SLOPE))
            x = torch.stack([block(x) for block in self.blocks[i * beside : (i + 1) * beside]]).mean(0)
        with torch.autocast(x.device.type, enabled=False):  # 16 bits are a grid that critics would see
            exact = x if x.dtype == torch.float64 else x.float()
            return torch.tanh(self.last(F.leaky_relu(exact)))[:, 0]

    def fuse(self) -> None:
        """Multiply weight norm out, for speaking alone: the names of the weights are then others."""
        with torch.enable_grad():  # without, they would become buffers
            for module in list(self.modules()):
                if is_parametrized(module, "weight"):
                    remove_parametrizations(module, "weight")


def _require_fit(hop: int, channels: int, rates: Factors, kernels: Factors, blocks: int, dilations: int) -> None:
    if prod(rates) != hop:
        raise UserError(f"vocoder.rates={list(rates)} makes {prod(rates)} samples of a frame, expected the hop, {hop}")
    if len(kernels) != len(rates) or any(k < r or (k - r) % 2 for k, r in zip(kernels, rates, strict=False)):
        wanted = "one for each of vocoder.rates, larger by an even number"
        raise UserError(f"vocoder.kernels={list(kernels)}: expected {wanted} {list(rates)}")
    if blocks != dilations:
        raise UserError(f"vocoder.dilations has {dilations} rows, expected {blocks}, as many as vocoder.block_kernels")
    if channels < 2 ** len(rates):
        raise UserError(f"vocoder.channels={channels}: expected at least {2 ** len(rates)}, halved {len(rates)} times")
