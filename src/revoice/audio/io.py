"""Audio files in and out. Every way a file can be unusable ends in an `AudioError` of one line."""

import base64
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from revoice.atomic import Disk, replacing
from revoice.audio.decoding import RATES, AudioError, mean_channel, opened, reason_of
from revoice.audio.ffmpeg import BY_FFMPEG
from revoice.errors import choices, one_line

AUDIO_SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")  # written, and read
RECORDINGS: tuple[str, ...] = (*AUDIO_SUFFIXES, ".oga", ".aifc", ".au", ".caf", ".w64", *BY_FFMPEG)  # read

_CONTAINERS = {".opus": "OGG", ".aif": "AIFF"}
_SUBTYPES = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_RATES = {".opus": (8000, 12_000, 16_000, 24_000, 48_000)}  # Hz, where a format has no others
_BLOCK = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on much longer writes

LOUDEST = 100.0  # full scale is 1: a float file beyond that is scaled otherwise, or damaged
_UNKNOWN = (1 << 63) - 1  # frames of a FLAC stream whose header does not tell
SILENT = 1e-4  # -80 dBFS: what moves less is silence, whatever its offset


@dataclass(frozen=True)
class Audio:
    """A mono recording.

    Attributes:
        samples: (S,) float32, full scale is -1..1.
        sample_rate: Hz, a whole number of any kind.

    Raises:
        AudioError: the samples are of several channels, or no floats, whose scale nobody could tell; the rate is no
            whole number, or outside `decoding.RATES`.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        given, wanted = self.samples, "expected mono samples (S,), floats whose full scale is 1"
        if not isinstance(given, np.ndarray):
            raise AudioError(
                f"a recording is a {type(given).__name__}, {wanted}, in a numpy array: np.asarray(samples)"
            )
        if given.ndim != 1:
            way = f": samples.mean(axis={int(np.argmin(given.shape))})" if given.ndim == 2 else ""
            raise AudioError(f"a recording has the shape {given.shape}, {wanted}{way}")
        if given.dtype not in (np.float32, np.float64):
            way = f": samples / {-float(np.iinfo(given.dtype).min):.0f}" if given.dtype.kind == "i" else ""
            way = ": samples.astype(np.float32)" if given.dtype.kind == "f" else way
            raise AudioError(f"a recording has samples of {given.dtype}, {wanted}{way}")
        try:
            rate = int(self.sample_rate)
            fits = rate == self.sample_rate and RATES[0] <= rate <= RATES[1]
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            given_rate = one_line(self.sample_rate, 40)
            raise AudioError(
                f"a recording has {given_rate} samples a second, expected {RATES[0]} to {RATES[1]}, a whole number"
            )
        object.__setattr__(self, "sample_rate", rate)

    @property
    def seconds(self) -> float:
        """How long it lasts, in seconds."""
        return len(self.samples) / self.sample_rate

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, whose suffix says the format (`write_audio`); returns the path."""
        write_audio(Path(path).expanduser(), self.samples, self.sample_rate)
        return Path(path).expanduser()

    def _repr_html_(self) -> str:
        """A player, where a notebook shows the value of a cell."""
        sound = io.BytesIO()
        peak = max(1.0, float(np.abs(self.samples).max(initial=0.0)))
        soundfile.write(sound, self.samples / peak, self.sample_rate, "PCM_16", format="WAV")
        data = base64.b64encode(sound.getvalue()).decode("ascii")
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    sample_rate: int
    channels: int
    frames: int
    seconds: float


def read_audio(
    path: str | os.PathLike[str], sample_rate: int | None = None, start: float = 0.0, seconds: float | None = None
) -> Audio:
    """Read a file of any sample rate, channel count and bit depth.

    Args:
        path: WAV, FLAC, OGG, MP3 or whatever else libsndfile reads; M4A and the like where PyAV is installed.
        sample_rate: resample to this rate; None keeps the file's.
        start: skip this many seconds.
        seconds: read at most this many; None reads to the end.

    Returns:
        Mono audio, the mean of the channels; one of them where they cancel each other out.

    Raises:
        AudioError: missing, a folder, not audio, truncated, no samples, samples that are not finite or absurdly large,
            a sample rate outside `decoding.RATES`, or more than `decoding.LONGEST` samples.
    """
    path = Path(path)
    with opened(path) as file:
        if file.frames == _UNKNOWN:
            raise AudioError(
                f"{path}: its header does not tell its length: rewrite it, e.g. ffmpeg -i in.flac out.flac"
            )
        first = min(round(start * file.samplerate), file.frames)
        count = file.frames - first if seconds is None else min(round(seconds * file.samplerate), file.frames - first)
        if count <= 0:
            whole = f" from {start:g} s on, it is {file.frames / file.samplerate:.2f} s long" if file.frames else ""
            raise AudioError(f"{path}: has no samples{whole}")
        if first:
            file.seek(first)
        mono, rate = mean_channel(file, count, path), file.samplerate
        if len(mono) < count:
            raise AudioError(f"{path}: truncated, {len(mono)} of {count} samples could be read")
    if not len(mono):
        raise AudioError(f"{path}: has no samples")
    peak = max(float(mono.max()), -float(mono.min()))
    if not np.isfinite(peak):
        raise AudioError(f"{path}: has samples that are not finite (NaN or infinite)")
    if peak > LOUDEST:
        raise AudioError(f"{path}: has samples of {peak:.3g}, full scale is 1: scale the file down")
    if sample_rate is not None:
        mono, rate = resample(mono, rate, sample_rate), sample_rate
    return Audio(mono, rate)


def is_silent(samples: np.ndarray) -> bool:
    """Whether nothing is to be heard: all samples (S,) are alike, up to `SILENT`.

    >>> is_silent(np.full(100, 0.3)), is_silent(np.array([0.0, 0.01]))
    (True, False)
    """
    return not len(samples) or float(samples.max()) - float(samples.min()) < 2 * SILENT


def fingerprint(samples: np.ndarray) -> str:
    """A checksum of samples (S,) as 16 bits store them: equal for a WAV file and its FLAC copy."""
    whole = np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return hashlib.sha256(whole.tobytes()).hexdigest()


def probe_audio(path: str | os.PathLike[str]) -> AudioInfo:
    """Read only the header; raises `AudioError` like `read_audio`."""
    with opened(Path(path)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames, file.frames / file.samplerate)


def write_audio(path: str | os.PathLike[str], samples: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> None:
    """Write mono samples (S,) or channels (S, C); the file appears whole or not at all.

    A peak above 1 is scaled down to 1 instead of being clipped. The suffix picks the container; `subtype` is the
    sample format of WAV, FLAC and AIFF (compressed containers have their own).

    Raises:
        AudioError: the samples are not finite, or the format cannot hold them.
        UserError: unknown suffix, or the folder cannot be written to (a full disk).
    """
    path = Path(path)
    samples = np.asarray(samples, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: not written, the samples are not finite (NaN or infinite)")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 1.0:
        samples = samples / peak
    write_blocks(path, [samples], sample_rate, 1 if samples.ndim == 1 else samples.shape[1], subtype)


def write_blocks(
    path: Path, blocks: Iterable[np.ndarray], sample_rate: int, channels: int = 1, subtype: str = "PCM_16"
) -> int:
    """Write samples that come block by block, finite and within full scale; returns how many there were of a channel.

    Like `write_audio` otherwise. The file can be made before the first block is asked for. A format that does not have
    the rate gets the samples at the next higher one that it has.
    """
    rates = _RATES.get(path.suffix.lower(), (sample_rate,))
    at = min((rate for rate in rates if rate >= sample_rate), default=rates[-1])
    count = 0
    with audio_writer(path, at, channels, subtype) as file:
        change = None if at == sample_rate else soxr.ResampleStream(sample_rate, at, channels, "float32", "HQ")

        def write(samples: np.ndarray) -> None:
            for first in range(0, len(samples), _BLOCK):
                file.write(samples[first : first + _BLOCK])

        for samples in blocks:
            count += len(samples)
            write(samples if change is None else change.resample_chunk(samples.astype(np.float32)))
        if change is not None:
            write(change.resample_chunk(np.zeros((0,) if channels == 1 else (0, channels), np.float32), last=True))
    return count


@contextmanager
def audio_writer(
    path: Path, sample_rate: int, channels: int = 1, subtype: str = "PCM_16"
) -> Iterator[soundfile.SoundFile]:
    """An audio file to write in blocks of at most `_BLOCK` samples; arguments and errors are those of `write_audio`."""
    suffix = path.suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        raise choices(suffix, AUDIO_SUFFIXES, "audio suffix")
    container, kind = _CONTAINERS.get(suffix, suffix[1:].upper()), _SUBTYPES.get(suffix, subtype)
    with replacing(path) as file:
        disk = Disk(file)
        try:
            sound = soundfile.SoundFile(disk, "w", sample_rate, channels, kind, format=container)
        except (soundfile.LibsndfileError, ValueError) as error:
            raise AudioError(f"{path}: cannot be written at {sample_rate} Hz as {kind}: {reason_of(error)}") from error
        try:
            with sound:
                yield sound
        finally:
            if disk.error:
                raise disk.error


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Band-limited resampling of (S,) or (S, C) by soxr in high quality; float32 in, float32 out.

    >>> resample(np.zeros(48000, np.float32), 48000, 16000).shape
    (16000,)
    """
    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate, quality="HQ")
