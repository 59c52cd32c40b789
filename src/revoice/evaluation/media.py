"""Sound and pictures as data URIs, so that a page needs no other file."""

import base64
import io

import numpy as np
import soundfile

from revoice.audio.io import Audio, resample

SECONDS_MAX = 15.0
RATE_MAX = 24000
_BLOCK = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on much longer writes


def audio_uri(clip: Audio) -> str:
    """Ogg Vorbis of at most the first 15 s, at 24 kHz or less: about 10 kB per second."""
    samples = clip.samples[: int(SECONDS_MAX * clip.sample_rate)]
    rate = min(clip.sample_rate, RATE_MAX)
    samples = resample(samples, clip.sample_rate, rate)
    samples = samples / max(1.0, float(np.abs(samples).max(initial=0.0)))
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, "VORBIS", format="OGG") as file:
        for first in range(0, len(samples), _BLOCK):
            file.write(samples[first : first + _BLOCK])
    return _uri("audio/ogg", buffer.getvalue())


def png_uri(png: bytes) -> str:
    """A PNG as the address of an image that holds itself."""
    return _uri("image/png", png)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
