"""Random numbers that depend on (seed, iteration, sample) alone: training is the same on one process or many."""

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

MAKES = ("cpu", "cuda")  # devices that have generators as good as the CPU's


def seed_generators(seed: int) -> None:
    """What `torch.manual_seed` does, which without a GPU is slow: it keeps a traceback for the GPU that may come.

    >>> seed_generators(5)
    >>> drawn, again = torch.rand(3), torch.manual_seed(5)
    >>> bool((drawn == torch.rand(3)).all())
    True
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@dataclass(frozen=True)
class Draws:
    """The random draws of one batch.

    Every draw is made for the whole global batch and cut to this process's samples: two processes with half a batch
    each get exactly the numbers that one process with the whole batch gets, on devices of one kind.

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
        generator = self._generator(name, device)
        drawn = torch.randn(self.total, *shape, generator=generator, device=generator.device)
        return self._cut(drawn, device)

    def uniform(self, name: str, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Uniform numbers in [0, 1), (count, *shape)."""
        generator = self._generator(name, device)
        drawn = torch.rand(self.total, *shape, generator=generator, device=generator.device)
        return self._cut(drawn, device)

    def integers(self, name: str, high: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Uniform integers in [0, high), (count, *shape), int64."""
        generator = self._generator(name, device)
        drawn = torch.randint(high, (self.total, *shape), generator=generator, device=generator.device)
        return self._cut(drawn, device)

    def order(self, name: str, size: int, device: torch.device | str = "cpu") -> Tensor:
        """A random order (size,) of the numbers below `size`, the same in every process."""
        generator = self._generator(name, device)
        return torch.randperm(size, generator=generator, device=generator.device).to(device)

    def _generator(self, name: str, device: torch.device | str) -> torch.Generator:
        """On a CUDA device the numbers are made there, others than a CPU's: a copy would have to be waited for."""
        key = zlib.crc32(f"{self.seed}/{self.iteration}/{name}".encode())
        where = torch.device(device) if torch.device(device).type in MAKES else torch.device("cpu")
        seed = (self.seed * 0x9E3779B1 + self.iteration * 0x85EBCA77 + key) % 2**63
        return torch.Generator(where).manual_seed(seed)

    def _cut(self, values: Tensor, device: torch.device | str) -> Tensor:
        if self.count < self.total:
            values = values[self.first : self.first + self.count]
        return values.to(device, non_blocking=True)
