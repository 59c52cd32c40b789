"""Every kind of file that a folder of recordings should not hold, and what is said of each."""

import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000

# file name -> a part of the reason for which it is refused
REFUSED = {
    "empty.wav": "is empty",
    "cut.flac": "truncated or damaged",
    "head.flac": "",
    "text.wav": "not readable as audio",
    "text.mp3": "not readable as audio",
    "no samples.wav": "has no samples",
    "silence.wav": "is silent",
    "offset alone.wav": "is silent",
    "nearly silent.wav": "is silent",
    "nan.wav": "not finite",
    "inf.wav": "not finite",
    "absurd.wav": "samples of 1e+30",
    "millisecond.wav": "too short",
    "a million channels.wav": "not readable as audio",
    "rate of nought.wav": "not readable as audio",
    "rate of a billion.wav": "1000000000 samples a second",
    "rate of a hundred.wav": "100 samples a second",
    "claims years.flac": "truncated or damaged",
    "claims no length.flac": "does not tell its length",
    "folder.wav": "is a folder",
    "broken link.wav": "is a link to nothing",
    "loop.wav": "is a link to nothing",
    "pipe.wav": "not a regular file",
    "socket.wav": "not a regular file",
}

# odd, but of use
USABLE = (
    "clipped.wav", "offset.wav", "8 channels.wav", "192 kHz.wav", "8 bit.wav", "0.05 s.wav", "it's \"quoted\".wav",
    "日本 é.wav", "new\nline.wav", "line\u2028separator.wav", "claims too much.wav", "#,[x]=${y}{z}.flac",
    "n" * 150 + ".wav",
)  # fmt: skip


def voice(seconds: float = 0.6, rate: int = RATE, f0: float = 130.0) -> np.ndarray:
    """A harmonic tone with noise, (S,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, 12))
    return (0.1 * sound + 0.003 * np.random.default_rng(round(f0)).standard_normal(len(time))).astype(np.float32)


def wav(data: bytes, rate: int = RATE, channels: int = 1, claim: int | None = None) -> bytes:
    """A WAV of 16 bits whose header says whatever is wanted."""
    size = len(data) if claim is None else claim
    head = struct.pack("<IHHIIHH", 16, 1, channels, rate, (2 * rate * channels) % 2**32, 2 * channels % 2**16, 16)
    return (
        b"RIFF" + struct.pack("<I", (36 + size) % 2**32) + b"WAVEfmt " + head + b"data" + struct.pack("<I", size) + data
    )


def flac(folder: Path, samples: int) -> bytes:
    """A FLAC whose header claims so many samples."""
    path = folder / "whole.flac"
    soundfile.write(path, voice(), RATE)
    data = bytearray(path.read_bytes())
    path.unlink()
    data[21] = data[21] & 0xF0 | samples >> 32  # STREAMINFO: 36 bits
    data[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    return bytes(data)


def write_hostile(folder: Path) -> list[Path]:
    """Put every file of `REFUSED` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pcm = (voice() * 30000).astype("<i2").tobytes()
    cut = flac(folder, 9600)
    floats = {
        "silence.wav": np.zeros(8000), "offset alone.wav": np.full(8000, 0.4), "nearly silent.wav": voice() * 1e-4,
        "nan.wav": np.where(np.arange(9600) == 5, np.nan, voice()),
        "inf.wav": np.where(np.arange(9600) == 5, np.inf, voice()),
        "absurd.wav": np.where(np.arange(9600) == 5, 1e30, voice()), "millisecond.wav": voice(0.001),
        "no samples.wav": np.zeros(0),
    }  # fmt: skip
    for name, samples in floats.items():
        soundfile.write(folder / name, samples.astype(np.float32), RATE, subtype="FLOAT")
    bytes_of = {
        "empty.wav": b"", "cut.flac": cut[: len(cut) // 2], "head.flac": b"fLaC" + bytes(40),
        "text.wav": b"this is not audio\n" * 50, "text.mp3": b"this is not audio\n" * 50,
        "a million channels.wav": wav(pcm, channels=65535), "rate of nought.wav": wav(pcm, rate=0),
        "rate of a billion.wav": wav(pcm, rate=10**9), "rate of a hundred.wav": wav(pcm, rate=100),
        "claims years.flac": flac(folder, 2**36 - 1), "claims no length.flac": flac(folder, 0),
    }  # fmt: skip
    for name, data in bytes_of.items():
        (folder / name).write_bytes(data)
    (folder / "folder.wav").mkdir()
    (folder / "broken link.wav").symlink_to(folder / "gone.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(folder / "pipe.wav")
    here = os.getcwd()
    os.chdir(folder)  # the name of a socket may have 107 letters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.wav")
    os.chdir(here)
    return [folder / name for name in REFUSED]


def write_usable(folder: Path) -> list[Path]:
    """Put every file of `USABLE` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sounds = {name: (voice(f0=100.0 + 5 * number), RATE) for number, name in enumerate(USABLE)}
    sounds["clipped.wav"] = np.clip(20 * voice(), -1, 1), RATE
    sounds["offset.wav"] = voice() + 0.4, RATE
    sounds["8 channels.wav"] = np.stack([voice(f0=100 + k) for k in range(8)], axis=1), RATE
    sounds["192 kHz.wav"] = voice(rate=192000), 192000
    sounds["0.05 s.wav"] = voice(0.05), RATE
    for name, (samples, rate) in sounds.items():
        soundfile.write(folder / name, samples, rate, subtype="PCM_U8" if name == "8 bit.wav" else "PCM_16")
    (folder / "claims too much.wav").write_bytes(wav((voice() * 30000).astype("<i2").tobytes(), claim=2**31))
    return [folder / name for name in USABLE]


def write_ordinary(root: Path, speakers: int = 3, clips: int = 4) -> None:
    """A corpus of one folder per speaker."""
    for s in range(speakers):
        (root / f"s{s}").mkdir(parents=True, exist_ok=True)
        for c in range(clips):
            soundfile.write(root / f"s{s}" / f"clip{c}.wav", voice(0.8 + 0.1 * c, f0=100 + 20 * s + 3 * c), RATE)


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: the system refuses the write, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
