"""Many conversions at once, of a folder or of an evaluation: a clip is heard once, and what is alike is said together.

A convolution or a norm over time hears padding, so that clips of unlike lengths would change each other. Those of equal
length in one voice pass the model together, and what the model says of them, in all voices, the vocoder.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from revoice.audio.io import AudioError
from revoice.conversion.adaptation import Voice
from revoice.conversion.chunks import Clip, Recording
from revoice.conversion.converter import Converter, Speech
from revoice.conversion.hearing import Heard
from revoice.data.read.batch import Batch
from revoice.models.base import Controls


@dataclass(frozen=True)
class Said:
    """A conversion on its way to a waveform.

    Attributes:
        blocks: of its samples, one after the other. Taking them is an `AudioError` where the clip is broken, silent or
            too short, or too long for what it takes from the target.
        whole: whether the clip was heard in one piece.
        spent: seconds that went into it before the first block is asked for.
    """

    blocks: Iterator[np.ndarray]
    whole: bool = True
    spent: float = 0.0


def say_together(converter: Converter, asked: Sequence[tuple[Clip, Voice]], controls: Controls) -> list[Said]:
    """What each clip says in the voice beside it, in order.

    Recordings of several chunks are said when their blocks are asked for, each alone.
    """
    began = time.perf_counter()
    found: dict[int, Recording | AudioError] = {}  # by the identity of clips
    heard: dict[int, Heard] = {}
    for clip, _ in asked:
        if id(clip) not in found:
            try:
                found[id(clip)] = recording = Recording(clip)
                if recording.whole:
                    heard[id(clip)] = next(converter.hear(recording))
            except AudioError as error:
                found[id(clip)] = error
    whole = {i: (heard[id(clip)], voice) for i, (clip, voice) in enumerate(asked) if id(clip) in heard}
    samples = _say(converter, whole, controls)
    spent = (time.perf_counter() - began) / max(1, len(samples))
    made = []
    for i, (clip, voice) in enumerate(asked):
        source = found[id(clip)]
        if isinstance(source, AudioError):
            made.append(Said(_failing(source)))
        elif i in samples:
            tempo = converter.tempo(source, voice, controls)
            made.append(Said(converter.joined(source, [(whole[i][0], samples[i])], tempo), spent=spent))
        else:
            made.append(Said(converter.stream(source, voice, controls), whole=False))
    return made


def _say(converter: Converter, asked: Mapping[int, tuple[Heard, Voice]], controls: Controls) -> dict[int, np.ndarray]:
    """Samples (S,) of every clip, at the vocoder's own level."""
    alike: dict[object, list[int]] = {}
    for i, (one, voice) in asked.items():
        alike.setdefault((one.batch.shapes, id(voice) if converter.model.together else i), []).append(i)
    speeches: dict[object, list[tuple[list[int], Speech]]] = {}
    for group in alike.values():
        clips, voice = Batch.join([asked[i][0].batch for i in group]), asked[group[0]][1]
        speech = converter.speech(clips, voice, controls)
        speeches.setdefault((clips.shapes, speech.shapes), []).append((group, speech))
    samples: dict[int, np.ndarray] = {}
    for groups in speeches.values():
        rows = [i for group, _ in groups for i in group]
        speech = Speech.join([each for _, each in groups])
        samples |= zip(rows, converter.vocode(speech.features, speech.f0, speech.like), strict=True)
    return samples


def _failing(error: AudioError) -> Iterator[np.ndarray]:
    raise error
    yield  # a generator: it is told when somebody asks for the first block
