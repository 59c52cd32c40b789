"""What is compared, how, and what was found, in the identification of speakers by Gram matrices."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.manifest import Manifest, Row
from revoice.errors import UserError, choices
from revoice.evaluation.bootstrap import Interval, Resampling
from revoice.mistakes import LARGEST
from revoice.models.random_cnn.features import Channels, KernelSize, Layers, LeftOut, RandomFeatures, kernel_size
from revoice.settings import Count, Positive, Share, Whole, Word, one_or_more, settings

PUBLISHED = {(30, 15, 9): 0.456, (4, 100, 60): 0.925}  # accuracy on VCTK by speakers, utterances, train
WEIGHTS: Mapping[str, Callable[[Tensor], float]] = {  # of the Gram matrix of a spectrogram (F, T)
    "nothing": lambda clip: 1.0,
    "duration": lambda clip: 1.0 / clip.shape[1],
    "energy": lambda clip: 1.0 / max(float(clip.square().sum()), 1e-12),
}


Several = Annotated[Whole, Field(ge=2, le=LARGEST)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]


def _known(way: str) -> str:
    if way not in WEIGHTS:
        raise choices(way, WEIGHTS, "evaluation.normalize")
    return way


Way = Annotated[Word, AfterValidator(_known)]


@settings
class GramProtocol:
    """What is compared with what (config group `evaluation`).

    Attributes:
        speakers: voices, the first in the order of their names that have enough recordings.
        utterances: recordings of each, the first in the order of their ids.
        train: how many of these are known; the others are to be identified.
        seeds: of the networks, one after the other; a number n stands for the n seeds from that of the run on.
        kernels: of the networks, frequencies x frames.
        channels, layers, slope: see `RandomFeatures`; of several layers the distances are averaged.
        normalize: what of a clip must not matter: its "duration", its "energy" (duration and loudness), or "nothing".
        cap: of the published search, whose best distance so far begins at this value: a clip that is nowhere nearer
            gets no answer, which is a wrong one. It is a variant beside the others, not normalized. None: no such one.
        seconds: only the beginning of each recording; None: all of it.
        precision: see `Projected`; 0 leaves nothing out and takes hours.
    """

    speakers: Several = 30
    utterances: Several = 15
    train: Count = 9
    seeds: Count | Annotated[tuple[Seed, ...], Field(min_length=1)] = 5
    kernels: Annotated[tuple[KernelSize, ...], BeforeValidator(one_or_more)] = ("3x1",)
    channels: Channels = 32
    layers: Layers = 1
    slope: Share = 0.2
    normalize: Annotated[tuple[Way, ...], BeforeValidator(one_or_more)] = tuple(WEIGHTS)
    cap: Positive | None = 100000.0
    seconds: Positive | None = None
    precision: LeftOut = 1e-4

    def __post_init__(self) -> None:
        if not self.train < self.utterances:
            raise UserError(
                f"evaluation.utterances={self.utterances} train={self.train}: expected train from 1 to utterances - 1, "
                "e.g. evaluation.utterances=15 evaluation.train=9"
            )
        if not self.variants():
            raise UserError(
                f"evaluation.kernels={list(self.kernels)} normalize={list(self.normalize)}: nothing to do; "
                "expected e.g. evaluation.kernels=[3x1,3x3]"
            )
        if len(set(self.seeds_from(0))) < len(self.seeds_from(0)):
            raise UserError(f"evaluation.seeds={self.seeds}: expected different numbers")

    def variants(self) -> "list[Variant]":
        """All ways of comparing, the published one first."""
        ways = [("nothing", self.cap)] if self.cap is not None else []
        return [
            Variant(kernel, *way) for kernel in self.kernels for way in [*ways, *((n, None) for n in self.normalize)]
        ]

    def seeds_from(self, first: int) -> tuple[int, ...]:
        """The seeds of the networks."""
        return tuple(range(first, first + self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def network(self, kernel: str, seed: int, device: torch.device | str = "cpu") -> RandomFeatures:
        """The network of a seed."""
        size = kernel_size(kernel)
        return RandomFeatures.draw(seed, self.channels, size, self.layers, self.slope, device)

    def field(self, kernel: str) -> tuple[int, int]:
        """(frequencies, frames) that a feature of such a network sees."""
        high, wide = kernel_size(kernel)
        return 1 + self.layers * (high - 1), 1 + self.layers * (wide - 1)


@dataclass(frozen=True)
class Variant:
    """One way of comparing Gram matrices; see `GramProtocol`."""

    kernel: str
    normalize: str
    cap: float | None

    @property
    def title(self) -> str:
        """How Gram matrices are compared, for a table."""
        divided = {"nothing": "as they are", "duration": "per frame", "energy": "per energy"}[self.normalize]
        return f"{self.kernel}, {divided}" + (f", cap {self.cap:g}" if self.cap is not None else "")


@dataclass(frozen=True)
class Guess:
    """A clip that was to be identified.

    Attributes:
        seed: of the network.
        row: the clip.
        nearest: of the known clips.
        distance: to that one.
        answer: its speaker; "" if it is beyond the cap.
    """

    seed: int
    row: Row
    nearest: Row
    distance: float
    answer: str

    @property
    def right(self) -> bool:
        """Whether the answer is the clip's speaker."""
        return self.answer == self.row.speaker


@dataclass(frozen=True)
class Outcome:
    """All guesses of one variant."""

    variant: Variant
    guesses: list[Guess] = field(default_factory=list)

    @property
    def by_seed(self) -> dict[int, float]:
        """Share of right answers of each network."""
        groups: dict[int, list[bool]] = {}
        for guess in self.guesses:
            groups.setdefault(guess.seed, []).append(guess.right)
        return {seed: statistics.fmean(group) for seed, group in groups.items()}

    @property
    def accuracy(self) -> float:
        """Mean over the networks."""
        return statistics.fmean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the networks (n - 1); None of a single one."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None

    @property
    def unanswered(self) -> float:
        """Share of the clips that got no answer."""
        return statistics.fmean(not guess.answer for guess in self.guesses)

    def interval(self, seed: int = 0) -> Interval | None:
        """95 % interval of the accuracy: what other voices and clips might have given; None below three voices."""
        voices, clips = [g.row.speaker for g in self.guesses], [g.row.id for g in self.guesses]
        drawn = Resampling(voices, [""] * len(voices), clips, seed)
        return drawn.interval([float(g.right) for g in self.guesses], share=True)


@dataclass(frozen=True)
class Cast:
    """The recordings of an experiment.

    Attributes:
        known: the training clips.
        asked: the clips to identify.
        windows: groups of neighboring frames (F, n, w) of the known clips, see `Projected`.
        unusable: why recordings were passed over, by path.
    """

    known: list[Row]
    asked: list[Row]
    windows: Tensor
    unusable: dict[str, str]

    @property
    def speakers(self) -> list[str]:
        """Names of those who are known, sorted."""
        return sorted({row.speaker for row in self.known})


@dataclass(frozen=True)
class Identification:
    """What was found.

    Attributes:
        outcomes: by variant, the published one first.
        axes: by kernel, on how many axes features were projected with the first seed; 0: they were not.
        left_out: the largest share of a Gram matrix's norm that projection lost, of the first asked clip of each voice.
        seconds: the whole took.
    """

    manifest: Manifest
    protocol: GramProtocol
    spec: FeatureSpec
    cast: Cast
    outcomes: list[Outcome]
    axes: dict[str, int]
    left_out: float
    seconds: float

    @property
    def chance(self) -> float:
        """The accuracy of guessing: 1 / speakers."""
        return 1.0 / self.protocol.speakers

    @property
    def published(self) -> float | None:
        """The published accuracy (on VCTK) of as many voices and clips, if there is one."""
        return PUBLISHED.get((self.protocol.speakers, self.protocol.utterances, self.protocol.train))

    @property
    def best(self) -> Outcome:
        """The most accurate variant."""
        return max(self.outcomes, key=lambda outcome: outcome.accuracy)
