"""Gram matrices of many clips compared with each other, in little memory.

All that a distance needs is products <G, H>, the mean over the R x R entries of the product of two Gram matrices (of
several layers: their mean), since mean (a G - b H)^2 = a^2 <G, G> - 2 a b <G, H> + b^2 <H, H>. They are summed in
float64: a distance is a small difference of large numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from revoice.models.random_cnn.features import RandomFeatures
from revoice.models.random_cnn.search import blocks
from revoice.nn.gram import merged

SAMPLE = 2048  # frames that a basis is made of
_STRIDE = 32  # clips of a gallery compared at once


class Products(NamedTuple):
    """<G, H> of a clip's Gram matrix G, float64.

    Attributes:
        own: <G, G>.
        others: (n,), with those of the clips of a gallery, in the order in which they were added.
    """

    own: float
    others: Tensor


class Gallery(ABC):
    """Clips that others are compared with, by the Gram matrices of one network."""

    @abstractmethod
    def add(self, clip: Tensor) -> float:
        """One more clip, a spectrogram (F, T); returns <G, G>."""

    @abstractmethod
    def compare(self, clip: Tensor) -> Products:
        """A clip (F, T) with all that were added."""


class Exact(Gallery):
    """Keeps spectrograms and multiplies frames with frames: nothing is left out; 0.1 s and more for each two clips."""

    def __init__(self, network: RandomFeatures) -> None:
        self.network = network
        self.clips: list[Tensor] = []

    def add(self, clip: Tensor) -> float:
        """Keep a spectrogram (F, T); its product with itself."""
        self.clips.append(clip)
        return product(self.network, clip, clip)

    def compare(self, clip: Tensor) -> Products:
        """Multiply a clip (F, T) with each spectrogram in turn."""
        others = [product(self.network, clip, other) for other in self.clips]
        return Products(product(self.network, clip, clip), torch.tensor(others, dtype=torch.float64))


class Projected(Gallery):
    """Keeps Gram matrices (k, k) of features projected on k axes, the same for all clips.

    The axes are the principal ones of sampled frames. Frames of speech lie close to a few hundred axes of the
    thousands that features have: a Gram matrix of 266 MB becomes one of 100 kB, a comparison a product of two vectors.

    Args:
        network: whose features.
        windows: of the clips to come, n groups of neighboring frames (F, n, w), w at least what the network sees.
        precision: share of the Frobenius norm of the samples' Gram matrix that the axes may leave out, above 0.
    """

    def __init__(self, network: RandomFeatures, windows: Tensor, precision: float) -> None:
        self.network = network
        samples: list[list[Tensor]] = [[] for _ in network.weights]
        for part in windows.split(SAMPLE // 8, dim=1):
            wide = network.field[1]
            for found, features in zip(samples, network(part[..., :wide].flatten(1)), strict=True):
                found.append(features[..., ::wide].flatten(0, 1).cpu())
        self.bases: list[Tensor] = []  # per layer (R, k), orthonormal columns
        for found in samples:
            factor = merged(found, precision)
            self.bases.append((factor / factor.norm(dim=0)).to(windows.device))
        self._kept: list[Tensor] = []

    @property
    def axes(self) -> int:
        """How many there are, in all layers."""
        return sum(basis.shape[1] for basis in self.bases)

    def add(self, clip: Tensor) -> float:
        """Keep the projected matrix of a clip (F, T) as one vector; its squared length."""
        vector = self._vector(clip)
        self._kept.append(vector)
        return float(vector.double().square().sum())

    def compare(self, clip: Tensor) -> Products:
        """Multiply the vector of a clip (F, T) with all others, some at a time."""
        vector = self._vector(clip).double()
        parts = [self._kept[first : first + _STRIDE] for first in range(0, len(self._kept), _STRIDE)]
        others = torch.cat([torch.stack(part).double() @ vector for part in parts])
        return Products(float(vector.square().sum()), others)

    def _vector(self, clip: Tensor) -> Tensor:
        """A vector whose products with others are those of the Gram matrices, float32 on the CPU."""
        grams = [torch.zeros(basis.shape[1], basis.shape[1], device=basis.device) for basis in self.bases]
        for found in blocks(self.network, [clip]):
            for gram, basis, features in zip(grams, self.bases, found, strict=True):
                projected = basis.T @ features.flatten(0, 1)
                gram.addmm_(projected, projected.T)
        scales = _scales([len(basis) for basis in self.bases])
        return torch.cat([_triangle(gram.cpu()) * scale for gram, scale in zip(grams, scales, strict=True)])


def product(network: RandomFeatures, one: Tensor, other: Tensor) -> float:
    """<G, H> of two clips (F, T), exactly, by products of T x T: || A'B ||^2 is the sum of all entries of AA' * BB'."""
    total = 0.0
    for found in blocks(network, [one]):
        for against in blocks(network, [other]):
            scales = _scales([features.shape[0] * features.shape[1] for features in found])
            for a, b, scale in zip(found, against, scales, strict=True):
                shared = (a.flatten(0, 1).T @ b.flatten(0, 1)).cpu()
                total += float(torch.linalg.vector_norm(shared, dtype=torch.float64).square()) * scale**2
    return total


def _scales(rows: Sequence[int]) -> list[float]:
    """What turns sums over R x R entries of each layer into their mean, once for each factor of a product."""
    return [1.0 / (count * len(rows) ** 0.5) for count in rows]


def _triangle(gram: Tensor) -> Tensor:
    """(k (k + 1) / 2,) entries of a symmetric matrix (k, k), weighted so that inner products stay the same."""
    row, column = torch.triu_indices(*gram.shape)
    return gram[row, column] * torch.where(row == column, 1.0, 2.0**0.5)
