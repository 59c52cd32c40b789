"""Long recordings: converted in overlapping chunks that are read, spoken and written one after another."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch

from revoice.audio.io import Audio, AudioError, audio_writer, probe_audio, read_audio
from revoice.audio.loudness import loudness_db
from revoice.conversion.converter import Converter, Voice, fit
from revoice.models.base import Controls
from revoice.nn.pitch import log_level

CHUNK = 20.0  # seconds of a chunk beyond that, overlap included
OVERLAP = 0.5  # seconds shared by neighbours, cross-faded
_BLOCK = 1 << 16  # samples written at once


def convert_long(
    converter: Converter,
    source: Path,
    voice: Voice,
    controls: Controls,
    out: Path,
    progress: Callable[[float], None] | None = None,
) -> float:
    """Convert a file of any length with memory for one chunk; returns the seconds written.

    The source's loudness and its level of pitch are measured over the whole file first: one gain is applied to the
    whole output, and no chunk is moved to another pitch than its neighbours.

        chunk 1  ______________
        chunk 2              \\/_____________      each cross-fade is linear and sums to one
        chunk 3                            \\/__

    Args:
        converter, voice, controls: as for `Converter.speak`.
        source: audio file.  out: file to write; appears whole or not at all.
        progress: called with the seconds converted so far.

    Raises:
        AudioError: the source is broken or silent.
        UserError: the disk is full.
    """
    rate = converter.spec.sample_rate
    level = _loudness(source)
    if not math.isfinite(level):
        raise AudioError(f"{source}: is silent, expected speech")
    spoken, samples = _Meter(), 0
    with audio_writer(out, rate) as file, TemporaryFile(dir=out.parent) as raw:
        for block in speak_long(converter, source, voice, controls):
            spoken.add(block, rate)
            raw.write(block.astype(np.float32).tobytes())
            samples += len(block)
            if progress:
                progress(samples / rate)
        if not math.isfinite(spoken.peak):
            raise AudioError(f"{source}: its conversion has samples that are not finite")
        change = level - spoken.loudness
        gain = min(10 ** (change / 20) if math.isfinite(change) else 1.0, 1 / max(spoken.peak, 1e-9))
        raw.seek(0)
        while data := raw.read(4 * _BLOCK):
            file.write(np.frombuffer(data, np.float32) * gain)
    return samples / rate


def speak_long(converter: Converter, source: Path, voice: Voice, controls: Controls) -> Iterator[np.ndarray]:
    """Samples of a long file, block after block, at the vocoder's own level."""
    rate = converter.spec.sample_rate
    shared = round(OVERLAP * rate)
    fade = np.linspace(0.0, 1.0, shared, dtype=np.float32)
    contours: list[np.ndarray | None] = []
    level = None
    if "f0" in converter.model.requires.of_clip:
        contours = [converter.contour(chunk.audio) for chunk in _chunks(source, rate)]
        level = log_level(torch.from_numpy(np.concatenate([c for c in contours if c is not None])))
    tail = np.zeros(0, np.float32)
    for chunk, contour in zip_longest(_chunks(source, rate), contours):
        clip = converter.utterance(chunk.audio, contour)
        clip.level = None if level is None else level.to(converter.device)
        samples = fit(converter.say(clip, voice, controls), chunk.size)
        if count_tail := min(len(tail), len(samples)):
            rise = fade[:count_tail]
            samples[:count_tail] = samples[:count_tail] * rise + tail[:count_tail] * (1 - rise)
        tail = np.zeros(0, np.float32) if chunk.last else samples[-shared:]
        yield samples if chunk.last else samples[:-shared]


@dataclass(frozen=True)
class _Chunk:
    """A part of a long file at the wanted rate, and the samples that its conversion must have."""

    audio: Audio
    size: int
    last: bool


def _chunks(source: Path, rate: int) -> Iterator[_Chunk]:
    step = CHUNK - OVERLAP
    count = max(1, math.ceil((probe_audio(source).seconds - OVERLAP) / step))
    for index in range(count):
        last = index == count - 1
        clip = read_audio(source, rate, start=index * step, seconds=None if last else CHUNK)
        size = len(clip.samples) if last else round((index * step + CHUNK) * rate) - round(index * step * rate)
        yield _Chunk(clip, size, last)


class _Meter:
    """Loudness and peak of a stream: the energy mean of its blocks' loudness."""

    def __init__(self) -> None:
        self.energy, self.seconds, self.peak = 0.0, 0.0, 0.0

    def add(self, samples: np.ndarray, rate: int) -> None:
        level = loudness_db(samples, rate)
        if math.isfinite(level):
            self.energy += 10 ** (level / 10) * len(samples)
            self.seconds += len(samples)
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))

    @property
    def loudness(self) -> float:
        return 10 * math.log10(self.energy / self.seconds) if self.seconds and self.energy else -math.inf


def _loudness(source: Path) -> float:
    meter = _Meter()
    total = probe_audio(source).seconds
    for index in range(math.ceil(total / CHUNK)):
        clip: Audio = read_audio(source, start=index * CHUNK, seconds=CHUNK)
        meter.add(clip.samples, clip.sample_rate)
    return meter.loudness
