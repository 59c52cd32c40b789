"""Short recordings in every container, and ways to damage them."""

import io
import random
import struct
from functools import cache

import numpy as np
import soundfile
from data_helpers import tone

KINDS = (
    ("wav", "WAV", "PCM_16"), ("wav", "WAV", "FLOAT"), ("wav", "WAV", "PCM_24"), ("wav", "WAV", "IMA_ADPCM"),
    ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III"),
    ("aiff", "AIFF", "PCM_16"),
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 8, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@cache
def recordings() -> list[tuple[str, bytes]]:
    """(suffix, bytes) of valid files of a third of a second, mono and stereo."""
    found = []
    for suffix, container, subtype in KINDS:
        for channels in (1, 2):
            rate = 48000 if suffix == "opus" else 16000
            data = io.BytesIO()
            sound = np.stack([tone(0.3, 110 + 40 * channels, rate, seed) for seed in range(channels)], axis=1)
            soundfile.write(data, sound, rate, format=container, subtype=subtype)
            found.append((suffix, data.getvalue()))
    return found


def mutate(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """One to four damages: flipped bits, cuts, splices, zeros, numbers in the header, files glued together."""
    for _ in range(draw.randint(1, 4)):
        if not data:
            return data
        at, size = draw.randrange(len(data)), draw.randrange(1, max(2, len(data) // 4))
        kind = draw.randrange(9)
        if kind == 0:  # bits anywhere
            changed = bytearray(data)
            for _ in range(draw.randint(1, 30)):
                changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            data = bytes(changed)
        elif kind == 1:  # bits of the header
            changed = bytearray(data)
            for _ in range(draw.randint(1, 6)):
                changed[draw.randrange(min(len(data), 128))] ^= 1 << draw.randrange(8)
            data = bytes(changed)
        elif kind == 2:
            data = data[:at]
        elif kind == 3:
            data = data[:at] + bytes(size) + data[at + size :]
        elif kind == 4:  # a number in the header
            field = draw.randrange(min(len(data), 128))
            number = struct.pack(draw.choice("<>") + draw.choice("HI"), 0) if draw.random() < 0.1 else None
            number = number or struct.pack(draw.choice(("<I", ">I")), draw.choice(NUMBERS))[-draw.choice((2, 4)) :]
            data = data[:field] + number + data[field + len(number) :]
        elif kind == 5:  # a part of another file
            other = draw.choice(others)
            start = draw.randrange(len(other))
            data = data[:at] + other[start : start + size] + data[at:]
        elif kind == 6:
            data = data + draw.choice(others)
        elif kind == 7:  # a part is missing
            data = data[:at] + data[at + size :]
        else:  # noise
            data = data[:at] + draw.randbytes(size) + data[at + size :]
    return data
