"""What contours of pitch are told in: mean and deviation of a voice's own, or of all voices of the corpus."""

import math
from typing import Literal

import torch
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.models.base import Coder
from revoice.nn.pitch_classes import LEAST, pitch_statistics


class ContourCoder(Coder):
    """A model that is told the pitch as deviations from a mean, and knows that of every training speaker.

    Args:
        n_speakers: rows of the table.

    Attributes:
        relative: whose mean and deviation: "speaker", each voice's own, or "corpus", those of all training speakers.
        speaker_statistics: (speakers, 2), mean and deviation of log-f0; a deviation of -1: unknown.
        corpus_statistics: (2,), of all of them.
    """

    speaker_pitch = True
    relative: Literal["speaker", "corpus"]
    speaker_statistics: Tensor
    corpus_statistics: Tensor

    def __init__(self, n_speakers: int) -> None:
        super().__init__()
        self.register_buffer("speaker_statistics", -torch.ones(max(n_speakers, 1), 2))
        self.register_buffer("corpus_statistics", torch.tensor([5.0, 0.3]))

    @property
    def knows_levels(self) -> bool:
        """Whether any voice's was ever told: not to an imported network, whose table is of somebody else's voices."""
        return bool((self.speaker_statistics[:, 1] >= 0).any())

    def statistics(self, batch: Batch) -> Tensor:
        """Mean and deviation (B, 2) of log-f0 that contours are told in."""
        return self.of_corpus(len(batch)) if self.relative == "corpus" else self.of_voice(batch)

    def of_corpus(self, count: int) -> Tensor:
        """(B, 2), of all training speakers."""
        return self.corpus_statistics.expand(count, -1)

    def of_voice(self, batch: Batch) -> Tensor:
        """(B, 2): of the speaker where it is one of training, else of the clip itself, else of all speakers."""
        known = self.known_pitch(batch)
        return torch.where(known.isfinite(), known, self.of_corpus(len(batch)))

    def known_pitch(self, batch: Batch) -> Tensor:
        """(B, 2), as `of_voice`, but nan where neither speaker nor clip tells it."""
        found = torch.full_like(self.of_corpus(len(batch)), math.nan)
        if batch.f0 is not None:
            found = pitch_statistics(batch.f0)
        if batch.level is not None and batch.spread is not None:
            whole = torch.stack([batch.level, batch.spread], dim=1).to(found.dtype)
            found = torch.where(whole.isfinite(), whole, found)
        if batch.speaker is not None:
            rows = self.speaker_statistics[batch.speaker.clamp(min=0)]
            found = torch.where(((batch.speaker >= 0) & (rows[:, 1] >= 0))[:, None], rows, found)
        return found

    def set_pitch(self, statistics: Tensor, fresh: bool) -> None:
        """Take mean and deviation of log-f0 (speakers, 2) of the training speakers; `fresh`: also for the corpus."""
        unknown = ~statistics.isfinite().all(1)
        self.speaker_statistics = statistics.masked_fill(unknown[:, None], -1.0).to(self.corpus_statistics)
        known = statistics[~unknown]
        if fresh and len(known):
            mean, deviation = known.unbind(1)
            whole = (deviation.square().mean() + mean.var(correction=0)).sqrt()
            self.corpus_statistics.copy_(torch.stack([mean.mean(), whole.clamp(min=LEAST)]))
