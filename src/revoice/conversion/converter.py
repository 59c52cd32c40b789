"""Source clip + target clips -> converted clip, by a loaded model and a vocoder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from revoice.audio.io import Audio, AudioError
from revoice.audio.loudness import follow_level, hushed, match_level
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.conversion.adaptation import Adaptation, Voice, adapted, require_adaptable
from revoice.conversion.chunks import WHOLE, Clip, Recording, fit
from revoice.conversion.hearing import Heard, Hearing
from revoice.data.read.batch import Batch
from revoice.errors import UserError, choices
from revoice.models.base import Controls, ConversionModel
from revoice.nn.tone import SECONDS, Tone, tone_of, toned
from revoice.vocoders.base import VOCODERS, Vocoder


@dataclass(frozen=True)
class Speech:
    """What a model says of clips, before a vocoder makes it audible.

    Attributes:
        features: (B, F, T).  f0: (B, T) Hz, if it is known.
        like: samples (B, S) whose phases the vocoder starts from, if they are near its own.
    """

    features: Tensor
    f0: Tensor | None
    like: Tensor | None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of an item of each, () of what is absent: what a vocoder can say at once is equal in them."""
        return tuple(() if x is None else tuple(x.shape[1:]) for x in (self.features, self.f0, self.like))

    @staticmethod
    def join(several: "Sequence[Speech]") -> "Speech":
        """The items of all, whose `shapes` are equal."""
        if len(several) == 1:
            return several[0]
        features, f0, like = (
            None if each[0] is None else torch.cat(each)
            for each in zip(*((one.features, one.f0, one.like) for one in several), strict=True)
        )
        assert features is not None
        return Speech(features, f0, like)


class Converter(Hearing):
    """Converts voices with one model.

    Args:
        loaded: a checkpoint read by `load_checkpoint`.
        vocoder: features -> waveform; None is Griffin-Lim, which works for every `FeatureSpec`.
        device: where to run.
        adaptation: steps on the target's clips before speaking in its voice; None: none.
        settings: controls of the model where a conversion sets none, by name.
        f0: how the pitch of recordings is searched, see `revoice.audio.pitch.pitch`; None: as the model's training did.

    Raises:
        UserError: the vocoder speaks other features than the model, which does not learn from clips as asked, or is
            told no pitch.
    """

    def __init__(
        self,
        loaded: Loaded,
        vocoder: Vocoder | None = None,
        device: str | torch.device = "cpu",
        adaptation: Adaptation | None = None,
        settings: Mapping[str, Any] | None = None,
        f0: str | None = None,
    ) -> None:
        if not isinstance(loaded.model, ConversionModel):
            needs = loaded.model.needs.format(path=loaded.path)
            wanted = f"it lacks {needs}" if needs else "give a conversion model"
            raise UserError(f"{loaded.path} holds a {loaded.model.name}, which converts nothing: {wanted}")
        where = torch.device(device)
        super().__init__(loaded.model.to(where).eval(), loaded.spec, _searching(loaded, f0), where)
        self.loaded = loaded
        vocoder = vocoder or VOCODERS.build("griffin_lim", {"spec": self.spec})
        vocoder.spec.require_match(self.spec, f"vocoder {vocoder.name}", f"model {self.model.name}")
        self.vocoder = vocoder.to(self.device).eval()
        self.adaptation = adaptation or Adaptation()
        require_adaptable(self.model, self.adaptation)
        self.settings = dict(settings or {})
        self.controls({})

    @property
    def told_pitch(self) -> bool:
        """Whether the model is told the pitch of a recording, so that a search of it is of use."""
        return "f0" in self.model.requires.of_clip

    def searching(self, f0: str) -> "Converter":
        """The same model, with another search of the pitch.

        Raises:
            UserError: the model is told no pitch.
        """
        return Converter(self.loaded, self.vocoder, self.device, self.adaptation, self.settings, f0)

    def controls(self, settings: Mapping[str, Any]) -> Controls:
        """The model's typed controls from plain settings; an unknown one is a `UserError` with the valid names."""
        typed = self.model.typed_controls({**self.settings, **settings})
        self.model.check_controls(typed)
        return typed

    def convert(self, source: Clip, targets: Clip | Sequence[Clip] | Voice = (), **controls: Any) -> Audio:
        """Say what `source` says in the voice of `targets`.

        Args:
            source: a path or an `Audio`, of any rate and length.
            targets: one or more clips of the target voice, or what `voice` made of them, which saves making it again;
                none for a model that speaks in one way only.
            controls: the model's controls, e.g. `strength=0.7`.

        Returns:
            Audio at the model's rate, as long as the source and as loud all along, unless the controls change the
            timing.

        Raises:
            AudioError: a recording is broken or silent.
        """
        settings = self.controls(controls)
        voice = targets if isinstance(targets, Voice) else self.voice(targets)
        return Audio(np.concatenate([*self.stream(Recording(source), voice, settings)]), self.spec.sample_rate)

    def stream(self, source: Recording, voice: Voice, controls: Controls) -> Iterator[np.ndarray]:
        """The conversion of a recording, block after block, with memory for one chunk."""
        said = ((heard, self._say(heard.batch, voice, controls)) for heard in self.hear(source))
        return self.joined(source, said, self.tempo(source, voice, controls))

    def _say(self, clip: Batch, voice: Voice, controls: Controls) -> np.ndarray:
        speech = self.speech(clip, voice, controls)
        return self.vocode(speech.features, speech.f0, speech.like)[0]

    def tempo(self, source: Recording, voice: Voice, controls: Controls) -> float:
        """How many times as long as a recording its conversion becomes; `AudioError` if it is too long for that."""
        frames = self.spec.frames(round(source.cuts[-1] / source.rate * self.spec.sample_rate))
        if voice.references and not source.whole and not self.model.in_parts(controls):
            raise AudioError(
                f"{source.name}: takes its timing or melody from the target, which one of {WHOLE:g} s at most can"
            )
        return self.model.tempo(frames, voice.references, controls)

    def joined(
        self, source: Recording, said: Iterable[tuple[Heard, np.ndarray]], tempo: float = 1.0
    ) -> Iterator[np.ndarray]:
        """What was said of every chunk of a recording, block after block, with its levels and pauses.

        Args:
            source: the recording.
            said: samples of every chunk.
            tempo: how many times as long as heard each was said; pauses stretch likewise.
        """
        learned = self.model.trained  # else what is said in pauses is meant
        leveled = (_leveled(heard, samples, tempo, learned) for heard, samples in said)
        return source.joined(leveled, self.spec.sample_rate, tempo)

    def voice(self, clips: Clip | Sequence[Clip], tone: bool = True) -> Voice:
        """A voice from one or more recordings of it: they are analyzed, and the model is adapted to them.

        A model with a table of speakers takes the names of its speakers instead, one that speaks in one way only none.
        Of one that also speaks in the source's own voice there may be none. Without `tone` conversions get none.
        """
        several = clips if isinstance(clips, Sequence) and not isinstance(clips, str) else [clips]
        if self.model.target == "none":
            if several:
                raise UserError(f"model {self.model.name} takes no target voice: leave tgt= out")
            return Voice([], self.model)
        if self.model.alone and not several:
            return Voice([], self.model)
        if self.model.target == "speaker":
            return Voice([self._speaker(name) for name in several], self.model)
        references = self.references(several)
        voice = Voice(references, self.model, adapted(self.model, references, self.adaptation, self.spec))
        return replace(voice, tone=self._tone(voice)) if tone else voice

    @torch.no_grad()
    def _tone(self, voice: Voice) -> Tone | None:
        """What the model's own copies of clips lack, of half a minute, where it has conversions made up for it."""
        controls, frames = self.model.Controls(), round(SECONDS * self.spec.frame_rate)
        if not controls.toned:
            return None
        model, pairs = voice.speaker(controls.share), []
        for clip in voice.references:
            heard = beginning(clip, frames, self.spec.hop)
            pairs.append((heard.features, model.convert(heard, voice.references, controls)))
            frames -= heard.features.shape[2]
            if frames <= 0:
                break
        return tone_of(pairs, self.spec)

    def _own_tones(self, clips: Batch, model: ConversionModel) -> list[Tone | None]:
        """What the model's copies of the sources lack, which speak in their own voices."""
        copies = model.convert(clips, [], self.model.Controls())
        pairs = zip(clips.features, copies, strict=True)
        return [tone_of([(own[None], copy[None])], self.spec) for own, copy in pairs]

    def _speaker(self, name: Clip) -> Batch:
        known = self.loaded.description.speakers
        if isinstance(name, Audio) or str(name) not in known:
            given = "a recording" if isinstance(name, Audio) else str(name)
            raise choices(given, known, f"speaker of this {self.model.name}, which speaks with the voices of its table")
        nothing, row = torch.zeros(self.spec.channels, 0, device=self.device), known.index(str(name))
        levels = self.loaded.description.levels
        level = torch.tensor(levels[row], device=self.device) if levels and levels[row] is not None else None
        return Batch.of_clip(nothing, speaker=torch.tensor(row, device=self.device), level=level)

    @torch.no_grad()
    def speech(self, clips: Batch, voice: Voice, controls: Controls) -> Speech:
        """What the model says of analyzed clips."""
        model = voice.speaker(controls.share)
        features = model.convert(clips, voice.references, controls)
        if controls.toned:
            own = self.model.target == "clips" and not voice.references
            tones = self._own_tones(clips, model) if own else [voice.tone] * len(clips)
            every = (
                said[None] if tone is None else toned(said[None], tone, controls.toned, self.spec)
                for said, tone in zip(features, tones, strict=True)
            )
            features = torch.cat([*every])
        like = clips.waveform if model.keeps_phase(controls) else None
        return Speech(features, model.pitch(clips, voice.references, controls), like)

    @torch.no_grad()
    def vocode(self, features: Tensor, f0: Tensor | None = None, like: Tensor | None = None) -> np.ndarray:
        """Features (B, F, T) and, if known, their pitch (B, T) and samples (B, S) of phases near theirs -> (B, S)."""
        return self.vocoder(features, f0=f0, like=like).float().cpu().numpy()

    def copy_synthesis(self, clip: Clip) -> Audio:
        """A clip through features and vocoder alone: the best that any model with this vocoder could sound."""
        audio = self.audio(clip)
        with torch.no_grad():
            known = self.analyzed(audio)
            samples = fit(self.vocode(known.features, known.f0)[0], len(audio.samples))
        return Audio(samples, self.spec.sample_rate)

    def describe(self) -> dict[str, Any]:
        """What a conversion's record says about the model."""
        d, path = self.loaded.description, self.loaded.path
        file = {"checkpoint": str(path), "checkpoint_sha256": self.loaded.sha256}
        return {
            "model": d.model, **(file if path else {"arguments": d.arguments}),
            "features": self.spec.fingerprint, "vocoder": self.vocoder.name, "vocoder_settings": self.vocoder.settings,
            "version": d.version,
            "adaptation": asdict(self.adaptation) if self.model.adapts else None,
            "f0": self.f0.parameters() if "f0" in self.model.requires.of_clip else None,
        }  # fmt: skip


def beginning(clip: Batch, frames: int, hop: int) -> Batch:
    """What a batch holds of its first frames (B, F, T); what belongs to a whole clip stays."""
    if clip.features.shape[2] <= frames:
        return clip
    return replace(
        clip,
        features=clip.features[..., :frames],
        lengths=clip.lengths.clamp(max=frames),
        f0=None if clip.f0 is None else clip.f0[..., :frames],
        voiced=None if clip.voiced is None else clip.voiced[..., :frames],
        waveform=None if clip.waveform is None else clip.waveform[..., : frames * hop],
    )


def _searching(loaded: Loaded, method: str | None) -> Description:
    """What a checkpoint says of itself, with another search of the pitch."""
    about = loaded.description
    if method is None:
        return about
    if "f0" not in loaded.model.requires.of_clip:
        raise UserError(f"f0={method}: this {about.model} is not told the pitch: leave f0= out")
    return replace(about, fields={**about.fields, "f0": {**about.fields.get("f0", {}), "method": method}})


def _leveled(heard: Heard, samples: np.ndarray, tempo: float, hush: bool) -> np.ndarray:
    """Samples as loud as their source, and `tempo` times as long; with `hush`, as quiet as that in its pauses."""
    source, clip = heard.source, heard.clip
    samples = fit(samples, round(len(clip.samples) * tempo))
    if tempo == 1.0:
        samples = follow_level(samples, clip.samples, clip.sample_rate)
        samples = hushed(samples, clip.samples, clip.sample_rate) if hush else samples
    else:  # what is said when is not known
        samples = match_level(samples, clip.sample_rate, heard.own.samples, heard.own.sample_rate)
    if not np.isfinite(samples).all():
        raise AudioError(f"{source.name}: its conversion has samples that are not finite")
    return samples / max(1.0, float(np.abs(samples).max(initial=0.0)))
