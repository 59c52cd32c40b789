"""The waveform, cut or padded to whole frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revoice.audio.spec import FeatureSpec
from revoice.data.fields.base import FIELDS, Field
from revoice.data.fields.clip import Clip

FULL_SCALE = 32767.0


@FIELDS.register("waveform")
@dataclass(frozen=True)
class Waveform(Field):
    """Samples (T x hop,) at the spec's rate as 16-bit integers: frame t owns samples t hop ... (t + 1) hop."""

    spec: FeatureSpec
    dtype = "int16"

    def parameters(self) -> dict[str, Any]:
        """Sample rate and frames."""
        return self.spec.frame_rule()

    @property
    def per_frame(self) -> float:
        """A hop of samples to every frame."""
        return self.spec.hop

    @property
    def scale(self) -> float:
        """What brings the stored integers back to -1..1."""
        return 1.0 / FULL_SCALE

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(T x hop,) per clip; full scale is +-32767."""
        return [self._whole_frames(clip.at(self.spec.sample_rate)) for clip in clips]

    def _whole_frames(self, samples: np.ndarray) -> np.ndarray:
        size = self.spec.frames(len(samples)) * self.spec.hop
        samples = np.pad(samples, (0, max(0, size - len(samples))))[:size]
        return np.round(samples.clip(-1.0, 1.0) * FULL_SCALE).astype(np.int16)
