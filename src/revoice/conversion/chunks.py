"""A recording of any length as what a model hears at once, and what it says of that as one waveform again.

A model that normalizes over time takes a long pause for speech, and what is said between pauses comes out far too loud.
So long pauses are left out of what it hears:

    recording  ___/\\/\\_________________/\\/\\/\\/\\/\\/\\/\\_____    long pauses
    heard        _/\\/\\__/\\/\\/\\/\\/\\/\\/\\_                      in chunks, if it is more than `WHOLE`
    output     ...~~~~~...............~~~~~~~~~~~~~~.....    the pauses filled as they were, with noise

Chunks meet at quiet places, each is heard with some context on both sides, and each is brought to the level of its own
part of the recording. Only a chunk is in memory, beside a number for every 20 ms.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from revoice.audio.io import LOUDEST, SILENT, Audio, AudioError, probe_audio, read_audio, resample
from revoice.audio.usual import FRAME, QUIET, frame_powers, speech_power

Clip = str | Path | Audio
Span = tuple[int, int]  # first and last (exclusive)
WHOLE = 30.0  # seconds of speech up to which a recording is heard in one piece
CHUNK = 20.0  # seconds of a chunk beyond that, about
REACH = 3.0  # seconds to both sides of an even division among which the quietest are taken
CONTEXT = 1.0  # seconds heard on both sides of a chunk, and not kept
FADE = 0.04  # seconds of the cross-fade between chunks
PAUSE = 1.0  # seconds of quiet that are a long pause
MARGIN = 0.25  # seconds of it that stay with the speech on each side
_RAMP = 0.01  # seconds in which speech comes out of a pause and goes into it
_FILL = 10.0  # seconds of pause filled at once


class Recording:
    """A file or an `Audio`, read part by part, and how it is cut.

    Attributes:
        name: for messages.
        rate: Hz, the recording's own.  size: in samples.
        kept: spans of samples that the model hears, in order; the rest is pause.
        cuts: where chunks begin, and the last one ends, in samples of what is kept.
        power: of its speech.

    Raises:
        AudioError: it is broken, or silent from beginning to end.
    """

    def __init__(self, clip: Clip) -> None:
        if isinstance(clip, Audio):
            self.name, self._path = "a recording", Path()
            self._audio: Audio | None = clip
            self.rate, self.size = clip.sample_rate, len(clip.samples)
        else:
            self.name, self._path = str(clip), Path(clip).expanduser()
            about = probe_audio(self._path)
            self._audio = read_audio(self._path) if about.seconds <= WHOLE else None
            self.rate, self.size = about.sample_rate, about.frames if self._audio is None else len(self._audio.samples)
        self._frame = max(1, round(FRAME * self.rate))
        power = self._powers()
        self.power = speech_power(power)
        spans = stretches(power, round(PAUSE / FRAME), round(MARGIN / FRAME))
        heard = sum(b - a for a, b in spans)
        if len(power) * FRAME <= WHOLE and 2 * heard >= len(power):  # short, and not mostly pause: as it is
            spans = [(0, len(power))]
        frames = np.concatenate([power[a:b] for a, b in spans])
        self.kept = [(a * self._frame, min(b * self._frame, self.size)) for a, b in spans]
        self.cuts = [*(self._frame * cut for cut in divide(frames)), sum(b - a for a, b in self.kept)]

    @property
    def whole(self) -> bool:
        """Whether it is heard in one piece."""
        return len(self.cuts) == 2

    def part(self, first: int, last: int) -> np.ndarray:
        """Samples of the recording, fewer at its end."""
        if self._audio is not None:
            return self._audio.samples[first:last]
        return read_audio(self._path, start=first / self.rate, seconds=(last - first) / self.rate).samples

    def speech(self) -> Audio:
        """All of it, if it is not mostly pause; then what is kept."""
        kept = self.cuts[-1]
        return self._heard(0, kept) if 2 * kept < self.size else Audio(self.part(0, self.size), self.rate)

    def chunks(self) -> Iterator[Audio]:
        """What the model hears, one after the other, with context on both sides."""
        for first, last in self._contexts():
            yield self._heard(first, last)

    def joined(self, said: Iterable[np.ndarray], rate: int, tempo: float = 1.0) -> Iterator[np.ndarray]:
        """What a model said of every chunk as one waveform, block after block, with the pauses.

        Args:
            said: samples of every chunk at `rate`, `tempo` times as long as the chunk.
            rate: Hz.
            tempo: of what was said, and of the pauses.
        """
        true, rate = rate, max(1, round(rate * tempo))  # as if said at another rate: every place moves with the tempo
        # `place`: samples of the output without pauses that were passed on, in which gaps lie at `at`
        place, gaps = 0, [(self._place(at, rate), first, last) for at, first, last in self._gaps()]
        for block in self._compact(said, rate):
            while gaps and gaps[0][0] <= place + len(block):
                at, first, last = gaps.pop(0)
                yield block[: at - place]
                yield from self._pause(first, last, rate, true)
                block, place = block[at - place :], at
            yield block
            place += len(block)

    def _powers(self) -> np.ndarray:
        """Mean square of every frame, offset left out."""
        found, low, high = [], np.inf, -np.inf
        for first in range(0, self.size, 1000 * self._frame):
            samples = self.part(first, min(first + 1000 * self._frame, self.size))
            low, high = min(low, samples.min()), max(high, samples.max())
            if not np.isfinite(samples).all():
                raise AudioError(f"{self.name}: has samples that are not finite (NaN or infinite)")
            found.append(frame_powers(samples, self._frame))
        if max(high, -low) > LOUDEST:
            raise AudioError(f"{self.name}: has samples of {max(high, -low):.3g}, full scale is 1: scale it down")
        if high - low < 2 * SILENT:
            raise AudioError(f"{self.name}: is silent, expected speech")
        return np.concatenate(found)

    def _contexts(self) -> list[Span]:
        """Of every chunk: from where to where it is heard, in samples of what is kept."""
        more, end = round(CONTEXT * self.rate), self.cuts[-1]
        return [(max(0, a - more), min(end, b + more)) for a, b in pairwise(self.cuts)]

    def _heard(self, first: int, last: int) -> Audio:
        """The samples from `first` to `last` of what is kept."""
        parts, begin = [], 0  # a span (a, b) of the recording is begin to begin + b - a of what is kept
        for a, b in self.kept:
            low, high = max(first - begin, 0), min(last - begin, b - a)
            if low < high:
                parts.append(self.part(a + low, a + high))
            begin += b - a
        return Audio(parts[0] if len(parts) == 1 else np.concatenate(parts), self.rate)

    def _gaps(self) -> list[tuple[int, int, int]]:
        """Every pause: after how many of the samples kept, and its span in the recording."""
        found, before, end = [], 0, 0
        for a, b in [*self.kept, (self.size, self.size)]:
            if a > end:
                found.append((before, end, a))
            before, end = before + b - a, b
        return found

    def _place(self, at: int, rate: int) -> int:
        """Where a sample of what is kept lies in the output without pauses, so that it is right with them, too."""
        left = end = 0  # samples of pauses before, in the output; where speech ended last
        for a, b in self.kept:
            left += self._at(a, rate) - self._at(end, rate)
            if at <= b - a:
                break
            at, end = at - (b - a), b
        return self._at(a + at, rate) - left

    def _at(self, sample: int, rate: int) -> int:
        return (2 * sample * rate + self.rate) // (2 * self.rate)  # as long as soxr makes so many samples

    def _compact(self, said: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
        half, tail = round(FADE * rate / 2), np.zeros(0, np.float32)
        joints = [self._place(at, rate) for at, _, _ in self._gaps()]
        # heard:  begin ... start ======== stop ... end    in the output, of which start to stop is kept: the chunk and
        # half a fade on each side that has a neighbor; the last 2 * half of it wait for the next chunk
        spans = zip(pairwise(self.cuts), self._contexts(), said, strict=True)
        for (first, last), context, samples in spans:
            begin, end = (self._place(at, rate) for at in context)
            samples = fit(samples, end - begin)
            for joint in joints:
                _ramp(samples, joint - begin, round(_RAMP * rate))
            start = self._place(first, rate) - (half if first else 0)
            stop = self._place(last, rate) + (half if last < self.cuts[-1] else 0)
            block = samples[start - begin : stop - begin]
            if first:
                block[: 2 * half] = crossfade(tail, block[: 2 * half])
            if last < self.cuts[-1]:
                block, tail = block[: -2 * half], block[-2 * half :]
            yield block

    def _pause(self, first: int, last: int, rate: int, heard: int) -> Iterator[np.ndarray]:
        """As long as at `rate`, sounding as at the rate that it is `heard` at."""
        step = round(_FILL * self.rate)
        for a in range(first, last, step):
            b = min(a + step, last)
            there = resample(self.part(a, b), self.rate, heard)
            yield noise_like(there, self._at(b, rate) - self._at(a, rate), seed=a)


def stretches(power: np.ndarray, least: int, margin: int) -> list[Span]:
    """Spans of frames that are not long pauses.

    Speech is as loud as the frames that are not 10 dB below the mean of all; what is 35 dB below that is quiet.

    Args:
        power: (T,) of every frame.
        least: frames of quiet that make a long pause.
        margin: of those, how many stay on each side that has speech.

    >>> stretches(np.array([1.0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]), least=3, margin=1)
    [(0, 4), (7, 10)]
    """
    quiet = np.concatenate([[False], power < QUIET * speech_power(power), [False]])
    edges = np.flatnonzero(
        quiet[1:] != quiet[:-1]
    ).tolist()  # first, last (exclusive), first, last ... of what is quiet
    bounds = [0]
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first >= least:
            bounds += [first + margin if first else 0, last - margin if last < len(power) else last]
    bounds.append(len(power))
    return [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if a < b]


def divide(power: np.ndarray) -> list[int]:
    """The frames that chunks of equal length begin with, moved to the quietest places nearby.

    Args:
        power: (T,) of every frame of what is heard.
    """
    seconds = len(power) * FRAME
    count = 1 if seconds <= WHOLE else int(np.ceil(seconds / CHUNK))
    near, cuts = round(REACH / FRAME), [0]
    smooth = np.convolve(power, np.ones(5), mode="same")  # 100 ms: a place between words, not inside one
    for number in range(1, count):
        even = round(number * len(power) / count)
        cuts.append(even - near + int(smooth[even - near : even + near].argmin()))
    return cuts


def crossfade(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """From `before` (S,) to `after` (S,), linear in amplitude and in power, however their phases lie.

    A plain linear fade of unlike waveforms loses 3 dB in its middle, an equal-power one of like waveforms gains them.

    >>> a, b = np.array([1.0, -1, 1, -1, 1]), np.array([1.0, 1, -1, -1, 1])
    >>> crossfade(a, a).round(6).tolist()
    [1.0, -1.0, 1.0, -1.0, 1.0]
    """
    rise = np.linspace(0.0, 1.0, len(before), dtype=before.dtype)
    own, next_, shared = (float(np.mean(x * y)) for x, y in ((before, before), (after, after), (before, after)))
    wanted = (1 - rise) * own + rise * next_
    given = (1 - rise) ** 2 * own + rise**2 * next_ + 2 * rise * (1 - rise) * shared
    gain = np.sqrt(np.clip(wanted / np.maximum(given, 1e-12), 0.0, 4.0))  # opposite phases are not blown up
    return ((1 - rise) * before + rise * after) * gain.astype(before.dtype)


def noise_like(samples: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Noise (size,) with the level and the mean spectrum of samples (S,), in which nobody's voice is left."""
    if not size or not len(samples):
        return np.zeros(size, np.float32)
    samples = samples - samples.mean()
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512) if len(samples) >= 512 else samples[None]
    color = np.sqrt((np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0))
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    shape = np.interp(np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, len(color)), color)
    noise = np.fft.irfft(spectrum * shape, size)
    level = float(np.sqrt(np.mean(noise**2)))
    return (noise * (samples.std() / level if level else 0.0)).astype(np.float32)


def fit(samples: np.ndarray, size: int) -> np.ndarray:
    """Cut or zero-pad samples to `size`.

    >>> fit(np.ones(2), 3).tolist()
    [1.0, 1.0, 0.0]
    """
    return np.pad(samples[:size], (0, max(0, size - len(samples))))


def _ramp(samples: np.ndarray, at: int, size: int) -> None:
    """Samples fall to nothing towards `at` and rise from there, each within `size`."""
    before, after = samples[max(0, at - size) : max(0, at)], samples[max(0, at) : max(0, at + size)]
    before *= np.linspace(1.0, 0.0, size, dtype=samples.dtype)[size - len(before) :] if len(before) else 1
    after *= np.linspace(0.0, 1.0, size, dtype=samples.dtype)[: len(after)] if len(after) else 1
