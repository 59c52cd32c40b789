"""The one object that travels from the data to the models."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from revoice.nn.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of crops; what was not asked for is None.

    Shapes: B items, F feature channels, T frames, S = T x hop samples, R reference frames.

    Attributes:
        id: utterance ids.
        features: (B, F, T) float32, un-standardized, as `audio.features` computes them.
        lengths: (B,) int64, valid frames of each item (the rest is padding).
        f0: (B, T) Hz, 0 where unvoiced.  voiced: (B, T) bool.
        embedding: (B, 256) speaker embedding of the utterance, or of the one that `reference` is a crop of.
        speaker, emotion, gender: (B,) int64 indices into the tables of the data; -1 where unknown.
        waveform: (B, S) aligned with `features`.
        paired: (B, F, T) a changed copy of the same utterance.  codes: (B, T') int64.
        content: (B, D, T) what a recognizer's encoder made of the whole utterance, aligned with `features`.
        reference: (B, F, R) crops of *other* utterances of the same speakers.
        phones: (B, T) integers, see `data.fields.phones`: which phone each frame belongs to, and where its middle is.
        posteriors: (B, C, T') float32, what a teacher hears, T' = T / 2 steps; 0 throughout where it was not asked.
        draws: the batch's random numbers (absent in evaluation: models then take means instead of samples).
    """

    id: tuple[str, ...]
    features: Tensor
    lengths: Tensor
    f0: Tensor | None = None
    voiced: Tensor | None = None
    embedding: Tensor | None = None
    speaker: Tensor | None = None
    emotion: Tensor | None = None
    gender: Tensor | None = None
    waveform: Tensor | None = None
    paired: Tensor | None = None
    codes: Tensor | None = None
    content: Tensor | None = None
    reference: Tensor | None = None
    phones: Tensor | None = None
    posteriors: Tensor | None = None
    draws: Draws | None = None

    def __len__(self) -> int:
        return len(self.id)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch with every tensor on `device`."""
        moved: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                moved[f.name] = value.to(device, non_blocking=non_blocking)
        return replace(self, **moved)
