"""Audio files in and out. Every way a file can be unusable ends in an `AudioError` of one line."""

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import soundfile
import soxr

from revoice.atomic import replacing
from revoice.audio.ffmpeg import BY_FFMPEG, decoded
from revoice.audio.mp3 import counted
from revoice.audio.ogg import require_whole
from revoice.errors import UserError, choices

T = TypeVar("T")
AUDIO_SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")  # written, and read
RECORDINGS: tuple[str, ...] = (*AUDIO_SUFFIXES, ".oga", ".aifc", ".au", ".caf", ".w64", *BY_FFMPEG)  # read

_CONTAINERS = {".opus": "OGG", ".aif": "AIFF"}
_SUBTYPES = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_BLOCK = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on much longer writes
_READ = 1 << 24  # samples of all channels read at once: memory follows what a file holds, not what its header claims

RATES = (4_000, 768_000)  # Hz; below there is no speech
LOUDEST = 100.0  # full scale is 1: a float file beyond that is scaled otherwise, or damaged
_UNKNOWN = (1 << 63) - 1  # frames of a FLAC stream whose header does not tell
_CLAIM = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)  # what libsndfile notes of headers
_STREAMED = (1 << 31) - (1 << 16)  # bytes that a program claims which does not know how many will come
LONGEST = 1 << 29  # samples read as one recording (2 GiB): 3 hours at 48 kHz
CANCELLED = 1e-3  # power of the mean against that of the loudest channel; of unrelated ones it is half of it
SILENT = 1e-4  # -80 dBFS: what moves less is silence, whatever its offset


class AudioError(UserError):
    """An audio file that cannot be used: one line with its path and the reason."""


@dataclass(frozen=True)
class Audio:
    """A mono recording.

    Attributes:
        samples: (S,) float32, full scale is -1..1.
        sample_rate: Hz.
    """

    samples: np.ndarray
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.sample_rate


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
            a sample rate outside `RATES`, or more than `LONGEST` samples.
    """
    path = Path(path)
    with _open(path) as file:
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
        mono, rate = _mono(file, count, path), file.samplerate
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


def probe_audio(path: str | os.PathLike[str]) -> AudioInfo:
    """Read only the header; raises `AudioError` like `read_audio`."""
    with _open(Path(path)) as file:
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
    with audio_writer(path, sample_rate, 1 if samples.ndim == 1 else samples.shape[1], subtype) as file:
        for first in range(0, len(samples), _BLOCK):
            file.write(samples[first : first + _BLOCK])


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
        disk = _Disk(file)
        try:
            sound = soundfile.SoundFile(disk, "w", sample_rate, channels, kind, format=container)
        except (soundfile.LibsndfileError, ValueError) as error:
            raise AudioError(f"{path}: cannot be written at {sample_rate} Hz as {kind}: {_reason(error)}") from error
        try:
            with sound:
                yield sound
        finally:
            if disk.error:
                raise disk.error


class _Disk:
    """A file for libsndfile, which does not tell of a full disk: this remembers the first error."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def read(self, size: int) -> bytes:
        """Some bytes."""
        return self._do(lambda: self._file.read(size), b"")

    def write(self, data: bytes) -> int:
        """Bytes written."""
        return self._do(lambda: self._file.write(data), 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position."""
        return self._do(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """The position."""
        return self._do(self._file.tell, 0)

    def _do(self, action: Callable[[], T], otherwise: T) -> T:
        try:
            return otherwise if self.error else action()
        except OSError as error:
            self.error = error
            return otherwise


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Band-limited resampling of (S,) or (S, C) by soxr in high quality; float32 in, float32 out.

    >>> resample(np.zeros(48000, np.float32), 48000, 16000).shape
    (16000,)
    """
    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate, quality="HQ")


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        if not path.exists():
            raise AudioError(f"{path}: {'is a link to nothing' if path.is_symlink() else 'no such file'}")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise AudioError(f"{path}: is {kind}, expected an audio file")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: is empty (0 bytes)")
        with open(path, "rb"):  # libsndfile tells "System error" where the system has a reason
            pass
        with _decoder(path) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise AudioError(f"{path}: has {file.samplerate} samples a second, expected {RATES[0]} to {RATES[1]}")
            claimed = _CLAIM.search(file.extra_info)
            if claimed and int(claimed[1]) < _STREAMED and int(claimed[1]) > int(claimed[2]):
                raise AudioError(f"{path}: truncated, {claimed[2]} of {claimed[1]} bytes of sound are there")
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not readable as audio ({_reason(error)})") from error
    except AudioError:
        raise
    except UserError as error:
        raise AudioError(f"{path}: {error}") from error
    except (OSError, TypeError, RuntimeError) as error:
        raise AudioError(f"{path}: not readable ({_reason(error)})") from error


def _decoder(path: Path) -> soundfile.SoundFile:
    """The file, opened so that its count of samples is true; a `UserError` where some of its sound is missing."""
    if path.suffix.lower() in BY_FFMPEG:
        return soundfile.SoundFile(decoded(path))
    known = soundfile.info(path)
    if known.format == "RAW":  # guessed from the suffix
        raise UserError("not readable as audio (it has no header)")
    if known.format == "OGG":
        require_whole(path)
    anew = counted(path) if known.subtype == "MPEG_LAYER_III" else None
    return soundfile.SoundFile(path if anew is None else io.BytesIO(anew))


def _mono(file: soundfile.SoundFile, count: int, path: Path) -> np.ndarray:
    """Up to `count` samples, the mean of the channels; fewer where the file ends before.

    Channels that cancel each other out (one is the other turned over) sound in headphones, but not in their mean: the
    louder one is taken instead.
    """
    first, powers = file.tell(), np.zeros(1 + file.channels)
    mono = _read(file, count, path, powers)
    if powers[0] < CANCELLED * powers[1:].max():
        file.seek(first)
        return _read(file, count, path, powers, int(powers[1:].argmax()))
    return mono


def _read(
    file: soundfile.SoundFile, count: int, path: Path, powers: np.ndarray, channel: int | None = None
) -> np.ndarray:
    """One channel, or the mean of all; adds the power of the mean and of each channel to `powers` (1 + channels,)."""
    blocks, total, size = [], 0, max(1, _READ // file.channels)
    while total < count:
        try:
            block = file.read(min(size, count - total), dtype="float32")
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: truncated or damaged ({_reason(error)})") from error
        if not len(block):
            break
        total += len(block)
        if total > LONGEST:
            raise AudioError(f"{path}: longer than {LONGEST} samples: cut it into shorter recordings")
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: told by the caller
            blocks.append(block if block.ndim == 1 else block.mean(axis=1, dtype=np.float32))
            if block.ndim > 1:
                powers += [np.vdot(blocks[-1], blocks[-1]), *np.einsum("sc,sc->c", block, block)]
                blocks[-1] = blocks[-1] if channel is None else np.ascontiguousarray(block[:, channel])
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, np.float32), *blocks])


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    text = " ".join(str(text).split()).rstrip(".").removeprefix("Error : ")
    return "Format not recognised" if text.startswith("File does not exist") else text  # libsndfile's word for bad MP3
