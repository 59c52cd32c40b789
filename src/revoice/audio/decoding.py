"""Sound files opened so that their count of samples is true, and read as one channel."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from revoice.audio.ffmpeg import BY_FFMPEG, decoded
from revoice.audio.mp3 import counted
from revoice.audio.ogg import require_whole
from revoice.errors import UserError

_READ = 1 << 24  # samples of all channels read at once: memory follows what a file holds, not what its header claims
RATES = (4_000, 768_000)  # Hz; below there is no speech
_CLAIM = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)  # what libsndfile notes of headers
_STREAMED = (1 << 31) - (1 << 16)  # bytes that a program claims which does not know how many will come
LONGEST = 1 << 29  # samples read as one recording (2 GiB): 3 hours at 48 kHz
CANCELED = 1e-3  # power of the mean against that of the loudest channel; of unrelated ones it is half of it


class AudioError(UserError):
    """An audio file that cannot be used: one line with its path and the reason."""


@contextmanager
def opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file, to read; `AudioError` if it is missing, no sound, cut, or of a rate outside `RATES`."""
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
        raise AudioError(f"{path}: not readable as audio ({reason_of(error)})") from error
    except AudioError:
        raise
    except UserError as error:
        raise AudioError(f"{path}: {error}") from error
    except (OSError, TypeError, RuntimeError) as error:
        raise AudioError(f"{path}: not readable ({reason_of(error)})") from error


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


def mean_channel(file: soundfile.SoundFile, count: int, path: Path) -> np.ndarray:
    """Up to `count` samples, the mean of the channels; fewer where the file ends before.

    Channels that cancel each other out (one is the other turned over) sound in headphones, but not in their mean: the
    louder one is taken instead.
    """
    first, powers = file.tell(), np.zeros(1 + file.channels)
    mono = _read(file, count, path, powers)
    if powers[0] < CANCELED * powers[1:].max():
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
            raise AudioError(f"{path}: truncated or damaged ({reason_of(error)})") from error
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


def reason_of(error: Exception) -> str:
    """What libsndfile or the system says, without their ornaments."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    text = " ".join(str(text).split()).rstrip(".").removeprefix("Error : ")
    return "Format not recognized" if text.startswith("File does not exist") else text  # libsndfile's word for bad MP3
