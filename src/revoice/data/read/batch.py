"""What a model requires of the data, and the one object that travels from the data to it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from revoice.nn.draws import Draws
from revoice.settings import Frames, FramesOrNone, settings

Sampler = Literal["uniform", "by_speaker"]


@settings
class Requires:
    """What a model needs of the data, read by the DataModule.

    Attributes:
        fields: stored fields ("features", "f0", "embedding", "waveform", ...).
        frames: crop length in frames.
        minimum: utterances shorter than this many frames are left out; shorter than `frames` are padded.
        sampler: "uniform" over utterances, "by_speaker" (speakers equally often).
        reference: frames of a crop from another utterance of the same speaker (0: none).
        analysis: what conversion computes of a clip, if that is not what training reads: a stored field may have been
            made by a part of the model, which conversion runs itself.
    """

    fields: tuple[str, ...] = ("features",)
    frames: Frames = 128
    minimum: FramesOrNone = 32
    sampler: Sampler = "uniform"
    reference: FramesOrNone = 0
    analysis: tuple[str, ...] | None = None

    @property
    def of_clip(self) -> tuple[str, ...]:
        """What conversion computes of a clip."""
        return self.fields if self.analysis is None else self.analysis


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
