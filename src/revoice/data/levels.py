"""How high voices speak."""

from collections.abc import Sequence

from torch import Tensor


class PitchLevels:
    """Mean log-f0 of each speaker, of contours that come one by one.

    >>> import torch
    >>> levels = PitchLevels(["a", "b"])
    >>> levels.add("a", torch.tensor([0.0, 1.0, 1.0]))
    >>> levels.means()
    [0.0, None]
    """

    def __init__(self, speakers: Sequence[str]) -> None:
        self._sums = {name: [0.0, 0] for name in speakers}

    def add(self, speaker: str, f0: Tensor) -> None:
        """Take the contour (T,) in Hz in; 0 is unvoiced."""
        found, voiced = self._sums[speaker], f0[f0 > 0]
        found[0] += float(voiced.double().log().sum())
        found[1] += len(voiced)

    def means(self) -> list[float | None]:
        """In the order of the speakers; None of whom nothing is voiced."""
        return [total / count if count else None for total, count in self._sums.values()]
