"""Features of a frozen random CNN: what style transfer compares spectrograms by."""

import math
import re
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from revoice.mistakes import Expected
from revoice.settings import Number, Whole, Word


def kernel_size(text: str) -> tuple[int, int]:
    """(frequencies, frames) of a kernel.

    >>> kernel_size("3x1")
    (3, 1)
    """
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)
    if not match:
        raise ValueError(f"{text} is no kernel")
    return int(match[1]), int(match[2])


def _is_kernel(text: str) -> str:
    kernel_size(text)
    return text


KernelSize = Annotated[Word, AfterValidator(_is_kernel), Expected("FREQUENCIESxFRAMES, e.g. 3x1 or 3x3")]
Channels = Annotated[Whole, Field(ge=1, le=1024)]
Layers = Annotated[Whole, Field(ge=1, le=8)]
LeftOut = Annotated[Number, Field(ge=0, lt=0.1)]  # share of the features' energy


class RandomFeatures:
    """Convolutions with weights drawn once, without bias, each followed by a leaky ReLU.

    The first layer's weights are standard normal, as published; those of deeper ones are scaled to keep the level.

    Args:
        weights: of each layer, (channels out, channels in, frequencies, frames).
        slope: of the leaky ReLU below zero.
    """

    def __init__(self, weights: Sequence[Tensor], slope: float = 0.2) -> None:
        self.weights, self.slope = list(weights), slope

    @classmethod
    def draw(
        cls,
        seed: int,
        channels: int = 32,
        kernel: tuple[int, int] = (3, 1),
        layers: int = 1,
        slope: float = 0.2,
        device: torch.device | str = "cpu",
    ) -> "RandomFeatures":
        """The network of a seed, the same on every device."""
        generator, weights = torch.Generator().manual_seed(seed), []
        for layer in range(layers):
            inputs = channels if layer else 1
            weight = torch.randn(channels, inputs, *kernel, generator=generator)
            keeps_level = math.sqrt(2.0 / ((1.0 + slope**2) * inputs * kernel[0] * kernel[1]))
            weights.append((weight * keeps_level if layer else weight).to(device))
        return cls(weights, slope)

    @property
    def field(self) -> tuple[int, int]:
        """(frequencies, frames) that one feature of the last layer sees."""
        height = 1 + sum(weight.shape[2] - 1 for weight in self.weights)
        return height, 1 + sum(weight.shape[3] - 1 for weight in self.weights)

    def __call__(self, spectrogram: Tensor) -> list[Tensor]:
        """Spectrogram (F, T) -> features (C, F', T') of each layer."""
        found, values = [], spectrogram[None]
        for weight in self.weights:
            values = leaky_relu(_convolved(values, weight), self.slope)
            found.append(values)
        return found


def _convolved(values: Tensor, weight: Tensor) -> Tensor:
    """(C, F, T) * (O, C, f, t) -> (O, F - f + 1, T - t + 1)."""
    if len(values) > 1:
        return conv2d(values[None], weight)[0]
    # one channel: a product with the shifted copies, whose gradient is four times as fast as conv2d's on a CPU
    high, wide = weight.shape[2:]
    rows, columns = values.shape[1] - high + 1, values.shape[2] - wide + 1
    shifted = [values[0, i : i + rows, j : j + columns] for i in range(high) for j in range(wide)]
    return (weight.flatten(1) @ torch.stack(shifted).flatten(1)).view(-1, rows, columns)


def principal(covariance: Tensor, precision: float) -> Tensor | None:
    """Axes (k, C) that carry all but the share `precision` of the energy of features with this covariance (C, C).

    The channels of a random CNN are functions of a few neighboring values, far more alike than they are many. None if
    nothing can be left out.
    """
    energy, axes = torch.linalg.eigh(covariance)  # ascending
    keep = energy.clamp(min=0.0).cumsum(0) > precision * energy.clamp(min=0.0).sum()
    return None if precision <= 0.0 or bool(keep.all()) else axes[:, keep].T.float().contiguous()
