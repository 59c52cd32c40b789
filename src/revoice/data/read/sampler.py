"""Which crops make up batch number i: a pure function of (seed, i), drawn for the global batch and cut to a process."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from revoice.data.corpora.manifest import Row
from revoice.errors import choices

MODES = ("uniform", "by_speaker", "each", "in_order")


@dataclass(frozen=True)
class Crops:
    """The crops of one batch; every array is (B,) int64.

    Attributes:
        utterances: positions.  starts: first frame of each crop.
        references: positions of other utterances of the same speakers.  reference_starts: their first frames.
        parallels: of those that say the same, if they are required.  parallel_starts: their first frames.
    """

    utterances: np.ndarray
    starts: np.ndarray
    references: np.ndarray
    reference_starts: np.ndarray
    parallels: np.ndarray | None = None
    parallel_starts: np.ndarray | None = None

    def cut(self, first: int, count: int) -> "Crops":
        """Items `first` to `first + count`."""
        part = slice(first, first + count)
        found: dict[str, Any] = {name: None if each is None else each[part] for name, each in vars(self).items()}
        return Crops(**found)


class Parallels:
    """For each recording those of the same sentence by the same speaker with another emotion.

    Args:
        rows: of all utterances (N,).
        lengths: (N,) their frames.
        positions: (P,) of those that may be looked at.
        length: of a crop of one.

    >>> said = [("a", "hello", "sad"), ("a", "hello", "happy"), ("a", "bye", "sad"), ("b", "hello", "sad")]
    >>> rows = [Row(id=str(i), path="x", speaker=s, sentence=w, emotion=e) for i, (s, w, e) in enumerate(said)]
    >>> Parallels(rows, np.full(4, 100), np.arange(4), length=50).choose(np.arange(4), np.zeros(4)).tolist()
    [1, 0, 2, 3]
    """

    def __init__(self, rows: Sequence[Row], lengths: np.ndarray, positions: np.ndarray, length: int) -> None:
        said = [(rows[at].speaker, rows[at].sentence or f"\0{at}", rows[at].emotion or "") for at in positions]
        order = sorted(range(len(positions)), key=lambda place: said[place])
        # sorted        a bye sad | a hello happy | a hello sad | b hello sad
        # _group first      0             1              1             3        count      1 2 2 1
        # _same first       0             1              2             3        count      1 1 1 1
        self._order = np.asarray(positions, dtype=np.int64)[order]
        self._place = np.full(len(rows), -1, dtype=np.int64)
        self._place[self._order] = np.arange(len(order))
        self._group = _runs([said[place][:2] for place in order])
        self._same = _runs([said[place] for place in order])
        self._lengths, self._length = lengths, length

    def __bool__(self) -> bool:
        """Whether any recording has one."""
        return bool((self._group[1] > self._same[1]).any())

    def choose(self, utterances: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One of those of each utterance (B,), by numbers (B,) in [0, 1); of one that has none, itself."""
        at = self._place[utterances]
        first, count = (each[at] for each in self._group)
        same, alike = (each[at] for each in self._same)
        others = count - alike
        step = first + np.minimum((uniform * others).astype(np.int64), np.maximum(others - 1, 0))
        chosen = self._order[np.minimum(step + alike * (step >= same), len(self._order) - 1)]
        return np.where(others > 0, chosen, utterances)

    def beside(self, crops: Crops, frames: int, uniform: np.ndarray) -> Crops:
        """Crops of `frames`, each with one of such a recording around what it says, by numbers (B,) in [0, 1)."""
        others = self.choose(crops.utterances, uniform)
        own, theirs = self._lengths[crops.utterances], self._lengths[others]
        middle = (crops.starts + np.minimum(own - crops.starts, frames) / 2) / np.maximum(own, 1) * theirs
        first = np.clip((middle - self._length / 2).astype(np.int64), 0, np.maximum(theirs - self._length, 0))
        return replace(crops, parallels=others, parallel_starts=first)


class CropSampler:
    """Draws random crops of utterances.

    Args:
        positions: (N,) utterances to draw from.
        lengths: (N,) their frames.
        speakers: (N,) a number for each one's speaker.
        batch_size: items of the global batch.
        frames: length of a crop; a shorter utterance gives all of itself.
        minimum: utterances shorter than this many frames are never drawn (unless all are shorter).
        mode: "uniform" over utterances, "by_speaker" (every speaker equally often), "each" (every utterance once,
            then again, within one batch), "in_order" (speaker after speaker, batch after batch, and again).
        reference: length of the reference crop; it is of another utterance of the speaker, or, of who has a single one,
            of other frames of that, where it is long enough.
        parallels: what says the same as each; None: it is not drawn.
        seed: of the draws.
        sources: (N,) which corpus each utterance belongs to, a speaker to one; None: all to the same.
        shares: how often each corpus is drawn from; they add up to 1.

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
        parallels: Parallels | None = None,
        seed: int = 0,
        sources: np.ndarray | None = None,
        shares: Sequence[float] = (1.0,),
    ) -> None:
        if mode not in MODES:
            raise choices(mode, MODES, "sampler")
        long = lengths >= minimum if (lengths >= minimum).any() else np.ones(len(lengths), dtype=bool)
        if sources is not None:  # speakers of a corpus side by side
            speakers = speakers + sources * (int(speakers.max(initial=0)) + 1)
        order = np.argsort(speakers[long], kind="stable")  # utterances of a speaker side by side
        self.left_out = int((~long).sum())
        self.positions = positions[long][order]
        self.lengths = lengths[long][order]
        # utterances are now   a a a b b c    speaker      0 0 0 1 1 2   (N,)
        # first                0     3   5    count        3     2 1     (speakers,)
        # _first               0 0 0 3 3 5    _count       3 3 3 2 2 1   (N,), of each one's speaker
        _, first, self._speaker, count = np.unique(
            speakers[long][order], return_index=True, return_inverse=True, return_counts=True
        )
        self._first, self._count = first[self._speaker], count[self._speaker]
        self._speakers = (first, count)
        mixed = sources if len(shares) > 1 else None
        self._corpora = None if mixed is None else _Corpora(mixed[long][order], self._speaker, shares)
        self._parallels = parallels
        self.batch_size, self.frames, self.mode, self.reference, self.seed = batch_size, frames, mode, reference, seed

    def draw(self, iteration: int) -> Crops:
        """The global batch of one iteration."""
        random = np.random.Generator(np.random.Philox(key=np.array([self.seed, iteration], dtype=np.uint64)))
        picked, start, other, other_start = random.random((4, self.batch_size))  # (B,), as all below
        if self.mode == "each":
            chosen = np.resize(random.permutation(len(self.positions)), self.batch_size)
        elif self.mode == "in_order":
            chosen = (iteration * self.batch_size + np.arange(self.batch_size)) % len(self.positions)
        elif self.mode == "uniform":
            chosen = self._within(random, picked, "utterances", len(self.positions))
        else:
            first, count = self._speakers
            speaker = self._within(random, picked, "speakers", len(first))
            chosen = first[speaker] + _floor(random.random(self.batch_size), count[speaker])
        # one of the speaker's count - 1 others: places from the chosen utterance's own on are moved up by one; who has
        # a single utterance is referred to that
        within = _floor(other, np.maximum(self._count[chosen] - 1, 1))
        step = within + (within >= chosen - self._first[chosen])
        reference = self._first[chosen] + np.minimum(step, self._count[chosen] - 1)
        begin = _floor(start, np.maximum(self.lengths[chosen] - self.frames, 0) + 1)
        there = _floor(other_start, np.maximum(self.lengths[reference] - self.reference, 0) + 1)
        there = np.where(reference == chosen, self._beside(chosen, begin, other_start, there), there)
        crops = Crops(self.positions[chosen], begin, self.positions[reference], there)
        if self._parallels is None:
            return crops
        return self._parallels.beside(crops, self.frames, random.random(self.batch_size))

    def _beside(self, chosen: np.ndarray, begin: np.ndarray, drawn: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """Where reference frames begin that are not the crop's, before or behind it; `otherwise` where no room is."""
        before = np.maximum(begin - self.reference + 1, 0)  # places for them
        end = begin + self.frames
        behind = np.maximum(self.lengths[chosen] - end - self.reference + 1, 0)
        place = _floor(drawn, np.maximum(before + behind, 1))
        return np.where(before + behind > 0, np.where(place < before, place, end + place - before), otherwise)

    def _within(self, random: np.random.Generator, picked: np.ndarray, what: str, size: int) -> np.ndarray:
        """Places below `size`, evenly, or so that every corpus has its share."""
        if self._corpora is None:
            return _floor(picked, size)
        # bounds 0.5 0.75 1.0 (corpora,): a number in [0, 0.5) is the first corpus, in [0.5, 0.75) the second
        corpus = np.minimum(np.searchsorted(self._corpora.bounds, picked, side="right"), len(self._corpora.bounds) - 1)
        first, count = getattr(self._corpora, what)
        return first[corpus] + _floor(random.random(self.batch_size), count[corpus])


class _Corpora:
    """Where the utterances and the speakers of each corpus lie, in order: (first, count) of each."""

    def __init__(self, sources: np.ndarray, speakers: np.ndarray, shares: Sequence[float]) -> None:
        present, first, count = np.unique(sources, return_index=True, return_counts=True)
        self.utterances = (first, count)
        last = first + count - 1
        self.speakers = (speakers[first], speakers[last] - speakers[first] + 1)
        mine = np.asarray(shares, dtype=np.float64)[present]
        self.bounds = np.cumsum(mine / mine.sum())


def _floor(uniform: np.ndarray, size: np.ndarray | int) -> np.ndarray:
    """Uniform numbers in [0, 1) -> integers in [0, size)."""
    return np.minimum((uniform * size).astype(np.int64), np.asarray(size) - 1)


def _runs(names: Sequence[tuple[object, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted names (N,) -> where the run of each begins and how long it is, (N,) each."""
    begins = np.array([at == 0 or names[at] != names[at - 1] for at in range(len(names))], dtype=bool)
    first = np.flatnonzero(begins)
    number = np.cumsum(begins) - 1
    return first[number], np.diff(np.append(first, len(names)))[number]
