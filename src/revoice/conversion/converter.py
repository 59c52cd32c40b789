"""Source clip + target clips -> converted clip, by a loaded model and a vocoder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from revoice.audio.features import extract
from revoice.audio.io import Audio, AudioError, fingerprint, read_audio, resample
from revoice.audio.loudness import follow_level, loudness_db, match_loudness
from revoice.audio.speaker import speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.audio.trim import read_speech
from revoice.checkpoint.load import DEFAULT, Loaded, load_model
from revoice.checkpoint.vocoder import FOUND, load_vocoder
from revoice.conversion.adaptation import Adaptation, Voice, adapted
from revoice.conversion.chunks import WHOLE, Clip, Recording, fit
from revoice.data.fields.base import FIELDS, build_field
from revoice.data.fields.f0 import F0
from revoice.data.fields.paired import Paired
from revoice.data.read.batch import Batch
from revoice.errors import UserError, choices
from revoice.models.base import Controls, ConversionModel
from revoice.nn.pitch import log_level, log_spread
from revoice.vocoders.base import VOCODERS, Vocoder


@dataclass(frozen=True)
class Known:
    """What is known of a clip before its features are.

    Attributes:
        f0: (T,) Hz.  level, spread: of its pitch, see `Batch`.  embedding: of the speaker (256,).
        name: what is drawn for the whole recording is tied to.
    """

    f0: np.ndarray | None = None
    level: Tensor | None = None
    spread: Tensor | None = None
    embedding: Tensor | None = None
    name: str | None = None


@dataclass(frozen=True)
class Heard:
    """A chunk of a recording, ready to be said in another voice.

    Attributes:
        source: the recording.
        own: what is heard of it, as recorded.  clip: the same at the model's rate.
        batch: what the model sees of it, a batch of one.
    """

    source: Recording
    own: Audio
    clip: Audio
    batch: Batch


class Converter:
    """Converts voices with one model.

    Args:
        loaded: a checkpoint read by `load_checkpoint`.
        vocoder: features -> waveform; None is Griffin-Lim, which works for every `FeatureSpec`.
        device: where to run.
        adaptation: steps on the target's clips before speaking in its voice; None: none.
        settings: controls of the model where a conversion sets none, by name.

    Raises:
        UserError: the vocoder speaks other features than the model.
    """

    def __init__(
        self,
        loaded: Loaded,
        vocoder: Vocoder | None = None,
        device: str | torch.device = "cpu",
        adaptation: Adaptation | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.loaded, self.spec, self.device = loaded, loaded.spec, torch.device(device)
        if not isinstance(loaded.model, ConversionModel):
            needs = loaded.model.needs.format(path=loaded.path)
            wanted = f"it lacks {needs}" if needs else "give a conversion model"
            raise UserError(f"{loaded.path} holds a {loaded.model.name}, which converts nothing: {wanted}")
        self.model: ConversionModel = loaded.model.to(self.device).eval()
        how = loaded.description.fields.get("f0", {})
        self.f0 = cast(F0, FIELDS.build("f0", how, {"spec": self.spec}, what="fields.f0"))
        paired = [label for label in self.model.requires.of_clip if label.startswith("paired:")]
        self.paired: Paired | None = None
        if paired:
            levels = [level for level in loaded.description.levels if level is not None]
            made = cast(Paired, build_field(paired[0], self.spec, loaded.description.fields))
            self.paired = made.settled(float(np.exp(np.mean(levels))) if levels else None)
        vocoder = vocoder or VOCODERS.build("griffin_lim", {"spec": self.spec})
        vocoder.spec.require_match(self.spec, f"vocoder {vocoder.name}", f"model {self.model.name}")
        self.vocoder = vocoder.to(self.device).eval()
        self.adaptation = adaptation or Adaptation()
        self.settings = dict(settings or {})
        self.controls({})

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
            Audio at the model's rate, as loud as the source, and as long unless the controls change the timing.

        Raises:
            AudioError: a recording is broken or silent.
        """
        settings = self.controls(controls)
        voice = targets if isinstance(targets, Voice) else self.voice(targets)
        return Audio(np.concatenate([*self.stream(Recording(source), voice, settings)]), self.spec.sample_rate)

    def stream(self, source: Recording, voice: Voice, controls: Controls) -> Iterator[np.ndarray]:
        """The conversion of a recording, block after block, with memory for one chunk."""
        said = ((heard, self.say(heard.batch, voice, controls)[0]) for heard in self.hear(source))
        return self.joined(source, said, self.tempo(source, voice, controls))

    def hear(self, source: Recording) -> Iterator[Heard]:
        """Every chunk of a recording, analyzed; what belongs to the whole of it is known before the first.

        Their `Batch.id` is one for all chunks of a recording, another for another: what may be drawn by.
        """
        self._require_frames(source.size / source.rate, source.name)
        known = [Known()] if source.whole else self._known(source)
        name = ""
        for own, about in zip(source.chunks(), known, strict=True):
            clip = self.audio(own)
            name = name or fingerprint(clip.samples)
            yield Heard(source, own, clip, replace(self.analyzed(clip, replace(about, name=name)), id=(name,)))

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
        # as if said at another rate: every place in the output moves with the tempo
        rate = max(1, round(self.spec.sample_rate * tempo))
        return source.joined((_leveled(heard, samples, tempo) for heard, samples in said), rate)

    def _known(self, source: Recording) -> list[Known]:
        """What belongs to the whole recording, for each chunk: none has a voice or a level of pitch of its own."""
        contours: list[np.ndarray] = []
        voices: list[Tensor] = []
        for heard in source.chunks():
            clip = self.audio(heard)
            if "f0" in self.model.requires.of_clip:
                contours.append(self.f0.contour(clip.samples))
            if "embedding" in self.model.requires.of_clip:
                voices.append(speaker_encoder(str(self.device)).embed([clip])[0])
        whole = torch.from_numpy(np.concatenate(contours)) if contours else None
        level, spread = (None, None) if whole is None else (log_level(whole), log_spread(whole))
        voice = torch.nn.functional.normalize(torch.stack(voices).mean(0), dim=0) if voices else None
        about = Known(
            level=None if level is None else level.to(self.device),
            spread=None if spread is None else spread.to(self.device),
            embedding=voice,
        )
        return [replace(about, f0=contour) for contour in contours] or [about] * (len(source.cuts) - 1)

    def audio(self, clip: Clip) -> Audio:
        """A clip at the model's sample rate."""
        rate = self.spec.sample_rate
        if isinstance(clip, Audio):
            return Audio(resample(clip.samples, clip.sample_rate, rate), rate)
        return read_audio(Path(clip).expanduser(), rate)

    def heard(self, clip: Clip) -> Audio:
        """A recording at its own rate; `AudioError` if it is broken, silent, or too short for a single frame."""
        audio, _ = read_speech(clip)
        self._require_frames(audio.seconds, "a recording" if isinstance(clip, Audio) else str(clip))
        return audio

    def _require_frames(self, seconds: float, name: str) -> None:
        if self.spec.frames(int(seconds * self.spec.sample_rate)) < 1:
            raise AudioError(f"{name}: is too short, {1000 * seconds:.1f} ms")

    def voice(self, clips: Clip | Sequence[Clip]) -> Voice:
        """A voice from one or more recordings of it: they are analyzed, and the model is adapted to them.

        A model with a table of speakers takes the names of its speakers instead, one that speaks in one way only none.
        Of one that also speaks in the source's own voice there may be none.
        """
        several = clips if isinstance(clips, Sequence) and not isinstance(clips, str) else [clips]
        if self.model.target == "none":
            if several:
                raise UserError(f"model {self.model.name} takes no target voice: leave tgt= out")
            return Voice([], self.model, None)
        if self.model.alone and not several:
            return Voice([], self.model, None)
        if self.model.target == "speaker":
            return Voice([self._speaker(name) for name in several], self.model, None)
        references = self.references(several)
        return Voice(references, self.model, adapted(self.model, references, self.adaptation, self.spec))

    def references(self, clips: Sequence[Clip]) -> list[Batch]:
        """Reference clips as the model sees them, silent ends trimmed as in training."""
        if not clips:
            raise UserError("no target clip: expected at least one recording of the target voice, e.g. tgt=b.wav")
        return [self.analyzed(self._trimmed(clip)) for clip in clips]

    def _speaker(self, name: Clip) -> Batch:
        known = self.loaded.description.speakers
        if isinstance(name, Audio) or str(name) not in known:
            given = "a recording" if isinstance(name, Audio) else str(name)
            raise choices(given, known, f"speaker of this {self.model.name}, which speaks with the voices of its table")
        nothing, row = torch.zeros(self.spec.channels, 0, device=self.device), known.index(str(name))
        levels = self.loaded.description.levels
        level = torch.tensor(levels[row], device=self.device) if levels and levels[row] is not None else None
        return Batch.of_clip(nothing, speaker=torch.tensor(row, device=self.device), level=level)

    def analyzed(self, clip: Audio, known: Known | None = None) -> Batch:
        """What the model requires of a clip at its rate, by the functions of preparation, unless it is known."""
        waveform, known = torch.from_numpy(clip.samples).to(self.device), known or Known()
        features, wanted = extract(waveform, self.spec), self.model.requires.of_clip
        f0, voice = known.f0, known.embedding
        if f0 is None and "f0" in wanted:
            f0 = self.f0.contour(clip.samples)
        if voice is None and "embedding" in wanted:
            voice = speaker_encoder(str(self.device)).embed([clip])[0]
        paired = None
        if self.paired is not None:
            copy = self.paired.of(clip.samples, known.name)
            paired = torch.from_numpy(copy.T[:, : features.shape[1]]).to(self.device)
        return Batch.of_clip(
            features,
            paired=paired,
            waveform=waveform if "waveform" in wanted else None,
            f0=None if f0 is None else torch.from_numpy(f0[: features.shape[1]]).to(self.device),
            embedding=voice,
            level=known.level,
            spread=known.spread,
        )

    def say(self, clips: Batch, voice: Voice, controls: Controls) -> np.ndarray:
        """Samples (B, S) of what analyzed clips say, at the vocoder's own level."""
        with torch.no_grad():
            model = voice.speaker(controls.share)
            features = model.convert(clips, voice.references, controls)
            like = clips.waveform if model.keeps_phase(controls) else None
            return self.vocode(features, model.pitch(clips, voice.references, controls), like)

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
        }  # fmt: skip

    def _trimmed(self, clip: Clip) -> Audio:
        # trimmed at the file's own rate and then resampled, as in preparation
        audio, _ = read_speech(self.heard(clip), self.loaded.description.trim_db)
        return self.audio(Recording(audio).speech())


def _leveled(heard: Heard, samples: np.ndarray, tempo: float) -> np.ndarray:
    """Samples as loud as their source, and `tempo` times as long."""
    source, clip = heard.source, heard.clip
    samples = fit(samples, round(len(clip.samples) * tempo))
    if source.untouched or tempo != 1.0:
        level = loudness_db(heard.own.samples, heard.own.sample_rate)
        samples = match_loudness(samples, clip.sample_rate, level)
    else:
        samples = follow_level(samples, clip.samples, clip.sample_rate)
    if not np.isfinite(samples).all():
        raise AudioError(f"{source.name}: its conversion has samples that are not finite")
    return samples / max(1.0, float(np.abs(samples).max(initial=0.0)))


def load(
    checkpoint: str | Path = DEFAULT,
    device: str | torch.device = "cpu",
    vocoder: Vocoder | Mapping[str, Any] | None = None,
    adapt: int | Mapping[str, Any] | Adaptation | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    features: FeatureSpec | None = None,
    controls: Mapping[str, Any] | None = None,
) -> Converter:
    """`revoice.load().convert("a.wav", "b.wav")`: the one place where a converter is made of what somebody asks for.

    Args:
        checkpoint: a run folder, `.ckpt` or `.safetensors`; by default the converter that ships. Also the name of a
            model that needs no training: `revoice.load("random_cnn", settings={"kernel": "3x1"})`.
        device: where to run.
        vocoder: of the model's features, or its settings, e.g. `{"name": "griffin_lim", "iterations": 100}` or
            `{"ckpt": "outputs/train/vocos/RUN"}`; None: the vocoder.ckpt or vocoder.safetensors that lies beside the
            checkpoint, else Griffin-Lim.
        adapt: steps on the target's clips, or settings of `Adaptation`; None or 0: none.
        settings, model, features: of a model that needs no training, see `load_model`.
        controls: of the model, where a conversion does not say, e.g. `{"strength": 0.7}`.

    Raises:
        UserError: there is no such model, it converts nothing, or a setting is none of its own.
    """
    how = None if adapt is None else Adaptation.of(adapt)
    loaded = load_model(checkpoint, device, model, settings, features)
    if not isinstance(vocoder, Vocoder):
        vocoder = load_vocoder(vocoder or {"name": FOUND}, loaded.spec, device, loaded)
    return Converter(loaded, vocoder, device, how, controls)
