"""The feature matrix itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revoice.audio.features import extract
from revoice.audio.spec import FeatureSpec
from revoice.data.fields.base import FIELDS, Field
from revoice.data.fields.clip import Clip


@FIELDS.register("features")
@dataclass(frozen=True)
class Features(Field):
    """Features (T, F) of `spec`, stored in the type the spec names (float16 for logarithmic scales)."""

    spec: FeatureSpec

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """The spec's storage type."""
        return self.spec.storage

    def parameters(self) -> dict[str, Any]:
        """The acoustic fingerprint, and what of the spec lies outside it but changes the numbers."""
        return {"fingerprint": self.spec.fingerprint, "dither_seed": self.spec.dither_seed}

    @property
    def padding(self) -> float | list[float]:
        """A frame of digital silence."""
        return list(self.spec.silence_frame) if self.spec.phase else self.spec.silence

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(T, F) per clip."""
        return [extract(clip.at(self.spec.sample_rate), self.spec).T.numpy() for clip in clips]

    def describe(self) -> dict[str, Any]:
        """With the whole spec."""
        return {**super().describe(), "spec": self.spec.to_dict()}
