"""Which crops make up batch number i: a pure function of (seed, i), drawn for the global batch and cut to a process."""

import logging
from dataclasses import dataclass

import numpy as np

from revoice.errors import choices

log = logging.getLogger(__name__)

MODES = ("uniform", "by_speaker")


@dataclass(frozen=True)
class Crops:
    """The crops of one batch; every array is (B,) int64.

    Attributes:
        utterances: positions.  starts: first frame of each crop.
        references: positions of other utterances of the same speakers.  reference_starts: their first frames.
    """

    utterances: np.ndarray
    starts: np.ndarray
    references: np.ndarray
    reference_starts: np.ndarray

    def cut(self, first: int, count: int) -> "Crops":
        """Items `first` to `first + count`."""
        part = slice(first, first + count)
        return Crops(self.utterances[part], self.starts[part], self.references[part], self.reference_starts[part])


class CropSampler:
    """Draws random crops of utterances.

    Args:
        positions: (N,) utterances to draw from.
        lengths: (N,) their frames.
        speakers: (N,) a number for each one's speaker.
        batch_size: items of the global batch.
        frames: length of a crop; a shorter utterance gives all of itself.
        minimum: utterances shorter than this many frames are never drawn (unless all are shorter).
        mode: "uniform" over utterances, "by_speaker" (every speaker equally often).
        reference: length of the reference crop.
        seed: of the draws.

    >>> import numpy as np
    >>> s = CropSampler(np.arange(5), np.full(5, 200), np.array([0, 0, 1, 1, 1]), batch_size=4, frames=128)
    >>> crops = s.draw(iteration=7)
    >>> bool((crops.starts <= 200 - 128).all() and (crops.references != crops.utterances).all())
    True
    """

    def __init__(
        self,
        positions: np.ndarray,
        lengths: np.ndarray,
        speakers: np.ndarray,
        *,
        batch_size: int,
        frames: int,
        minimum: int = 1,
        mode: str = "uniform",
        reference: int = 0,
        seed: int = 0,
    ) -> None:
        if mode not in MODES:
            raise choices(mode, MODES, "sampler")
        long = lengths >= minimum if (lengths >= minimum).any() else np.ones(len(lengths), dtype=bool)
        if not long.all():
            log.info("%d of %d utterances are shorter than %d frames and left out", (~long).sum(), len(long), minimum)
        order = np.argsort(speakers[long], kind="stable")  # utterances of a speaker side by side
        self.left_out = int((~long).sum())
        self.positions = positions[long][order]
        self.lengths = lengths[long][order]
        _, first, self._speaker, count = np.unique(
            speakers[long][order], return_index=True, return_inverse=True, return_counts=True
        )
        self._first, self._count = first[self._speaker], count[self._speaker]  # of each utterance's speaker
        self._speakers = (first, count)
        self.batch_size, self.frames, self.mode, self.reference, self.seed = batch_size, frames, mode, reference, seed

    def draw(self, iteration: int) -> Crops:
        """The global batch of one iteration."""
        random = np.random.Generator(np.random.Philox(key=np.array([self.seed, iteration], dtype=np.uint64)))
        picked, start, other, other_start = random.random((4, self.batch_size))
        if self.mode == "uniform":
            chosen = _floor(picked, len(self.positions))
        else:
            first, count = self._speakers
            speaker = _floor(picked, len(first))
            chosen = first[speaker] + _floor(random.random(self.batch_size), count[speaker])
        within = _floor(other, np.maximum(self._count[chosen] - 1, 1))  # skip the chosen utterance itself
        step = within + (within >= chosen - self._first[chosen])
        reference = self._first[chosen] + np.minimum(step, self._count[chosen] - 1)
        return Crops(
            self.positions[chosen],
            _floor(start, np.maximum(self.lengths[chosen] - self.frames, 0) + 1),
            self.positions[reference],
            _floor(other_start, np.maximum(self.lengths[reference] - self.reference, 0) + 1),
        )


def _floor(uniform: np.ndarray, size: np.ndarray | int) -> np.ndarray:
    """Uniform numbers in [0, 1) -> integers in [0, size)."""
    return np.minimum((uniform * size).astype(np.int64), np.asarray(size) - 1)
