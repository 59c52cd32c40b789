"""Conversion by SpeechSplit: which clip each aspect is taken from."""

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import Controls, pooled
from revoice.models.speechsplit.match import envelope, matched, picked
from revoice.nn.pitch import PitchRange, Semitones, steered
from revoice.nn.pitch_classes import LEAST, UNTOLD, classes, expected, hertz, normalized, one_hot
from revoice.nn.random_resampling import stretched
from revoice.nn.speech_codes import SpeechCodes
from revoice.settings import Natural, Number, Share, one_or_more, settings

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
        tone: how much is given, with the timbre, of what the model's copies of the target's clips lack of their sound;
            without a target, of the source.
        rate: of speaking, 1.2 is a fifth faster.
        timing: how two clips that say the same are brought together where rhythm or pitch is the target's: "codes", as
            published, by what the rhythm encoder hears; "aligned", frame by frame by what is said in them (dynamic
            time warping), which keeps more words; or "auto", by codes unless the content keeps its timing.
        without: encoders that hear nothing, to find out what they carry.
        speaker: row of the source's voice in a table of speakers, for what keeps its timbre.
    """

    aspects: Aspects = ("timbre", "level")
    semitones: Semitones = 0.0
    pitch_range: PitchRange = 1.0
    tone: Share = 1.0
    rate: Annotated[Number, Field(ge=0.25, le=4)] = 1.0
    timing: Literal["auto", "codes", "aligned"] = "auto"
    without: Encoded = ()
    speaker: Natural | None = None

    @property
    def toned(self) -> float:
        """All of it with a timbre, the target's or else the source's; none where an encoder hears nothing."""
        return self.tone * ("timbre" in self.aspects and not self.without)


class Swap:
    """One conversion of clips of equal length.

    Args:
        model: in evaluation mode.
        source: what is said, a batch.
        targets: clips of the target, each a batch of one; none: the source's own voice speaks.
        controls: as the user says.

    Raises:
        UserError: the controls ask for what the target or the model cannot tell.
    """

    def __init__(
        self, model: "SpeechSplit", source: Batch, targets: list[Batch], controls: SpeechSplitControls
    ) -> None:
        self.model, self.source, self.targets, self.controls = model, source, targets, controls
        self.aspects, self.aligned = set(controls.aspects), model.aligns(controls)
        timed = self.aspects & {"rhythm", "pitch"}
        if not targets:  # the source's own voice, moved by the other controls
            self.aspects = set()
        if model.untrained == "generator" or (model.untrained and timed and not self.aligned):
            raise UserError(
                f"this checkpoint lacks the part {model.untrained}: import a folder with both published files, or "
                + ("train one" if model.untrained == "generator" else "add timing=aligned")
            )
        if timed and not targets:
            raise UserError(
                f"aspects=[{sorted(timed)[0]}] is taken from a target: expected tgt=b.wav that says the same"
            )
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
        rhythm, heard, f0 = self.mel, self.heard, self.contour
        if "rhythm" in self.aspects:
            rhythm = self._mel(self.targets[0]).expand(len(self.source), -1, -1)
            if self.aligned:
                heard, f0 = picked(heard, self._matched(rhythm=True)), self.f0()
        both = max(heard.shape[-1], rhythm.shape[-1])
        found = classes(normalized(f0, self.told_in))
        return model.generator.encode(
            self._padded(heard * ("content" not in missing), both),
            one_hot(self._padded(torch.full_like(found, UNTOLD) if "pitch" in missing else found, both)),
            self._padded(rhythm * ("rhythm" not in missing), both),
            frames=rhythm.shape[-1],
        )

    @property
    def tells_level(self) -> bool:
        """Whether the level of the voice's pitch is known: neither a clip nor statistics of training may tell it."""
        if self.model.relative == "corpus" or "timbre" not in self.aspects or self.model.knows_levels:
            return True
        return any(bool(self.model.known_pitch(clip).isfinite().all()) for clip in self.targets)

    def f0(self) -> Tensor:
        """Contours (B, T) in Hz of what `features` returns."""
        if "rhythm" not in self.aspects:
            return self.contour
        if "pitch" in self.aspects:  # both are of one clip
            theirs = self._stretched(self.targets[0].f0).expand(len(self.source), -1)
            return self._moved(self._said_by(theirs))
        if self.aligned:
            return picked(self.contour[:, None], self._matched(rhythm=True))[:, 0]
        return self._retimed(self._mel(self.targets[0]), self.contour, self.told_in)

    @cached_property
    def mel(self) -> Tensor:
        """The source's (B, F, T), at the rate asked for."""
        return self._mel(self.source)

    @cached_property
    def heard(self) -> Tensor:
        """What tells the content (B, C, T)."""
        return self._heard(self.source)

    @cached_property
    def voice(self) -> Tensor:
        """What tells the decoder who speaks (B, D)."""
        if "timbre" in self.aspects:
            told = pooled([self.model.told(clip) for clip in self.targets], self.targets)
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
            clip = self.targets[0]
            assert clip.f0 is not None
            if not self.aligned:
                return self._moved(self._retimed(self.mel, clip.f0, self.model.statistics(clip)))
            theirs = self._stretched(clip.f0)[:, None].expand(len(self.source), -1, -1)
            return self._moved(self._said_by(picked(theirs, self._matched(rhythm=False))[:, 0]))
        relative = self.model.relative == "speaker"
        level = self.source.level  # of a chunk: of the recording
        if ("timbre" if relative else "level") in self.aspects:
            f0 = _told_as(f0, own, self._theirs)
            level = None if level is None else _told_as(level.exp()[:, None], own, self._theirs)[:, 0].log()
        return self._moved(f0, level)

    @property
    def _theirs(self) -> Tensor:
        """Mean and deviation of pitch (B, 2) of the target, over its voiced clips; the corpus's where none is."""
        known = torch.cat([self.model.known_pitch(clip) for clip in self.targets]).nanmean(0, keepdim=True)
        return torch.where(known.isfinite(), known, self.model.of_corpus(1)).expand(len(self.source), -1)

    def _said_by(self, f0: Tensor) -> Tensor:
        """The target's contours (., T) in Hz, of the same place within the pitch of the voice that speaks."""
        if self.model.relative == "corpus":
            return f0
        return _told_as(f0, self.model.of_voice(self.targets[0]).expand(len(f0), -1), self.told_in)

    def _retimed(self, mel: Tensor, f0: Tensor, heard_in: Tensor) -> Tensor:
        """A contour (., S) in Hz in the rhythm of mels (., F, T), by the pitch converter; told for who speaks.

        The contour is stretched to the mels' length first: what is left to mend is then as in training.
        """
        frames, size = mel.shape[-1], len(self.source)
        f0 = torch.nn.functional.interpolate(f0[:, None], frames, mode="nearest-exact")[:, 0]
        found = one_hot(self._padded(classes(normalized(f0, heard_in)), frames)).expand(size, -1, -1)
        logits = self.model.converter(self._padded(mel, frames).expand(size, -1, -1), found)
        return hertz(expected(logits), self.told_in)[:, :frames]

    def _matched(self, rhythm: bool) -> Tensor:
        """For every frame of the target which frame of each source says the same (B, T), or the other way around."""
        ours, theirs = self._said(self.source), self._said(self.targets[0])[0]
        return torch.stack([matched(theirs, own) if rhythm else matched(own, theirs) for own in ours])

    def _said(self, clip: Batch) -> Tensor:
        """What two clips are matched by (B, C, T): what the content encoder hears, or the envelope of the spectrum."""
        return envelope(self._mel(clip)) if self.model.content is None else self._heard(clip)

    def _heard(self, clip: Batch) -> Tensor:
        if self.model.content is None:
            return self._mel(clip)
        assert clip.waveform is not None
        return stretched(self.model.heard(clip.waveform, clip.features.shape[-1]), self.controls.rate)

    def _moved(self, f0: Tensor, level: Tensor | None = None) -> Tensor:
        return steered(f0, self.controls.semitones, self.controls.pitch_range, level)

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
    return log.exp().masked_fill(f0 <= 0, 0.0)
