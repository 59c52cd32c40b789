"""Recordings that libsndfile does not read, as phones, browsers and messengers leave them, by FFmpeg's libraries.

They come with the package PyAV (`av`), which is optional. A file is decoded once, to the end, into a temporary one.
"""

import importlib.util
import io
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
import soundfile

from revoice.atomic import Disk
from revoice.errors import UserError

BY_FFMPEG: tuple[str, ...] = (".m4a", ".mp4", ".aac", ".amr", ".3gp", ".wma", ".webm", ".mka")
_READERS = "mov,aac,amr,amrnb,amrwb,asf,matroska"  # FFmpeg's names; others open further files and addresses
_SHORT = 0.1  # seconds that may be missing of what the file says: encoders pad
_MOST = 1 << 30  # samples of all channels (4 GiB): a small file may hold days of silence


def available() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def decoded(path: Path) -> IO[bytes]:
    """A sound file (W64, 32-bit floats) of what a recording holds, at its beginning; each caller reads for itself.

    Raises:
        UserError: PyAV is missing, or the file is no such recording, damaged or truncated.
        OSError: the disk of the temporary file is full.
    """
    if not available():
        raise UserError(
            f"{path.suffix} is read by PyAV, which is not installed: pip install 'revoice[formats]', or "
            f"ffmpeg -i in{path.suffix} out.wav"
        )
    found = path.stat()
    return io.BufferedReader(_Reader(_decoded(path, found.st_size, found.st_mtime_ns)))


class _Shared:
    """A temporary file that several readers, of any thread, read at places of their own."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.lock = file, threading.Lock()
        self.size = file.seek(0, io.SEEK_END)

    def read(self, place: int, size: int) -> bytes:
        with self.lock:
            self.file.seek(place)
            return self.file.read(size)


class _Reader(io.RawIOBase):
    """A file opened for reading, without a handle of its own."""

    def __init__(self, shared: _Shared) -> None:
        self.shared, self.place = shared, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.shared.size}[whence])
        return self.place

    def readinto(self, buffer: Any) -> int:
        found = self.shared.read(self.place, len(buffer))
        buffer[: len(found)] = found
        self.place += len(found)
        return len(found)


@lru_cache(maxsize=1)  # a long recording is opened once for each of its parts
def _decoded(path: Path, size: int, changed: int) -> _Shared:
    import av

    out = TemporaryFile()
    disk = Disk(out)
    with path.open("rb") as file:
        try:
            with av.open(file, options={"format_whitelist": _READERS, "protocol_whitelist": ""}) as container:
                _write(container, disk)
        except (av.FFmpegError, ValueError, OverflowError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"not readable as audio ({getattr(error, 'strerror', None) or error})") from error
        finally:
            if disk.error:
                full = disk.error
                raise OSError(full.errno, f"{full.strerror} in the temporary folder {gettempdir()}") from full
    return _Shared(out)


def _write(container: Any, out: Disk) -> None:
    if not container.streams.audio:
        raise UserError("has no sound in it")
    stream = container.streams.audio[0]
    said = float(stream.duration * stream.time_base) if stream.duration else 0.0
    sound, total, rate = None, 0, 0
    try:
        for block, rate in _blocks(container, stream):
            if sound is None:
                sound = soundfile.SoundFile(out, "w", rate, block.shape[1], "FLOAT", format="W64")
            sound.write(block)
            total += len(block)
            if total * block.shape[1] > _MOST:
                raise UserError(f"longer than {total / rate / 3600:.1f} h: cut it into shorter recordings")
    finally:
        if sound is not None:
            sound.close()
    if not total:
        raise UserError("has no samples")
    if total / rate < said - _SHORT:
        raise UserError(f"truncated or damaged, {total / rate:.2f} of {said:.2f} s could be read")


def _blocks(container: Any, stream: Any) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (S, C) float32 and their rate, all in the form of the first frame."""
    from av import AudioResampler

    same: dict[tuple[str, str, int], Any] = {}
    first = None
    for frame in container.decode(stream):
        first = first or (frame.layout.name, frame.sample_rate)
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form not in same:
            same[form] = AudioResampler("fltp", *first)
        for changed in same[form].resample(frame):
            yield changed.to_ndarray().T, first[1]
