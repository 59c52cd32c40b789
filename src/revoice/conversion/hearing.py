"""What a model hears of recordings: its features, and what else it requires, by the functions of preparation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from revoice.audio.features import extract
from revoice.audio.io import Audio, AudioError, fingerprint, read_audio, resample
from revoice.audio.speaker import speaker_encoder
from revoice.audio.spec import FeatureSpec
from revoice.audio.trim import read_speech
from revoice.audio.usual import usual_gain, without_rumble
from revoice.checkpoint.description import Description
from revoice.conversion.chunks import Clip, Recording
from revoice.data.fields.base import FIELDS, build_field
from revoice.data.fields.f0 import F0
from revoice.data.fields.paired import Paired
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import ConversionModel
from revoice.nn.pitch import log_level, log_spread


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


class Hearing:
    """Hears recordings as a model does.

    Args:
        model: what it requires decides what is analyzed.
        spec: of its features.
        description: how the fields were made that it was trained on, and at what level silent ends were trimmed.
        device: where to compute.
    """

    def __init__(
        self, model: ConversionModel, spec: FeatureSpec, description: Description, device: torch.device
    ) -> None:
        self.model, self.spec, self.device = model, spec, device
        self.trim_db = description.trim_db
        how = description.fields.get("f0", {})
        self.f0 = cast(F0, FIELDS.build("f0", how, {"spec": spec}, what="fields.f0"))
        self.paired: Paired | None = None
        paired = [label for label in model.requires.of_clip if label.startswith("paired:")]
        if paired:
            levels = [level for level in description.levels if level is not None]
            made = cast(Paired, build_field(paired[0], spec, description.fields))
            self.paired = made.settled(float(np.exp(np.mean(levels))) if levels else None)

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
            batch = self.analyzed(self._usual(clip, source), replace(about, name=name))
            yield Heard(source, own, clip, replace(batch, id=(name,)))

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
            embedding=None if voice is None else voice.to(self.device),
            level=known.level,
            spread=known.spread,
        )

    def references(self, clips: Sequence[Clip]) -> list[Batch]:
        """Reference clips as the model sees them, silent ends trimmed as in training; several at one level."""
        if not clips:
            raise UserError("no target clip: expected at least one recording of the target voice, e.g. tgt=b.wav")
        # trimmed at the file's own rate and then resampled, as in preparation
        recordings = [Recording(read_speech(self.heard(clip), self.trim_db)[0]) for clip in clips]
        if not self.model.trained:
            return [self.analyzed(self.audio(recording.speech())) for recording in recordings]
        powers = [max(recording.power, 1e-12) for recording in recordings]
        common = float(np.exp(np.mean(np.log(powers))))
        gain = common**0.5 * usual_gain(common)
        plain = (_plain(self.audio(recording.speech())) for recording in recordings)
        return [
            self.analyzed(_louder(clip, gain / power**0.5 if len(powers) > 1 else usual_gain(common)))
            for clip, power in zip(plain, powers, strict=True)
        ]

    def heard(self, clip: Clip) -> Audio:
        """A recording at its own rate; `AudioError` if it is broken, silent, or too short for a single frame."""
        audio, _ = read_speech(clip)
        self._require_frames(audio.seconds, "a recording" if isinstance(clip, Audio) else str(clip))
        return audio

    def audio(self, clip: Clip) -> Audio:
        """A clip at the model's sample rate."""
        rate = self.spec.sample_rate
        if isinstance(clip, Audio):  # of any strides, and of float64, which not every device has
            return Audio(np.ascontiguousarray(resample(clip.samples, clip.sample_rate, rate), np.float32), rate)
        return read_audio(Path(clip).expanduser(), rate)

    def _known(self, source: Recording) -> list[Known]:
        """What belongs to the whole recording, for each chunk: none has a voice or a level of pitch of its own."""
        contours: list[np.ndarray] = []
        voices: list[Tensor] = []
        for heard in source.chunks():
            clip = self._usual(self.audio(heard), source)
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
            embedding=None if voice is None else voice.to(self.device),
        )
        return [replace(about, f0=contour) for contour in contours] or [about] * (len(source.cuts) - 1)

    def _usual(self, clip: Audio, source: Recording) -> Audio:
        """A part of a recording as networks that learned know them: without rumble, neither very soft nor very loud."""
        return _louder(_plain(clip), usual_gain(source.power)) if self.model.trained else clip

    def _require_frames(self, seconds: float, name: str) -> None:
        if self.spec.frames(int(seconds * self.spec.sample_rate)) < 1:
            raise AudioError(f"{name}: is too short, {1000 * seconds:.1f} ms")


def _plain(clip: Audio) -> Audio:
    return Audio(without_rumble(clip.samples, clip.sample_rate), clip.sample_rate)


def _louder(clip: Audio, gain: float) -> Audio:
    return clip if gain == 1.0 else Audio(clip.samples * np.float32(gain), clip.sample_rate)
