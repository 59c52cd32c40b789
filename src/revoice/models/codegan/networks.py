"""The generator of CodeGAN: StarGAN's (arXiv:1711.09020) over sequences, its residual blocks told the emotion."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.nn.conv import fitted
from revoice.nn.labels import one_hot
from revoice.settings import Depth, Flag, Width, settings

SLOPE = 0.01  # of the rectifiers below zero
SHORTENED = 4  # by the two layers of stride 2


@settings
class GeneratorSize:
    """Sizes of the generator.

    Attributes:
        width: of the first layer; twice as many channels in the second, four times in the third.
        blocks: residual blocks between.
        running: normalize by running statistics in conversion, as published code does, which normalizes by those of
            each sequence in training; else always by those of each sequence.
        residual: what comes out is added to the codes, moved and spread as the emotions differ, so that a code is kept
            where nothing calls for another. Told are the deviation of each code, which normalization hides, and the
            emotion of the source where it is known; never the mean, which of a clip of an unknown voice says nothing.
            No published system does so.
        bends: of a residual one: what a code is above its mean by more than its deviation is moved by a factor of its
            own, as a compressor does with peaks; strained voices are loud without being louder.
    """

    width: Width = 128
    blocks: Depth = 3
    running: Flag = False
    residual: Flag = False
    bends: Flag = False

    def __post_init__(self) -> None:
        if self.bends and not self.residual:
            raise UserError(
                "model.generator.bends=true: needs a residual generator: type model.generator.residual=true"
            )


class CodeGenerator(nn.Module):
    """Sequences of codes and an emotion in, sequences as long out.

    Args:
        channels: of a code.
        emotions: how many.
        size: `GeneratorSize`.
    """

    def __init__(self, channels: int, emotions: int, size: GeneratorSize) -> None:
        super().__init__()
        first, second, third = size.width, 2 * size.width, 4 * size.width
        self.emotions, self.residual, self.bends = emotions, size.residual, size.bends
        told = 2 * emotions + channels if size.residual else emotions
        self.down = nn.Sequential(
            nn.Conv1d(channels, first, 7, padding=3), *_normed(first, size.running),
            nn.Conv1d(first, second, 4, 2, padding=1), *_normed(second, size.running),
            nn.Conv1d(second, third, 4, 2, padding=1), *_normed(third, size.running),
        )  # fmt: skip
        self.blocks = nn.ModuleList(AdaptiveBlock(third, told) for _ in range(size.blocks))
        self.up = nn.Sequential(
            nn.ConvTranspose1d(third, third, 4, 2, padding=1), *_normed(third, size.running),
            nn.ConvTranspose1d(third, second, 4, 2, padding=1), *_normed(second, size.running),
            nn.Conv1d(second, channels, 1),
        )  # fmt: skip
        if size.residual:
            # what follows normalizes the level of an emotion away
            self.up[1], self.up[4] = AdaptiveNorm(third, told), AdaptiveNorm(second, told)
            self.moved = nn.Linear(told, (3 if self.bends else 2) * channels)
            for last in (self.up[-1], self.moved):  # at first nothing changes
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, codes: Tensor, emotion: Tensor, source: Tensor | None = None) -> Tensor:
        """Codes (B, C, N) and the places of emotions (B,) -> codes (B, C, N); what is missing to four steps is held.

        `source`: the places of the emotions that the codes have, -1 or None where nobody knows; only heard where the
        generator is a residual one.
        """
        steps = codes.shape[2]
        told, apart = one_hot(emotion, self.emotions, codes), codes
        if self.residual:
            known = one_hot(emotion.new_full(emotion.shape, -1) if source is None else source, self.emotions, codes)
            apart = codes - codes.mean(2, keepdim=True)
            deviation = (apart.square().mean(2) + 1e-5).sqrt()
            told = torch.cat([told, known, deviation], dim=1)
        # at least 8 steps: two are left to normalize over
        whole = torch.sym_max(2, (steps + SHORTENED - 1) // SHORTENED) * SHORTENED
        x = self.down(fitted(apart, whole))
        for block in self.blocks:
            x = block(x, told)
        for layer in self.up:
            x = layer(x, told) if isinstance(layer, AdaptiveNorm) else layer(x)
        if not self.residual:
            return x[..., :steps]
        spread, shift, *bend = self.moved(told)[:, :, None].chunk(3 if self.bends else 2, dim=1)
        made = codes + shift + spread.clamp(-2, 2).expm1() * apart + x[..., :steps]
        if bend:
            made = made + bend[0].clamp(-2, 2).expm1() * F.relu(apart - deviation[:, :, None])
        return made


class AdaptiveBlock(nn.Module):
    """A residual block whose normalizations are told the emotion; the sum keeps the variance."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(AdaptiveNorm(channels, told) for _ in range(2))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, C, N) and what the emotion is told by (B, D) -> (B, C, N)."""
        y = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = F.relu(norm(conv(y), told))
        return (x + y) / math.sqrt(2)


class AdaptiveNorm(nn.Module):
    """Instance normalization with a scale and a shift that depend on the emotion."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.style = nn.Linear(told, 2 * channels)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, C, N) and what the emotion is told by (B, D) -> (B, C, N)."""
        scale, shift = self.style(told)[:, :, None].chunk(2, dim=1)
        return (1 + scale) * F.instance_norm(x) + shift


def _normed(channels: int, running: bool) -> list[nn.Module]:
    return [nn.InstanceNorm1d(channels, affine=True, track_running_stats=running), nn.LeakyReLU(SLOPE)]


def held(codes: Tensor, times: int) -> Tensor:
    """Codes (B, N, C) at a rate `times` as high: each is held.

    >>> import torch; held(torch.tensor([[[1.0], [2.0]]]), 2).flatten().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    return codes.repeat_interleave(times, dim=1)


def averaged(codes: Tensor, times: int) -> Tensor:
    """The other way around: means of `times` codes each (B, N, C), of fewer at the end, where the last one stays.

    >>> import torch; averaged(torch.tensor([[[1.0], [3.0], [4.0]]]), 2).flatten().tolist()
    [2.0, 4.0]
    """
    steps = (codes.shape[1] + times - 1) // times
    place = torch.arange(steps * times, device=codes.device).clamp(max=codes.shape[1] - 1)
    return codes[:, place].unflatten(1, (steps, times)).mean(2)
