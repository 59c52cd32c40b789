"""SpeechSplit: content, rhythm, pitch and timbre, separated by what encoders can hear (Qian et al., arXiv:2004.11284).

Three encoders hear the clip through narrow codes. What the content and pitch encoders hear is randomly resampled in
time, so rhythm can only come from the rhythm encoder; that one is too narrow for words; and the voice is told.
"""

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS, Matching, Requires, Sampler, require_frames
from revoice.models.speechsplit.contours import ContourCoder
from revoice.models.speechsplit.networks import DecoderSize, Encoders, Generator, PitchConverter
from revoice.models.speechsplit.panel import ENCODERS, MEASURED, measured
from revoice.models.speechsplit.swap import SpeechSplitControls, Swap
from revoice.nn.adain import instance_norm
from revoice.nn.content import EncoderSettings, RecognizedContent, encoder
from revoice.nn.draws import Draws
from revoice.nn.pitch_classes import UNTOLD, UNVOICED, classes, normalized, one_hot
from revoice.nn.random_resampling import LONGEST, drawn
from revoice.nn.speech_codes import SpeechCodes
from revoice.nn.voice_code import EMBEDDING, VoiceKind
from revoice.nn.voice_match import judged, neighbors
from revoice.settings import Count, Frames, Natural, Place, Width
from revoice.trainable import Play

GENERATOR, PITCH = "generator", "pitch"  # the parts
_OFF = 0.5  # how far silence may be from 0 and full scale from 1: what lies outside is cut off


@MODELS.register("speechsplit")
class SpeechSplit(Matching, ContourCoder):
    """The generator G and the pitch converter P, which learn in turns of their own.

    G rebuilds a mel from its codes (mean square error, what is padded included, as published). P gives a contour the
    rhythm of a mel: it hears the contour randomly resampled and gives the contour as it was (cross-entropy).

    Departures from the published code: crops are the first frames of a random longer one; a voiced frame at the
    lower edge stays voiced; a clip of any length is converted whole; deviations of pitch are at least 0.02 nepers.

    Args:
        n_features: feature channels F, mel decibels scaled to [0, 1].
        sample_rate, hop: of the features.
        n_speakers: training speakers.
        encoders: `Encoders`.  decoder: G's, `DecoderSize`.  converter: P's.
        voice: "embedding" (Resemblyzer's; any voice) or "speaker" (one-hot, as published).
        relative: whose mean and deviation of pitch a contour is told in: "speaker", each voice's own, as published, so
            that the voice sets the level; or "corpus", those of all training speakers, so that the contour does.
        frames: longest training crop.  shortest: shortest one; each is of a random length between, but G's are as long
            as they can be where nothing is resampled.
        resample: what is resampled in time so that G finds the timing in the rhythm code alone: "everything", as
            published, is what is heard and what comes out of every convolution; "heard"; or "nothing", so that content
            keeps its timing and rhythm is exchanged by alignment (control `timing`). P always hears all resampled.
        padded: frames that crops and short clips are filled up to with silence; a multiple of the encoders' steps.
        content: of a recognizer's encoder that the content encoder hears in place of the mel, see `RecSyn`; None: the
            mel, as published.  content_from: checkpoint that it comes from; only looked at where training starts.
        lacks: a part that was never trained, as in a published file of the other one alone; "" for none.
        match: one in so many crops is also said in the voice of another item, at the level of its pitch; 0: none. The
            loss `voice` asks the speaker encoder whether it sounds like that one, and not like its own; the loss
            `words` asks the content encoder whether it says the same. Judges that are these encoders flatter such a
            model.
        sampler: "by_speaker" (published) or "uniform".
    """

    Controls = SpeechSplitControls
    alone = True
    preset = "speechsplit_16k"
    stands_on: tuple[str, ...] = ("resemblyzer",)
    may_change = ("frames", "shortest", "padded", "resample", "lacks", "match", "sampler")
    measured = MEASURED

    def __init__(
        self,
        n_features: Width,
        sample_rate: Count,
        hop: Count,
        n_speakers: Natural | None = None,
        *,
        encoders: Encoders | None = None,
        decoder: DecoderSize | None = None,
        converter: DecoderSize | None = None,
        voice: VoiceKind = "embedding",
        relative: Literal["speaker", "corpus"] = "speaker",
        frames: Frames = 128,
        shortest: Frames = 64,
        padded: Frames = 192,
        resample: Literal["everything", "heard", "nothing"] = "everything",
        content: EncoderSettings | None = None,
        content_from: Place | None = None,
        lacks: Literal["", "generator", "pitch"] = "",
        match: Natural = 0,
        sampler: Sampler = "by_speaker",
    ) -> None:
        super().__init__(n_speakers or 0)
        sizes = encoders or Encoders()
        self.steps = math.lcm(*(each.every for each in (sizes.content, sizes.rhythm, sizes.pitch)))
        self.frames, self.shortest, self.padded = frames, shortest, padded
        self.match = match
        self.voice, self.relative, self.resample, self.untrained = voice, relative, resample, lacks
        self._check(voice, n_speakers, content)
        self.target = "speaker" if voice == "speaker" else "clips"
        self.content = RecognizedContent(encoder(content), sample_rate, hop) if content else None
        if self.content is not None:
            self.content.requires_grad_(False)
            self.stands_on = ("whisper", *type(self).stands_on)
        told = ("embedding",) if voice == "embedding" else ()
        self.requires = Requires(
            fields=("features", "f0", *told, *(("content",) if content else ())),
            frames=frames,
            minimum=min(shortest, 32),
            sampler=sampler,
            reference=1 if told else 0,  # the embedding is that of another clip of the speaker
            analysis=("features", "f0", *told, *(("waveform",) if content else ())),
        )
        self.heard_channels = n_features if self.content is None else self.content.channels
        width = EMBEDDING if voice == "embedding" else n_speakers or 0
        self.generator = Generator(
            n_features, self.heard_channels, width, sizes.content, sizes.rhythm, sizes.pitch, decoder or DecoderSize()
        )
        self.converter = PitchConverter(
            n_features, sizes.rhythm, sizes.pitch, converter or DecoderSize(hidden=256, layers=2)
        )
        self.width = width

    def _check(self, voice: str, n_speakers: int | None, content: object) -> None:
        if self.padded % self.steps or self.padded < self.frames:
            raise UserError(
                f"model.padded={self.padded}: expected a multiple of {self.steps} frames, {self.frames} at least"
            )
        if not LONGEST < self.shortest <= self.frames:
            raise UserError(f"model.shortest={self.shortest}: expected {LONGEST + 1} to {self.frames} frames")
        require_frames(LONGEST + 1, frames=self.frames)
        if self.match and voice != "embedding":
            raise UserError("model.match asks whether the voice is heard: take model.voice=embedding")
        if self.match and self.resample != "nothing":
            raise UserError("model.match takes content that keeps its timing: model.resample=nothing")
        if self.match and content is None:
            raise UserError("model.match asks a recognizer what is said: name one with model.content_from")
        if voice == "speaker" and not n_speakers:
            raise UserError("model.voice=speaker needs n_speakers: the number of training speakers")

    def parts(self) -> dict[str, nn.Module]:
        """G and P."""
        return {GENERATOR: self.generator, PITCH: self.converter}

    def play(self, batch: Batch, part: str = GENERATOR) -> Play:
        """G: `reconstruction`, with `match` `voice` and `words`, and the mel that it made.  P: `crossentropy`."""
        lengths = self._lengths(batch) if part == PITCH or self.resample != "nothing" else batch.lengths
        mel, contour = self.mel(batch.features, lengths), self._contour(batch, lengths)
        if part == PITCH:
            squeezed = self._resampled(contour[:, None], lengths, batch.draws, "p")[:, 0]
            logits = self.converter(mel, one_hot(classes(squeezed)), self._matrices(mel, batch.draws, "p"))
            return Play({"crossentropy": F.cross_entropy(logits.float(), classes(contour))})
        heard = torch.cat([self._heard(batch, mel, lengths), contour[:, None]], dim=1)  # resampled jointly
        if self.resample != "nothing":
            heard = self._resampled(heard, lengths, batch.draws, "g")
        inside = self._matrices(mel, batch.draws, "g") if self.resample == "everything" else []
        codes = self.generator.encode(heard[:, :-1], one_hot(classes(heard[:, -1])), mel, inside)
        made = self.generator.decode(codes, self.told(batch))
        judged = self._judged(batch, codes) if self.match else {}
        with torch.autocast(mel.device.type, enabled=False):
            return Play({"reconstruction": F.mse_loss(made.float(), mel), **judged}, fake=made, real=mel)

    def _judged(self, batch: Batch, codes: SpeechCodes) -> dict[str, Tensor]:
        """One in `match` clips in the voice of its neighbor, at the level of its pitch: whose voice, which words?"""
        assert batch.embedding is not None and batch.content is not None and batch.f0 is not None
        assert self.content is not None and self.spec is not None, "set_features comes before training"
        some, other = slice(None, None, self.match), neighbors(len(batch), batch.lengths.device)
        theirs, told = batch.embedding[other][some], self.told(batch)[other][some]
        pitch = codes.pitch[some]
        if self.relative == "corpus":  # else G would learn to tell the level by the voice, which is judged by both
            level = self.of_voice(batch)[:, 0]
            f0 = batch.f0 * (level[other] - level).exp()[:, None]
            moved = self._contour(replace(batch, f0=f0), batch.lengths)[some]
            pitch = self.generator.pitch(one_hot(classes(moved)))
        codes = replace(codes, content=codes.content[some], rhythm=codes.rhythm[some], pitch=pitch)
        features = self.generator.decode(codes, told)[..., : batch.features.shape[-1]].float().clamp(0, 1)
        wanted = batch.content[some].float()
        own = batch.embedding[some]
        return judged(features, wanted, batch.lengths[some], theirs, own, self.spec, self.content)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Those of both parts."""
        return {**self.play(batch, GENERATOR).losses, **self.play(batch, PITCH).losses}

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """The bottleneck panel: what is lost without each encoder's input, see `panel`."""
        mel = self.mel(batch.features, batch.lengths)
        found = {name: self.codes(batch, name) for name in ("", *ENCODERS)}
        return measured(mel, batch.lengths, found.pop(""), found, self.told(batch), self.speak)

    def codes(self, batch: Batch, without: str = "") -> SpeechCodes:
        """What the encoders make of clips, nothing resampled; `without` is one that hears nothing. See `speak`."""
        mel = self.mel(batch.features, batch.lengths)
        found = classes(self._contour(batch, batch.lengths))
        if without == "content":
            heard = mel.new_zeros(len(mel), self.heard_channels, mel.shape[-1])
        else:
            heard = self._heard(batch, mel, batch.lengths)
        return self.generator.encode(
            heard,
            one_hot(torch.full_like(found, UNTOLD) if without == "pitch" else found),
            mel * (without != "rhythm"),
            frames=batch.features.shape[-1],
        )

    @property
    def code_widths(self) -> dict[str, int]:
        """Of the generator's encoders."""
        net = self.generator
        return {"content": net.content.width, "rhythm": net.rhythm.width, "pitch": net.pitch.width}

    @property
    def code_frames(self) -> dict[str, int]:
        """Likewise."""
        net = self.generator
        return {"content": net.content.every, "rhythm": net.rhythm.every, "pitch": net.pitch.every}

    def speak(self, codes: SpeechCodes, voice: Tensor) -> Tensor:
        """Features (B, F, T) of codes and what tells the voice (B, D), see `told`."""
        return self.generator.decode(codes, voice)[..., : codes.frames]

    def told(self, batch: Batch) -> Tensor:
        """What tells the decoder who speaks (B, D): embeddings of length 1, or one-hot rows, a mean if unknown."""
        if self.voice == "embedding":
            assert batch.embedding is not None
            return F.normalize(batch.embedding, dim=1)
        assert batch.speaker is not None
        rows = F.one_hot(batch.speaker.clamp(min=0), self.width).to(batch.features.dtype)
        return rows.masked_fill((batch.speaker < 0)[:, None], 1 / self.width)

    @torch.no_grad()
    def convert(self, source: Batch, targets: list[Batch], controls: SpeechSplitControls) -> Tensor:
        """Features (B, F, T) with the chosen aspects of the target; T is the target's where its rhythm is taken."""
        return Swap(self, source, targets, controls).features()

    @torch.no_grad()
    def pitch(self, source: Batch, targets: list[Batch], controls: SpeechSplitControls) -> Tensor | None:
        """Its contours (B, T) in Hz; None where the pitch is left out, or nobody knows the level of the voice's."""
        swap = Swap(self, source, targets, controls)
        return None if "pitch" in controls.without or not swap.tells_level else swap.f0()

    def tempo(self, frames: int, targets: list[Batch], controls: SpeechSplitControls) -> float:
        """That of the target's length to the source's where its rhythm is taken, and slower for a lower rate."""
        said = targets[0].features.shape[-1] if targets and "rhythm" in controls.aspects else frames
        return max(1, round(said / controls.rate)) / frames

    def aligns(self, controls: SpeechSplitControls) -> bool:
        """Whether two clips are brought together frame by frame, in place of by codes."""
        if controls.timing == "auto":
            return self.resample == "nothing" or self.untrained == PITCH
        return controls.timing == "aligned"

    def check_controls(self, controls: SpeechSplitControls) -> None:
        """Refuse a level that cannot be taken alone, a rhythm that codes do not tell, and a row of no table."""
        if controls.speaker is not None and self.voice != "speaker":
            raise UserError(f"speaker={controls.speaker}: this {self.name} has no table of speakers: leave it out")
        if self.resample == "nothing" and "rhythm" in controls.aspects and not self.aligns(controls):
            raise UserError(
                "timing=codes: in this model content keeps its timing, which no rhythm code changes: expected "
                "timing=aligned"
            )
        if self.relative == "speaker" and "level" in controls.aspects and "timbre" not in controls.aspects:
            raise UserError(
                f"aspects=[{','.join(controls.aspects)}]: this {self.name} is told pitch relative to each voice, so "
                "that its level goes with timbre: add timbre, or leave level out"
            )

    def in_parts(self, controls: SpeechSplitControls) -> bool:
        """Not with the target's rhythm or pitch, which are those of a whole sentence."""
        return not {"rhythm", "pitch"} & set(controls.aspects)

    def set_features(self, spec: FeatureSpec) -> None:
        """Refuse features that are not decibels of mels about between 0 (silence) and 1 (full scale)."""
        super().set_features(spec)
        if spec.scale != "db" or not spec.mels or abs(spec.silence) > _OFF or abs(spec.add - 1) > _OFF:
            raise UserError("model=speechsplit takes mels in decibels, scaled to 0..1: features=speechsplit_16k")

    def mel(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, F, T) -> within [0, 1], silence behind the lengths, filled up to a length that the encoders take."""
        there = torch.arange(features.shape[-1], device=features.device) < lengths[:, None]
        return self.fill(features.clamp(0, 1) * there[:, None])

    def fill(self, x: Tensor, value: float = 0.0) -> Tensor:
        """(B, ..., T) filled up to `padded` frames, or a multiple of the encoders' steps."""
        frames = torch.sym_max(self.padded, (x.shape[-1] + self.steps - 1) // self.steps * self.steps)
        return F.pad(x, (0, frames - x.shape[-1]), value=value)

    def heard(self, waveform: Tensor, frames: int) -> Tensor:
        """What a recognizer's encoder hears in waveforms (B, S), as the content encoder takes it (B, D, frames)."""
        assert self.content is not None
        return instance_norm(self.content(waveform, frames))

    def _heard(self, batch: Batch, mel: Tensor, lengths: Tensor) -> Tensor:
        if self.content is None:
            return mel
        frames = batch.features.shape[-1]
        if batch.content is not None:
            heard = instance_norm(batch.content.float())
        else:
            assert batch.waveform is not None
            heard = self.heard(batch.waveform, frames)
        there = torch.arange(frames, device=heard.device) < lengths[:, None]
        return self.fill(heard * there[:, None])

    def _contour(self, batch: Batch, lengths: Tensor) -> Tensor:
        """Normalized contours (B, T), unvoiced behind the lengths, filled up as the mel is."""
        assert batch.f0 is not None
        there = torch.arange(batch.f0.shape[-1], device=batch.f0.device) < lengths[:, None]
        contour = normalized(batch.f0, self.statistics(batch))
        return self.fill(contour.masked_fill(~there, UNVOICED), UNVOICED)

    def _lengths(self, batch: Batch) -> Tensor:
        """How many frames of each crop are used: in training a random number."""
        if batch.draws is None:
            return batch.lengths
        spread = self.frames - self.shortest + 1
        drawn_lengths = self.shortest + batch.draws.integers("lengths", spread, device=batch.lengths.device)
        return torch.minimum(drawn_lengths, batch.lengths)

    def _resampled(self, x: Tensor, lengths: Tensor, draws: Draws | None, name: str) -> Tensor:
        """What is heard (B, C, T) at another rhythm, zeros behind its end; as it is without random numbers."""
        if draws is None:
            return x
        return drawn(draws, f"{name}/heard", lengths, self.frames, x.shape[-1]).read(x)

    def _matrices(self, mel: Tensor, draws: Draws | None, name: str) -> list[Tensor]:
        """Of the resampling after each convolution of the content and pitch encoders; none without random numbers."""
        if draws is None:
            return []
        frames = mel.shape[-1]
        lengths = torch.full((len(mel),), frames, device=mel.device)
        count = max(len(self.generator.content.convs), len(self.generator.pitch.convs))
        return [drawn(draws, f"{name}/{i}", lengths, self.frames, frames).matrix(frames) for i in range(count)]
