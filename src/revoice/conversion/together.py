"""Conversions of many clips into many voices: every clip is analyzed once, and what can be said together is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from revoice.audio.io import Audio
from revoice.conversion.adaptation import Voice
from revoice.conversion.chunks import Recording
from revoice.conversion.converter import Converter
from revoice.conversion.hearing import Heard
from revoice.data.read.batch import Batch
from revoice.models.base import Controls


@dataclass(frozen=True)
class _Speech:
    """What a model says: features (B, F, T), pitch (B, T), samples (B, S) whose phases the vocoder starts from."""

    features: Tensor
    pitch: Tensor | None
    like: Tensor | None

    def item(self, row: int) -> "_Speech":
        """One of the batch, as a batch of one."""
        pitch, like = (None if x is None else x[row : row + 1] for x in (self.pitch, self.like))
        return _Speech(self.features[row : row + 1], pitch, like)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Equal for what the vocoder can say at once."""
        return tuple(() if x is None else tuple(x.shape) for x in (self.features, self.pitch, self.like))

    @staticmethod
    def join(items: "Sequence[_Speech]") -> "_Speech":
        """Items of equal `shapes` as one batch."""
        pitches = [one.pitch for one in items if one.pitch is not None]
        likes = [one.like for one in items if one.like is not None]
        features = torch.cat([one.features for one in items])
        return _Speech(features, torch.cat(pitches) if pitches else None, torch.cat(likes) if likes else None)


def convert_together(converter: Converter, asked: Sequence[tuple[Audio, Voice]]) -> list[Audio]:
    """What each clip says in the voice beside it, in order, as `Converter.convert` gives it.

    Clips of equal length in one voice pass the model together, conversions of equal length the vocoder. Long
    recordings, which are heard in chunks, and what takes its timing from the target are converted one after the other.

    Raises:
        AudioError: a clip is silent or too short.
    """
    controls = converter.controls({})
    heard: dict[int, Heard | None] = {}
    for clip, _ in asked:
        if id(clip) not in heard:
            recording = Recording(clip)
            heard[id(clip)] = next(converter.hear(recording)) if recording.whole else None
    whole = {
        i: one
        for i, (clip, voice) in enumerate(asked)
        if (one := heard[id(clip)]) is not None and converter.tempo(one.source, voice, controls) == 1.0
    }
    samples = _say(converter, {i: (one, asked[i][1]) for i, one in whole.items()}, controls)
    rate, made = converter.spec.sample_rate, []
    for i, (clip, voice) in enumerate(asked):
        if i in samples:
            blocks = converter.joined(whole[i].source, [(whole[i], samples[i])])
            made.append(Audio(np.concatenate([*blocks]), rate))
        else:
            made.append(converter.convert(clip, voice))
    return made


@torch.no_grad()
def _say(converter: Converter, asked: dict[int, tuple[Heard, Voice]], controls: Controls) -> dict[int, np.ndarray]:
    """Samples (S,) of every clip, at the vocoder's own level."""
    alike: dict[object, list[int]] = {}
    for i, (one, voice) in asked.items():
        alike.setdefault((id(voice), one.batch.shapes) if converter.model.together else i, []).append(i)
    said: dict[int, _Speech] = {}
    for group in alike.values():
        voice, clips = asked[group[0]][1], Batch.join([asked[i][0].batch for i in group])
        model = voice.speaker(controls.share)
        features = model.convert(clips, voice.references, controls)
        pitch = model.pitch(clips, voice.references, controls)
        speech = _Speech(features, pitch, clips.waveform if model.keeps_phase(controls) else None)
        said |= {i: speech.item(row) for row, i in enumerate(group)}
    shapes: dict[object, list[int]] = {}
    for i, speech in said.items():
        shapes.setdefault(speech.shapes, []).append(i)
    found: dict[int, np.ndarray] = {}
    for group in shapes.values():
        speech = _Speech.join([said[i] for i in group])
        found |= zip(group, converter.vocode(speech.features, speech.pitch, speech.like), strict=True)
    return found
