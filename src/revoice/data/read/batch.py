"""What a model requires of the data, and the one object that travels to it, in training and in conversion."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from revoice.nn.draws import Draws
from revoice.nn.pitch import log_level
from revoice.settings import Frames, FramesOrNone, settings

Sampler = Literal["uniform", "by_speaker", "in_order"]
Label = Literal["gender", "emotion"]


@settings
class Requires:
    """What a model needs of the data, read by the DataModule.

    Attributes:
        fields: stored fields ("features", "f0", "embedding", "waveform", ...).
        frames: crop length in frames; None: there is no time axis, and only fields of whole utterances are read.
        minimum: utterances shorter than this many frames are left out; shorter than `frames` are padded.
        sampler: "uniform" over utterances, "by_speaker" (speakers equally often), or "in_order": one after the
            other, all of one gender before the next, as loaders do that do not shuffle.
        labels: utterances of which one of these is not known are left out.
        reference: frames of a crop from another utterance of the same speaker, or from elsewhere in the only one (0:
            none).
        parallel: frames of the same sentence by the same speaker with another emotion (0: none).
        analysis: what conversion computes of a clip, if that is not what training reads: a stored field may have been
            made by a part of the model, which conversion runs itself.
    """

    fields: tuple[str, ...] = ("features",)
    frames: Frames | None = 128
    minimum: FramesOrNone = 32
    sampler: Sampler = "uniform"
    labels: tuple[Label, ...] = ()
    reference: FramesOrNone = 0
    parallel: FramesOrNone = 0
    analysis: tuple[str, ...] | None = None

    @property
    def crop(self) -> int:
        """Frames of a crop, 0 without a time axis."""
        return self.frames or 0

    @property
    def of_clip(self) -> tuple[str, ...]:
        """What conversion computes of a clip."""
        return self.fields if self.analysis is None else self.analysis


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of crops, or of whole clips to convert; what was not asked for is None.

    Shapes: B items, F feature channels, T frames, S = T x hop samples, R reference frames, P parallel frames.

    Attributes:
        id: utterance ids.
        features: (B, F, T) float32, un-standardized, as `audio.features` computes them; (B, 0, 0) for a model without a
            time axis.
        lengths: (B,) int64, valid frames of each item (the rest is padding).
        f0: (B, T) Hz, 0 where unvoiced.  voiced: (B, T) bool.
        embedding: (B, 256) speaker embedding of the utterance, or of the one that `reference` is a crop of.
        level: (B,) mean log-f0 where it is known better than by `f0`: of the whole recording if an item is a chunk of
            one, of all training clips if it stands for a speaker of the table.
        spread: (B,) deviation of log-f0, where `level` is the mean of a whole recording.
        speaker, emotion, gender: (B,) int64 indices into the tables of the data; -1 where unknown.
        waveform: (B, S) aligned with `features`.
        paired: (B, F, T) a changed copy of the same utterance.  codes: (B, T') int64.
        content: (B, D, T) what a recognizer's encoder made of the whole utterance, aligned with `features`.
        reference: (B, F, R) crops of *other* utterances of the same speakers.
        parallel: (B, F, P) of a recording of the same sentence by the same speaker with another emotion, around what
            the crop says; of the utterance itself if there is none.  parallel_lengths: (B,) valid frames of it.
        parallel_f0: (B, P) Hz.  parallel_emotion: (B,) like `emotion`.
        phones: (B, T) integers, see `data.fields.phones`: which phone each frame belongs to, and where its middle is.
        generated: (B, F, T) what a model made of the same utterance, like `features`.
        posteriors: (B, C, T') float32, what a teacher hears, T' = T / 2 steps; 0 throughout where it was not asked.
        draws: the batch's random numbers (absent in evaluation: models then take means instead of samples).
    """

    id: tuple[str, ...]
    features: Tensor
    lengths: Tensor
    f0: Tensor | None = None
    voiced: Tensor | None = None
    embedding: Tensor | None = None
    level: Tensor | None = None
    spread: Tensor | None = None
    speaker: Tensor | None = None
    emotion: Tensor | None = None
    gender: Tensor | None = None
    waveform: Tensor | None = None
    paired: Tensor | None = None
    codes: Tensor | None = None
    content: Tensor | None = None
    reference: Tensor | None = None
    parallel: Tensor | None = None
    parallel_lengths: Tensor | None = None
    parallel_f0: Tensor | None = None
    parallel_emotion: Tensor | None = None
    phones: Tensor | None = None
    generated: Tensor | None = None
    posteriors: Tensor | None = None
    draws: Draws | None = None

    @classmethod
    def of_clip(cls, features: Tensor, **others: Tensor | None) -> "Batch":
        """One clip, a batch of one item: features (F, T) and other fields of it, each without the first dimension.

        >>> clip = Batch.of_clip(torch.zeros(80, 31), f0=torch.full((31,), 100.0))
        >>> clip.features.shape, clip.f0.shape, len(clip)
        (torch.Size([1, 80, 31]), torch.Size([1, 31]), 1)
        """
        given: dict[str, Any] = {name: None if value is None else value[None] for name, value in others.items()}
        lengths = torch.full((1,), features.shape[-1], device=features.device)
        return cls(id=("",), features=features[None], lengths=lengths, **given)

    @classmethod
    def join(cls, batches: Sequence["Batch"]) -> "Batch":
        """The items of all `batches`, whose `shapes` are equal, as one batch; the random numbers are left out."""
        assert len({batch.shapes for batch in batches}) == 1, "clips of unlike lengths are no batch"
        given = {name: [getattr(batch, name) for batch in batches] for name in batches[0]._tensors()}
        joined: dict[str, Any] = {name: torch.cat(each) for name, each in given.items()}
        return cls(id=sum((batch.id for batch in batches), ()), **joined)

    def __len__(self) -> int:
        return len(self.id)

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of an item of every field that is there: clips for which they are equal can be joined."""
        return tuple((name, tuple(value.shape[1:])) for name, value in self._tensors().items())

    @property
    def pitch_level(self) -> Tensor | None:
        """Mean log-f0 (B,), nan where nothing is voiced; None if nothing tells it."""
        if self.level is not None or self.f0 is None:
            return self.level
        return torch.stack([log_level(contour) for contour in self.f0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch with every tensor on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking) for name, value in self._tensors().items()
        }
        return replace(self, **moved)

    def _tensors(self) -> dict[str, Tensor]:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in values if isinstance(value, Tensor)}
