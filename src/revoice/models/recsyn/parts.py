"""The three networks of recognition-synthesis: the neck, the voice encoder and the decoder, and their sizes."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from revoice.nn.adain import instance_norm
from revoice.nn.convnext import ConvNeXtBlock, films_of
from revoice.nn.pitch import Bins, PitchEmbedding
from revoice.settings import Depth, Factors, Number, OddKernel, Width, settings

EMBEDDING = 256  # Resemblyzer's


@settings
class NeckSize:
    """What of the content gets through.

    Attributes:
        hidden: width inside.  channels: of the code; few, so that the voice stays out.
        noise: standard deviation of what is added in training to the code, whose own is 1.
    """

    hidden: Width = 256
    channels: Width = 48
    noise: Annotated[Number, Field(ge=0, le=10)] = 0.2


@settings
class DecoderSize:
    """Sizes of the decoder.

    Attributes:
        channels, hidden, blocks, kernel: of the ConvNeXt blocks.  dilations: of their convolutions, in turn.
        voice: width of the voice code.  pitch_bins: see `PitchEmbedding`.
    """

    channels: Width = 256
    hidden: Width = 1024
    blocks: Depth = 8
    kernel: OddKernel = 7
    dilations: Factors = (1, 2, 1, 4)
    voice: Width = 256
    pitch_bins: Bins = 128


class Neck(nn.Module):
    """Content (B, D, T) -> code (B, C, T) without mean and deviation over time, which are a voice's."""

    def __init__(self, content: int, size: NeckSize) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(content, size.hidden, 3, padding=1)
        self.out = nn.Conv1d(size.hidden, size.channels, 3, padding=1)

    def forward(self, content: Tensor) -> Tensor:
        """(B, D, T) -> (B, C, T), normalized over time before and after."""
        return instance_norm(self.out(F.gelu(self.reduce(instance_norm(content)))))


class VoiceEncoder(nn.Module):
    """A voice from a speaker embedding and from the sound of reference frames, pooled over time with attention."""

    def __init__(self, n_features: int, out: int) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(n_features, out, 5, padding=2), nn.GELU(), nn.Conv1d(out, out, 5, padding=2), nn.GELU()
        )
        self.attention = nn.Conv1d(out, out, 1)
        self.sound = nn.Linear(2 * out, out)
        self.identity = nn.Linear(EMBEDDING, out)
        self.out = nn.Sequential(nn.GELU(), nn.Linear(out, out), nn.GELU())

    def forward(self, embedding: Tensor, frames: Tensor) -> Tensor:
        """(B, 256) and standardized features (B, F, R) -> (B, out)."""
        h = self.frames(frames)
        weight = self.attention(h).float().softmax(dim=-1)
        mean = (weight * h).sum(-1)
        deviation = ((weight * (h - mean[..., None]) ** 2).sum(-1) + 1e-5).sqrt()
        return self.out(self.sound(torch.cat([mean, deviation], dim=1)) + self.identity(embedding * EMBEDDING**0.5))


class Decoder(nn.Module):
    """Code, pitch and voice -> standardized features."""

    def __init__(self, n_features: int, code: int, size: DecoderSize) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(code, size.channels, 3, padding=1)
        self.pitch = PitchEmbedding(size.pitch_bins, size.channels)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(size.channels, size.hidden, size.kernel, size.dilations[i % len(size.dilations)], size.voice)
            for i in range(size.blocks)
        )
        self.norm = nn.LayerNorm(size.channels)
        self.out = nn.Linear(size.channels, n_features)

    def forward(self, code: Tensor, f0: Tensor, voice: Tensor) -> Tensor:
        """(B, C, T), (B, T) in Hz, (B, D) -> (B, F, T)."""
        h = self.conv_in(code) + self.pitch(f0)
        for block, film in zip(self.blocks, films_of(self.blocks, voice), strict=True):
            h = block(h, film)
        return self.out(self.norm(h.transpose(1, 2))).transpose(1, 2)
