"""Random numbers that depend on (seed, iteration, sample) alone: training is the same on one process or many."""

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """The random draws of one batch.

    Every draw is made for the whole global batch and cut to this process's samples: two processes with half a batch
    each get exactly the numbers that one process with the whole batch gets.

    Attributes:
        seed: the run's seed.
        iteration: index of the (micro-)batch since the start of training.
        first: global index of this process's first sample.
        count: samples of this process.
        total: samples of the global batch.
    """

    seed: int
    iteration: int
    first: int
    count: int
    total: int

    def normal(self, name: str, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal numbers (count, *shape); `name` keeps the draws of one batch apart.

        >>> a = Draws(0, 5, first=0, count=4, total=4).normal("eps", 2)
        >>> b = Draws(0, 5, first=2, count=2, total=4).normal("eps", 2)
        >>> bool((a[2:] == b).all())
        True
        """
        return self._cut(torch.randn(self.total, *shape, generator=self._generator(name)), device)

    def uniform(self, name: str, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Uniform numbers in [0, 1), (count, *shape)."""
        return self._cut(torch.rand(self.total, *shape, generator=self._generator(name)), device)

    def integers(self, name: str, high: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Uniform integers in [0, high), (count, *shape), int64."""
        return self._cut(torch.randint(high, (self.total, *shape), generator=self._generator(name)), device)

    def order(self, name: str, size: int) -> Tensor:
        """A random order (size,) of the numbers below `size`, the same in every process."""
        return torch.randperm(size, generator=self._generator(name))

    def _generator(self, name: str) -> torch.Generator:
        key = zlib.crc32(f"{self.seed}/{self.iteration}/{name}".encode())
        return torch.Generator().manual_seed((self.seed * 0x9E3779B1 + self.iteration * 0x85EBCA77 + key) % 2**63)

    def _cut(self, values: Tensor, device: torch.device | str) -> Tensor:
        return values[self.first : self.first + self.count].to(device, non_blocking=True)
