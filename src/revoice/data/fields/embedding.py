"""The speaker embedding of each utterance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revoice.audio.speaker import speaker_encoder
from revoice.data.fields.base import FIELDS, Field
from revoice.data.fields.clip import Clip


@FIELDS.register("embedding")
@dataclass(frozen=True)
class Embedding(Field):
    """Resemblyzer's GE2E embedding (256,), of length 1; it needs no feature spec, so all presets share it."""

    dtype = "float32"

    def parameters(self) -> dict[str, Any]:
        """Which encoder made them: others' vectors are not comparable."""
        return {"encoder": "resemblyzer-ge2e"}

    @property
    def per_frame(self) -> None:
        """One vector per utterance."""
        return None

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(256,) per clip, computed in one batch."""
        return list(speaker_encoder().embed([clip.audio for clip in clips]).numpy())
