"""CodeGAN: codes of one emotion rewritten to another, by StarGAN (arXiv:1711.09020) over sequences.

It stands on a frozen model that takes speech apart (SpeechSplit): the codes of pitch and rhythm are rewritten, those of
what is said stay, and the model speaks with both. Loudness over time may be a code too: no decoder has to be told of
it, since a change is a gain. As many codes come out as went in, so durations do not change.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch, Requires, Sampler
from revoice.errors import UserError, choices
from revoice.models.base import MODELS, Controls, ConversionModel, Strength, level_of
from revoice.models.codegan.coder import Codes, stood_on
from revoice.models.codegan.energy import EVERY, as_loud, energy, gain, require_log
from revoice.models.codegan.losses import again, centered, deviations, shift_apart, statistics, summary, whole
from revoice.models.codegan.networks import CodeGenerator, GeneratorSize, averaged, held
from revoice.nn.align import followed
from revoice.nn.conv import fitted
from revoice.nn.labels import energy_distance_by
from revoice.nn.speech_codes import SpeechCodes
from revoice.settings import Count, Frames, FramesOrNone, Number, Share, Width, Word, one_or_more, settings
from revoice.trainable import MODEL, Play

Aspect = Literal["pitch", "rhythm", "content", "energy"]
Aspects = Annotated[tuple[Aspect, ...], BeforeValidator(one_or_more), Field(min_length=1)]
Factor = Annotated[Number, Field(ge=-10, le=10)]
UNKNOWN = -1  # in place of an emotion
PUBLISHED = 66  # channels of pitch and rhythm together, where no model is given


@settings
class CodeGANControls(Controls):
    """What may be steered.

    Attributes:
        emotion: to be spoken with, one of those that were trained on; None: as the source is spoken.
        source_emotion: which one the source is spoken with, or the target's clips, whose level of pitch it then has;
            None: nobody knows. Told, the mean of the codes moves as the two emotions differ, else to where the emotion
            is in a voice whose clips are usually as high as this one.
        strength: how far to go there: 0 stays as it is, 1 goes all the way.
        tone: how much is given of what the model's copies of the target's clips, or of the source, lack, 0 to 1.
        pitch_code, rhythm_code, energy_code: factors on the codes, a cheap change of style; 0.1 on the pitch flattens.
    """

    emotion: Word | None = None
    source_emotion: Word | None = None
    strength: Strength = 1.0
    pitch_code: Factor = 1.0
    rhythm_code: Factor = 1.0
    energy_code: Factor = 1.0
    tone: Share = 1.0

    @property
    def toned(self) -> float:
        """All of it: timbre is not rewritten."""
        return self.tone


@MODELS.register("codegan")
class CodeGAN(ConversionModel):
    """A generator of codes, and the frozen model that makes them of speech and speech of them.

    Losses beside those of the critic: `cycle`, the L1 distance of codes that went to another emotion and back, and
    `identity`, that of codes rewritten to their own emotion, which published code has a weight for and does not use.
    A generator that adds to the codes (`generator.residual`) also has `statistics`: mean, deviation, mean step and peak
    over time are to move as the means of the two emotions in the batch differ, in squared deviations. With `parallel`
    there is a loss of that name: the L1 distance to the codes of a true recording of the same sentence by the same
    speaker in another emotion, aligned in time, in deviations of each code.

    Which emotion an item is rewritten to is drawn as often as the training data has it; published code takes the
    batch's own, in another order, which is the same on the average.

    Args:
        emotions: their names, in the order of the tables of the data.
        codes: `Codes`.
        rewritten: which of "pitch", "rhythm", "content", and "energy", of log-magnitudes alone, are.
        generator: `GeneratorSize`.
        frames: training crop.
        sampler: "uniform" over utterances or "by_speaker".
        parallel: frames of a recording of the same sentence that codes are compared with; 0: they are not.
    """

    Controls = CodeGANControls
    preset = "speechsplit_16k"
    stands_on = ("resemblyzer", "whisper")  # as what takes speech apart may
    may_change = ("frames", "sampler", "parallel")
    measured = ("distance",)
    speaker_pitch = True
    alone = True

    def __init__(
        self,
        n_features: Width,
        sample_rate: Count,
        hop: Count,
        emotions: tuple[Word, ...],
        *,
        codes: Codes | None = None,
        rewritten: Aspects = ("pitch", "rhythm"),
        generator: GeneratorSize | None = None,
        frames: Frames = 128,
        sampler: Sampler = "uniform",
        parallel: FramesOrNone = 0,
    ) -> None:
        super().__init__()
        if len(set(emotions)) < 2:
            raise UserError(
                "model codegan learns from two emotions at least, the training data has "
                f"{', '.join(emotions) or 'none'}: give data that tells them, e.g. data=synthetic_emotions"
            )
        self.emotions, self.rewritten = tuple(emotions), rewritten
        facts = {"n_features": n_features, "sample_rate": sample_rate, "hop": hop}
        self.coder = stood_on(codes or Codes(), facts)
        heard: tuple[str, ...] = ("features", "f0", "embedding")
        if self.coder is not None:
            self.coder.requires_grad_(False).eval()
            heard = self.coder.requires.of_clip
        # to learn, nobody has to know whose voice it is, nor what is said unless that is rewritten
        spared = ("embedding",) if "content" in rewritten else ("embedding", "waveform")
        self.requires = Requires(
            fields=tuple(name for name in heard if name not in spared),
            frames=frames, minimum=32, sampler=sampler, labels=("emotion",), parallel=parallel,
            analysis=heard,
        )  # fmt: skip
        if parallel and "waveform" in self.requires.fields:
            raise UserError(
                f"model.parallel={parallel}: of recordings that say the same only features and pitch are read, and the "
                "content of these codes is made of the waveform: leave content out of model.rewritten, or type "
                "model.parallel=0 and leave the loss parallel out of the schedule"
            )
        self.channels = PUBLISHED
        if self.coder is not None:
            widths = self._widths
            self.channels = sum(widths[name] for name in rewritten)
        if self.coder is not None and not self.channels:
            raise UserError(
                f"model.rewritten=[{','.join(rewritten)}]: the codes of this {self.coder.name} have none: expected "
                f"{', '.join(name for name, width in widths.items() if width)}"
            )
        self.judged = {"channels": self.channels, "classes": len(self.emotions)}
        self.generator = CodeGenerator(self.channels, len(self.emotions), generator or GeneratorSize())
        self.shares: Tensor  # of the emotions in the training data
        self.register_buffer("shares", torch.full((len(self.emotions),), 1 / len(self.emotions)))
        self._pitch: Tensor | None = None
        self._changing: Tensor | None = None  # which speakers speak in several emotions (speakers,); None: unknown

    def train(self, mode: bool = True) -> "CodeGAN":
        """The model of the codes stays as it was trained."""
        super().train(mode)
        if self.coder is not None:
            self.coder.eval()
        return self

    def play(self, batch: Batch, part: str = MODEL) -> Play:
        """Codes rewritten to emotions that are drawn; in validation each to the next one of the table."""
        assert batch.emotion is not None
        with torch.no_grad():
            real = self._heard(batch)
        own, shares = batch.emotion, self.shares.to(real)
        if batch.draws is None:
            wanted = (own + 1) % len(self.emotions)
        else:
            drawn = batch.draws.uniform("emotion", device=real.device).to(real)
            wanted = torch.bucketize(drawn, shares.cumsum(0)[:-1], right=True)
        known = self._known(batch)  # of half of the items
        fake = self.generator(real, wanted, torch.where(known, own, UNKNOWN))
        losses = {}
        if torch.is_grad_enabled() or batch.draws is None:  # while a critic learns nobody asks for them
            back = self.generator(fake, own, torch.where(known, wanted, UNKNOWN))
            losses["cycle"] = F.l1_loss(back.float(), real.float())
            same = self.generator(real, own, torch.where(known, own, UNKNOWN))
            losses["identity"] = F.l1_loss(same.float(), real.float())
            if self.generator.residual:
                together = batch.draws is not None  # processes validate different numbers of batches
                numbers = statistics(real), statistics(fake)
                tells = self._changes(batch)
                losses["statistics"] = shift_apart(*numbers, own, wanted, len(shares), together, tells)
            if batch.parallel is not None:
                losses["parallel"] = self._parallel(batch, real, known)
        balance = 1 / (len(shares) * shares.clamp(min=1e-6))
        return Play(losses, fake=fake, real=real, wanted=wanted, own=own, balance=balance)

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """`distance`: energy distance of rewritten codes to those of the emotion itself, by their mean and deviation.

        Each emotion that the batch has is compared with its own, and the distance is the mean of theirs: what is
        rewritten to an emotion that nobody in the batch speaks with could only be compared with another one.
        """
        assert batch.emotion is not None
        real, count = self._heard(batch), len(self.emotions)
        wanted = torch.cat([(batch.emotion + i) % count for i in range(1, count)])
        fake = self.generator(real.repeat(count - 1, 1, 1), wanted)
        return {"distance": energy_distance_by(summary(fake), wanted, summary(real), batch.emotion, count)}

    @torch.no_grad()
    def convert(self, source: Batch, targets: list[Batch], controls: CodeGANControls) -> Tensor:
        """Features (B, F, T) of the sources in another emotion, in the targets' voice or, without any, their own."""
        assert self.coder is not None
        voice = self.coder.told_by(targets).expand(len(source), -1) if targets else self.coder.told(source)
        return self.speak(self._rewritten(source, targets, controls), voice)

    def speak(self, codes: SpeechCodes, voice: Tensor) -> Tensor:
        """Features (B, F, T) of codes, as loud as these say, and of what tells the voice, see `Coder.told`."""
        assert self.coder is not None
        made = self.coder.speak(codes, voice)
        if codes.energy is None:
            return made
        lengths = torch.full((len(made),), made.shape[-1], device=made.device)
        return made + gain(energy(made, lengths, codes.energy.shape[1]), codes.energy, made.shape[-1])[:, None]

    @property
    def tells_pitch(self) -> bool:
        """What was trained before energy was a code is vocoded as it was."""
        return super().tells_pitch and "energy" in self.rewritten

    @torch.no_grad()
    def pitch(self, source: Batch, targets: list[Batch], controls: CodeGANControls) -> Tensor | None:
        """The contours (B, T) that the codes say, if energy is rewritten too and the model of the codes can tell."""
        if not self.tells_pitch:
            return None
        assert self.coder is not None
        without = "" if "content" in self.rewritten else "content"
        return self.coder.contour(self._rewritten(source, targets, controls, without))

    def _rewritten(
        self, source: Batch, targets: list[Batch], controls: CodeGANControls, without: str = ""
    ) -> SpeechCodes:
        assert self.coder is not None
        if targets:
            source = self._at_the_level_of(targets, source)
        return self.rewrite(self.with_energy(self.coder.codes(source, without), source), controls)

    def rewrite(self, codes: SpeechCodes, controls: CodeGANControls) -> SpeechCodes:
        """Codes of another emotion, then scaled, as the controls say."""
        if controls.emotion is not None:
            own, known = self.sequence(codes), controls.source_emotion
            made = self._spoken(own, controls.emotion, known)
            if known is not None and not self.generator.residual:
                # normalization hides the mean of its input from the generator: what it gives is an emotion's usual one
                made = made + (own - self._spoken(own, known)).mean(2, keepdim=True)
            codes = self.put_back(codes, torch.lerp(own, made, controls.strength))
        return codes.scaled(pitch=controls.pitch_code, rhythm=controls.rhythm_code, energy=controls.energy_code)

    def _spoken(self, own: Tensor, emotion: str, source: str | None = None) -> Tensor:
        wanted = torch.full((len(own),), self.emotions.index(emotion), device=own.device)
        known = None if source is None else torch.full_like(wanted, self.emotions.index(source))
        made: Tensor = self.generator(own, wanted, known)
        return made

    def _parallel(self, batch: Batch, real: Tensor, known: Tensor) -> Tensor:
        """How far codes are from those of a true recording once they are rewritten to its emotion."""
        own, wanted = batch.emotion, batch.parallel_emotion
        assert own is not None and wanted is not None and batch.parallel is not None
        assert batch.parallel_lengths is not None
        with torch.no_grad():
            lengths, other = batch.parallel_lengths, batch.parallel
            f0, speaker = batch.parallel_f0, batch.speaker
            clip = Batch(id=batch.id, features=other, lengths=lengths, f0=f0, speaker=speaker)
            theirs = self.sequence(self._codes(clip))
            every = self._every
            heard = fitted(centered(batch.features, batch.lengths, every), real.shape[2])
            said = fitted(centered(other, lengths, every), theirs.shape[2])
            counts = (self._steps(each) for each in (batch.lengths, lengths))
            path = followed(heard, said, *counts)  # (B, N)
            true = theirs.gather(2, path[:, None].expand(-1, real.shape[1], -1))
            there = torch.arange(real.shape[2], device=real.device) * every < batch.lengths[:, None]  # (B, N)
            if "energy" in self.rewritten:
                place = self._channel("energy")
                true[:, place] = as_loud(true[:, place], real[:, place], there)
            told = (wanted >= 0) & (wanted != own)
            if "pitch" in self.rewritten and batch.parallel_f0 is not None:
                told &= (batch.parallel_f0 > 0).any(1)
            weight = (there & told[:, None])[:, None].to(real)  # (B, 1, N)
            scale = deviations(real, there, batch.draws is not None)
        made = self.generator(real, wanted, torch.where(known, own, UNKNOWN))
        apart = (whole(made) - true).abs() / scale[:, None]
        return (weight * apart).mean()  # over all, so that processes may have unlike shares of what can be compared

    def _known(self, batch: Batch) -> Tensor:
        """Whose emotion the generator is told (B,): of half of the items in training, of all in validation."""
        assert batch.emotion is not None
        if batch.draws is None or not self.generator.residual:
            return torch.ones_like(batch.emotion, dtype=torch.bool)
        return batch.draws.uniform("source emotion", device=batch.emotion.device).to(batch.emotion.device) < 0.5

    def _changes(self, batch: Batch) -> Tensor | None:
        """Whose voice tells how emotions differ (B,): who speaks in one alone would add how voices differ."""
        if self._changing is None or batch.speaker is None:
            return None
        return self._changing.to(batch.speaker.device)[batch.speaker.clamp(min=0)] & (batch.speaker >= 0)

    def check_controls(self, controls: CodeGANControls) -> None:
        """Refuse emotions that were not trained on, what does nothing without one, and a factor on codes it has not."""
        for emotion in (controls.emotion, controls.source_emotion):
            if emotion is not None and emotion not in self.emotions:
                raise choices(emotion, self.emotions, "emotion that this codegan was trained on")
        for name, neutral in (("source_emotion", None), ("strength", 1.0)):
            if controls.emotion is None and getattr(controls, name) != neutral:
                raise UserError(
                    f"{name}: says how to get to an emotion: add emotion={self.emotions[0]}, or leave it out"
                )
        if controls.rhythm_code != 1.0 and self.coder is not None and not self.coder.code_widths["rhythm"]:
            raise UserError(f"rhythm_code: the {self.coder.name} of this codegan's codes has none: leave it out")
        if controls.energy_code != 1.0 and "energy" not in self.rewritten:
            raise UserError("energy_code: this codegan has no such code: train with model.rewritten=[pitch,energy]")

    def set_features(self, spec: FeatureSpec) -> None:
        """Refuse features that energy cannot be told from, where it is a code."""
        if "energy" in self.rewritten:
            require_log(spec)

    def set_labels(self, counts: Mapping[str, Tensor]) -> None:
        """Emotions as often as in the training data."""
        found = counts["emotion"].double().clamp(min=1)
        assert len(found) == len(self.emotions), "the table of emotions is that of the data"
        self.shares.copy_(found / found.sum())
        if "speaker_emotion" in counts:
            several = (counts["speaker_emotion"] > 0).sum(1) > 1
            self._changing = several if several.any() else None

    def set_pitch(self, statistics: Tensor, fresh: bool) -> None:
        """Remember the pitch of the training speakers (speakers, 2), who are not those of the model of the codes."""
        self._pitch = statistics

    def _heard(self, batch: Batch) -> Tensor:
        """What is rewritten (B, C, N) of crops; where codes are added to, a shorter clip is said again."""
        codes = self.sequence(self._codes(batch))
        return again(codes, self._steps(batch.lengths)) if self.generator.residual else codes

    def _steps(self, lengths: Tensor) -> Tensor:
        """How many steps of a sequence so many frames have."""
        return (lengths + self._every - 1) // self._every

    def _codes(self, batch: Batch) -> SpeechCodes:
        assert self.coder is not None, "model.codes.ckpt is asked for before training"
        if self._pitch is not None and batch.speaker is not None:
            known = self._pitch.to(batch.features)[batch.speaker.clamp(min=0)]
            known = torch.where((batch.speaker >= 0)[:, None], known, torch.nan)
            batch = replace(batch, level=known[:, 0], spread=known[:, 1])
        without = "" if "content" in self.rewritten else "content"
        return self.with_energy(self.coder.codes(replace(batch, speaker=None), without), batch)

    def with_energy(self, codes: SpeechCodes, batch: Batch) -> SpeechCodes:
        """With loudness over time, if that is rewritten, in as many steps as the melody needs."""
        if "energy" not in self.rewritten:
            return codes
        assert self.coder is not None
        steps = (codes.pitch.shape[1] * self.coder.code_frames["pitch"] + EVERY - 1) // EVERY
        return replace(codes, energy=energy(batch.features, batch.lengths, steps))

    def _at_the_level_of(self, targets: list[Batch], source: Batch) -> Batch:
        """The sources with the pitch of the targets' voice."""
        told = level_of(targets)
        if told is None:
            return source
        level = None if source.level is None else torch.where(told.isnan(), source.level, told)
        return replace(source, f0=self.moved_pitch(source, targets, 1.0), level=level)

    def sequence(self, codes: SpeechCodes) -> Tensor:
        """What is rewritten (B, C, N), in the order of `rewritten`, at a rate that all of them can be held to."""
        parts = [held(getattr(codes, name), times) for name, times in self._times().items()]
        steps = min(part.shape[1] for part in parts)  # the last code of some may be of frames that are not there
        return torch.cat([part[:, :steps] for part in parts], dim=2).transpose(1, 2)

    def put_back(self, codes: SpeechCodes, sequence: Tensor) -> SpeechCodes:
        """The codes with those of `sequence` (B, C, N) in place of what is rewritten."""
        old: list[Tensor] = [getattr(codes, name) for name in self.rewritten]
        new = sequence.transpose(1, 2).split([part.shape[2] for part in old], dim=2)
        pairs = zip(self._times().items(), new, strict=True)
        changed: dict[str, Any] = {name: averaged(part, times) for (name, times), part in pairs}
        return replace(codes, **changed)

    def _times(self) -> dict[str, int]:
        """How often each code that is rewritten is held: at the rate of the fastest, or one that all of them divide."""
        return {name: each // self._every for name, each in self._frames.items()}

    @property
    def _frames(self) -> dict[str, int]:
        """How many frames a code stands for."""
        assert self.coder is not None
        every = {**self.coder.code_frames, "energy": EVERY}
        return {name: every[name] for name in self.rewritten}

    @property
    def _every(self) -> int:
        """And a step of `sequence`."""
        return math.gcd(*self._frames.values())

    def _channel(self, name: Aspect) -> int:
        """Where the first channel of a code is in `sequence`."""
        return sum(self._widths[each] for each in self.rewritten[: self.rewritten.index(name)])

    @property
    def _widths(self) -> dict[str, int]:
        """Channels of every code that there is."""
        assert self.coder is not None
        return {**self.coder.code_widths, "energy": 1}
