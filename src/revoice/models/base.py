"""What every conversion model declares and offers. A model is a plain `nn.Module` in the registry `MODELS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from revoice import renamed
from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.data.read.batch import Requires as Requires
from revoice.data.read.batch import Sampler as Sampler
from revoice.errors import UserError, choices
from revoice.nn.pitch import PitchRange, Semitones, moved, steered
from revoice.nn.remel import require_mels
from revoice.nn.speech_codes import SpeechCodes
from revoice.registry import Registry
from revoice.settings import Number, Share, from_mapping, settings
from revoice.trainable import Trainable as Trainable

Strength = Annotated[Number, Field(ge=-10, le=10)]  # 0: the source's own voice, 1: the target's; beyond: a caricature
LEAST_VOICED = 0.12  # of the frames of a voice's clips: with fewer its pitch is not known
MODELS: "Registry[Trainable]" = Registry("model", "revoice.models")


@settings
class Controls:
    """What a user may steer at conversion, all `convert.py` accepts; a model with more to steer subclasses this."""

    @property
    def share(self) -> float:
        """How much of an adaptation to the target voice to use, 0 to 1."""
        return 1.0

    @property
    def toned(self) -> float:
        """How much of the tone of the target to give, or of the source if it keeps its voice, 0 to 1; 0 by default."""
        return 0.0


@settings
class StyleControls(Controls):
    """How far to go towards the target voice: 0 re-synthesizes the source's own, 1 is the target's, between mixes."""

    strength: Strength = 1.0

    @property
    def share(self) -> float:
        """As much of an adapted decoder as of the target's style."""
        return min(max(self.strength, 0.0), 1.0)


@settings
class PitchControls(StyleControls):
    """What may be steered by models that are told the pitch.

    Attributes:
        strength: 0 speaks with the source's own voice, 1 with the target's, between mixes.
        semitones: added to the target's pitch.
        pitch_range: factor on how far the melody moves from its mean (1: as the source's).
    """

    semitones: Semitones = 0.0
    pitch_range: PitchRange = 1.0


@settings
class TonedControls(PitchControls):
    """What may be steered by models whose conversions are given the tone of the target (`nn.tone`).

    Attributes:
        strength: 0 speaks with the source's own voice, 1 with the target's, between mixes.
        semitones: added to the target's pitch.
        pitch_range: factor on how far the melody moves from its mean (1: as the source's).
        tone: how much is given of what the model's copies of the target's clips lack of their sound, 0 to 1.
    """

    tone: Share = 1.0

    @property
    def toned(self) -> float:
        """As much of it as of the target's style."""
        return self.tone * self.share


def require_frames(shortest: int, **given: int) -> None:
    """Refuse crops that are too short for a network; 0 is none."""
    for name, frames in given.items():
        if 0 < frames < shortest:
            raise UserError(f"model.{name}={frames}: this network takes from {shortest} frames on")


@dataclass(frozen=True)
class Progress:
    """Where a conversion by many iterations is.

    Attributes:
        part, parts: which part of the clip, of how many.
        iteration, iterations: how many are done, and at most will be.
        losses: by name.
    """

    part: int
    parts: int
    iteration: int
    iterations: int
    losses: dict[str, float]


class ConversionModel(Trainable):
    """Base of all models that convert.

    Class attributes:
        target: what tells the target voice: "clips" (one or more recordings), "speaker" (a name in the model's
            table), "none". Instances may differ.
        Controls: the dataclass of conversion settings.
        adapts: submodules that a few steps on the target's clips may move before conversion (`conversion.adaptation`);
            none are moved without clips of the target to learn from.
        alone: whether it also speaks without any target, in the source's own voice.
        together: whether clips of equal length are quicker converted at once than one after the other.
        side_by_side: whether files are best converted in processes side by side: it computes on one core of a CPU.
        hides: whether it is there to hide who speaks, so that nothing beside an output may tell it.
        scales: a model with nothing to train is built from its settings alone, for the features `preset` or others of
            one of these scales (none: any).
    """

    target: str = "clips"
    alone: ClassVar[bool] = False
    together: ClassVar[bool] = True
    side_by_side: ClassVar[bool] = False
    hides: ClassVar[bool] = False
    scales: ClassVar[tuple[str, ...]] = ()
    Controls: ClassVar[type[Controls]] = Controls
    adapts: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def typed_controls(cls, settings: Mapping[str, Any]) -> Any:
        """The model's controls from plain settings; an unknown one is a `UserError` with the valid names."""
        valid = [f.name for f in fields(cls.Controls)]
        settings = {renamed.setting(name): value for name, value in settings.items()}
        for name in settings:
            if not valid:
                raise UserError(f"model {cls.name} has no control '{name}': it takes none")
            if name not in valid:
                raise choices(name, valid, f"control of {cls.name}")
        return from_mapping(cls.Controls, settings, "")

    def check_controls(self, controls: Any) -> None:
        """Refuse, by a `UserError`, what only this very model cannot follow: it has not learned what is asked for."""
        return None

    def convert(self, source: Batch, targets: list[Batch], controls: Any) -> Tensor:
        """Features (B, F, T) of what the items of `source` say, all in the voice of `targets`.

        Args:
            source: clips of equal length, as conversion analyzes them (`Requires.of_clip`).
            targets: clips of one voice, each a batch of one, of any length.
            controls: an instance of the model's `Controls`.
        """
        raise NotImplementedError

    def pitch(self, source: Batch, targets: list[Batch], controls: Any) -> Tensor | None:
        """f0 (B, T) in Hz of what `convert` returns, 0 where unvoiced, for the vocoder; None if it has no say."""
        return None

    @property
    def tells_pitch(self) -> bool:
        """Whether `pitch` knows it of clips that are voiced."""
        return type(self).pitch is not ConversionModel.pitch and "f0" in self.requires.of_clip

    def tempo(self, frames: int, targets: list[Batch], controls: Any) -> float:
        """How many times as long as a source of so many frames its conversion becomes."""
        return 1.0

    def in_parts(self, controls: Any) -> bool:
        """Whether a long source can be converted in parts: targets give none of them what belongs to the whole."""
        return True

    def keeps_phase(self, controls: Any) -> bool:
        """Whether the vocoder should start from the phases of the source, whose waveform the model then requires."""
        return False

    def steered_pitch(self, source: Batch, targets: list[Batch], controls: PitchControls) -> Tensor | None:
        """The sources' contours (B, T) at the targets' level, as the controls say; None if their f0 is not known."""
        if source.f0 is not None:
            by, level = self._move(source, targets, controls.strength), source.level  # of a chunk: of the recording
            level = level if level is None or by is None else level + by
            f0 = source.f0 if by is None else moved(source.f0, by)
            return steered(f0, controls.semitones, controls.pitch_range, level)
        if controls.semitones or controls.pitch_range != 1.0:
            name = "semitones" if controls.semitones else "pitch_range"
            raise UserError(
                f"{name}: this {self.name} is not told the pitch: leave it out, or train with "
                "model.decoder.pitch_bins=128"
            )
        return None

    def moved_pitch(self, source: Batch, targets: list[Batch], strength: float) -> Tensor | None:
        """The source's contours f0 (B, T) at the mean log level of the targets, or `strength` of the way there.

        Unchanged where a level is unknown; None if the source's f0 is.
        """
        by = self._move(source, targets, strength)
        return source.f0 if source.f0 is None or by is None else moved(source.f0, by)

    def _move(self, source: Batch, targets: list[Batch], strength: float) -> Tensor | None:
        """How far that is, nepers (B,), 0 where a level is unknown; None if nobody knows any."""
        own, wanted = source.pitch_level, level_of(targets)
        if own is None or wanted is None:
            return None
        by = strength * (wanted - own)  # (B,), nan where a level is unknown
        return by.nan_to_num(nan=0.0)


def level_of(clips: list[Batch]) -> Tensor | None:
    """Mean log-f0 of the voice of clips, each a batch of one; nan where too little of them is voiced to tell.

    A search finds a few frames of pitch in a whisper or a click, too. None if nothing tells a pitch.
    """
    told = [clip.level for clip in clips if clip.level is not None]
    if told:
        return torch.cat(told).nanmean()
    contours = [clip.f0.flatten() for clip in clips if clip.f0 is not None]
    if not contours:
        return None
    f0 = torch.cat(contours)
    voiced = f0 > 0
    count = voiced.sum()
    level = (voiced * f0.clamp(min=1e-3).log()).sum() / count  # no branch on data: graphs hold this, too
    return torch.where(voiced.float().mean() >= LEAST_VOICED, level, torch.nan)


def pooled(vectors: list[Tensor], clips: list[Batch]) -> Tensor:
    """The mean (1, D) of vectors (1, D) of clips, of which a longer one counts more."""
    if len(vectors) == 1:  # as in graphs, whose clips may be of any length
        return vectors[0].mean(0, keepdim=True)
    weights = vectors[0].new_tensor([max(1, clip.features.shape[2]) for clip in clips])
    return (torch.cat(vectors) * (weights / weights.sum())[:, None]).sum(0, keepdim=True)


class Matching(ConversionModel):
    """A model that may be asked, in training, what is heard in what it says in other voices (`nn.voice_match`).

    Attributes:
        match: whether it is, or of which of so many crops; 0: it is not asked.
        spec: of the features, once they are known.
    """

    match: int = 0
    spec: FeatureSpec | None = None

    def set_features(self, spec: FeatureSpec) -> None:
        """Remember what the features are, for the losses that listen to them; refuse what these cannot hear."""
        if self.match:
            require_mels(spec, "model.match")
        self.spec = spec


class Coder(ConversionModel):
    """A model that takes speech apart into codes and speaks with them, for others to stand on."""

    @property
    def code_widths(self) -> dict[str, int]:
        """Channels of "content", "rhythm" and "pitch"."""
        raise NotImplementedError

    @property
    def code_frames(self) -> dict[str, int]:
        """For how many frames there is one code of each."""
        raise NotImplementedError

    def codes(self, batch: Batch, without: str = "") -> SpeechCodes:
        """The codes of clips, of crops as of whole ones; the same whenever they are asked for.

        Args:
            batch: the clips.
            without: "content", "rhythm" or "pitch": that encoder hears nothing, and what it hears is not looked for.
        """
        raise NotImplementedError

    def speak(self, codes: SpeechCodes, voice: Tensor) -> Tensor:
        """Features (B, F, T) of codes and what tells the voice (B, D)."""
        raise NotImplementedError

    def contour(self, codes: SpeechCodes) -> Tensor | None:
        """f0 (B, T) in Hz that codes stand for, 0 where unvoiced; None if they do not tell it exactly."""
        return None

    def told(self, batch: Batch) -> Tensor:
        """What tells the voice (B, D) of clips."""
        raise NotImplementedError

    def told_by(self, clips: list[Batch]) -> Tensor:
        """What tells the one voice (1, D) of several clips, each a batch of one."""
        return nn.functional.normalize(pooled([self.told(clip) for clip in clips], clips), dim=1)


class Standardizer(nn.Module):
    """z-scores features with statistics kept as buffers, so that they travel inside the checkpoint.

    >>> s = Standardizer(2); s.set(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]))
    >>> s(torch.tensor([[[3.0], [2.0]]])).flatten().tolist()
    [1.0, 0.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def set(self, mean: Tensor, std: Tensor, floor: float = 1e-5) -> None:
        """Copy statistics (F,) in; `floor` guards channels that never move."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=floor))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, T) -> (B, F, T) standardized."""
        return (features - self.mean[:, None]) / self.std[:, None]

    def inverse(self, standardized: Tensor) -> Tensor:
        """(B, F, T) standardized -> features."""
        return standardized * self.std[:, None] + self.mean[:, None]


class IteratingModel(ConversionModel):
    """A model that converts by many iterations, which somebody may want to watch.

    Attributes:
        watch: told where a conversion is, again and again; None: nobody.
    """

    watch: Callable[[Progress], None] | None = None
