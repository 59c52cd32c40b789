"""Conversion by SpeechSplit: which clip each aspect is taken from."""

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import Controls
from revoice.nn.pitch import PitchRange, Semitones, spread, transposed
from revoice.nn.pitch_classes import LEAST, UNTOLD, classes, hertz, normalized, one_hot
from revoice.nn.random_resampling import stretched
from revoice.nn.speech_codes import SpeechCodes
from revoice.settings import Natural, Number, one_or_more, settings

if TYPE_CHECKING:
    from revoice.models.speechsplit.model import SpeechSplit

Aspects = Annotated[tuple[Literal["rhythm", "pitch", "timbre", "level"], ...], BeforeValidator(one_or_more)]
Encoded = Annotated[tuple[Literal["content", "rhythm", "pitch"], ...], BeforeValidator(one_or_more)]


@settings
class SpeechSplitControls(Controls):
    """What may be steered.

    Attributes:
        aspects: what is taken from the target; the rest stays the source's, and what is said always does. "rhythm" and
            "pitch" are those of one recording that says the same; "timbre" is the voice, "level" the mean and deviation
            of its pitch alone. Where pitch is told relative to each speaker, as published, the level goes with timbre.
        semitones: added to the pitch.
        pitch_range: factor on how far the melody moves from its mean.
        rate: of speaking, 1.2 is a fifth faster.
        without: encoders that hear nothing, to find out what they carry.
        speaker: row of the source's voice in a table of speakers, for what keeps its timbre.
    """

    aspects: Aspects = ("timbre", "level")
    semitones: Semitones = 0.0
    pitch_range: PitchRange = 1.0
    rate: Annotated[Number, Field(ge=0.25, le=4)] = 1.0
    without: Encoded = ()
    speaker: Natural | None = None


class Swap:
    """One conversion of clips of equal length.

    Args:
        model: in evaluation mode.
        source: what is said, a batch.
        targets: clips of the target, each a batch of one.
        controls: as the user says.

    Raises:
        UserError: the controls ask for what the target or the model cannot tell.
    """

    def __init__(
        self, model: "SpeechSplit", source: Batch, targets: list[Batch], controls: SpeechSplitControls
    ) -> None:
        self.model, self.source, self.targets, self.controls = model, source, targets, controls
        self.aspects = set(controls.aspects)
        timed = self.aspects & {"rhythm", "pitch"}
        if timed and targets[0].f0 is None:
            raise UserError(
                f"aspects=[{sorted(timed)[0]}] is taken from a recording, a table of speakers has none: leave it out, "
                "or train with model.voice=embedding"
            )
        if timed and len(targets) > 1:
            raise UserError(
                f"aspects=[{sorted(timed)[0]}] is that of one recording: give one target that says the same"
            )

    def features(self) -> Tensor:
        """(B, F, T)."""
        codes = self.codes()
        return self.model.speak(codes, self.voice).clamp(0, 1)

    def codes(self) -> SpeechCodes:
        """What the generator's encoders make of what was chosen."""
        model, missing = self.model, self.controls.without
        rhythm = self._mel(self.targets[0]) if "rhythm" in self.aspects else self.mel
        size = len(self.source)
        both = max(self.mel.shape[-1], rhythm.shape[-1])
        found = classes(normalized(self.contour, self.told_in))
        if "pitch" in missing:
            found = torch.full_like(found, UNTOLD)
        heard = self.heard * (0.0 if "content" in missing else 1.0)
        rhythm = rhythm * (0.0 if "rhythm" in missing else 1.0)
        return model.generator.encode(
            self._padded(heard, both),
            one_hot(self._padded(found, both)),
            self._padded(rhythm, both).expand(size, -1, -1),
            frames=rhythm.shape[-1],
        )

    def f0(self) -> Tensor:
        """Contours (B, T) in Hz of what `features` returns."""
        if "rhythm" not in self.aspects:
            return self.contour
        target = self._stretched(self.targets[0].f0)
        if "pitch" in self.aspects:
            theirs = self.model.statistics(self.targets[0])
            moved = hertz(classes(normalized(target, theirs)), self.told_in[:1])
            return self._moved(moved).expand(len(self.source), -1)
        frames = target.shape[-1]
        return self._retimed(self._mel(self.targets[0]), self.contour, self.told_in, self.told_in)[:, :frames]

    @cached_property
    def mel(self) -> Tensor:
        """The source's (B, F, T), at the rate asked for."""
        return self._mel(self.source)

    @cached_property
    def heard(self) -> Tensor:
        """What tells the content."""
        if self.model.content is None:
            return self.mel
        assert self.source.waveform is not None
        heard = self.model.heard(self.source.waveform, self.source.features.shape[-1])
        return stretched(heard, self.controls.rate)

    @cached_property
    def voice(self) -> Tensor:
        """What tells the decoder who speaks (B, D)."""
        if "timbre" in self.aspects:
            told = torch.cat([self.model.told(clip) for clip in self.targets]).mean(0, keepdim=True)
            if self.model.voice == "embedding":
                told = torch.nn.functional.normalize(told, dim=1)
            return told.expand(len(self.source), -1)
        if self.model.voice == "embedding":
            return self.model.told(self.source)
        row = self.controls.speaker
        if row is None or row >= self.model.width:
            raise UserError(
                f"without aspects=[timbre] the source's own voice speaks: expected speaker=0 to "
                f"speaker={self.model.width - 1}, its row in the table"
            )
        told = torch.nn.functional.one_hot(torch.tensor([row], device=self.mel.device), self.model.width)
        return told.to(self.mel.dtype).expand(len(self.source), -1)

    @cached_property
    def told_in(self) -> Tensor:
        """Mean and deviation of pitch (B, 2) of the voice that speaks, or of the corpus."""
        if self.model.relative == "corpus":
            return self.model.of_corpus(len(self.source))
        return self._theirs if "timbre" in self.aspects else self.model.of_voice(self.source)

    @cached_property
    def contour(self) -> Tensor:
        """f0 (B, T) in Hz to be said, in the source's timing."""
        own = self.model.of_voice(self.source)
        f0 = self._stretched(self.source.f0)
        if "pitch" in self.aspects:
            target = self.targets[0].f0
            assert target is not None
            found = self._retimed(self.mel, target, self.model.statistics(self.targets[0]), self.told_in)
            return self._moved(found[:, : f0.shape[-1]])
        relative = self.model.relative == "speaker"
        if ("timbre" if relative else "level") in self.aspects:
            f0 = _told_as(f0, own, self._theirs)
        return self._moved(f0)

    @property
    def _theirs(self) -> Tensor:
        """Mean and deviation of pitch (B, 2) of the target, over all its clips; the source's where nothing is known."""
        known = torch.cat([self.model.of_voice(clip) for clip in self.targets])
        return known.mean(0, keepdim=True).expand(len(self.source), -1)

    def _retimed(self, mel: Tensor, f0: Tensor, heard_in: Tensor, told_in: Tensor) -> Tensor:
        """A contour (., S) in Hz in the rhythm of mels (., F, T), by the pitch converter; told for another voice."""
        frames = max(mel.shape[-1], f0.shape[-1])
        size = len(self.source)
        found = one_hot(self._padded(classes(normalized(f0, heard_in)), frames)).expand(size, -1, -1)
        logits = self.model.converter(self._padded(mel, frames).expand(size, -1, -1), found)
        return hertz(logits.argmax(1), told_in)[:, : mel.shape[-1]]

    def _moved(self, f0: Tensor) -> Tensor:
        return spread(transposed(f0, self.controls.semitones), self.controls.pitch_range)

    def _mel(self, clip: Batch) -> Tensor:
        return stretched(clip.features.clamp(0, 1), self.controls.rate)

    def _stretched(self, f0: Tensor | None) -> Tensor:
        """A contour at the rate asked for; frames are picked, as between voiced and unvoiced there is nothing."""
        assert f0 is not None
        return stretched(f0[:, None], self.controls.rate, nearest=True)[:, 0]

    def _padded(self, x: Tensor, frames: int) -> Tensor:
        """(B, ..., S) filled up with zeros, which are silent and unvoiced, to what the encoders take of `frames`."""
        return self.model.fill(torch.nn.functional.pad(x, (0, frames - x.shape[-1])))


def _told_as(f0: Tensor, own: Tensor, theirs: Tensor) -> Tensor:
    """f0 (B, T) in Hz from one mean and deviation of its logarithm (B, 2) to another; unvoiced frames stay 0."""
    factor = theirs[:, 1:].clamp(min=LEAST) / own[:, 1:].clamp(min=LEAST)
    log = theirs[:, :1] + (f0.clamp(min=1e-3).log() - own[:, :1]) * factor
    return torch.where(f0 > 0, log.exp(), 0.0)
