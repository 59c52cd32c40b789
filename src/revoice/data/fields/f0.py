"""Fundamental frequency, aligned with the feature frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revoice.audio.pitch import ANALYSIS_RATE, METHODS, pitch_for
from revoice.audio.spec import FeatureSpec
from revoice.data.fields.base import FIELDS, Field, frame_rule
from revoice.data.fields.clip import Clip
from revoice.errors import UserError, choices

LOWEST, HIGHEST = 10.0, 4000.0  # Hz; the search takes windows of some periods of the lowest


@FIELDS.register("f0")
@dataclass(frozen=True)
class F0(Field):
    """f0 (T,) in Hz, 0 where unvoiced; a frame is voiced where f0 > 0.

    Attributes:
        spec: gives the frames.
        method: "dio" (with StoneMask) or "harvest".
        floor, ceil: search range in Hz.
        rate: Hz that clips are resampled to for the search; None searches at the spec's rate.
    """

    spec: FeatureSpec
    method: str = "dio"
    floor: float = 60.0
    ceil: float = 600.0
    rate: int | None = ANALYSIS_RATE
    dtype = "float32"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise choices(self.method, METHODS, "pitch method")
        if not LOWEST <= self.floor < self.ceil <= HIGHEST:
            raise UserError(
                f"pitch range {self.floor:g}..{self.ceil:g} Hz: expected floor < ceil, both {LOWEST:g}..{HIGHEST:g}"
            )
        if self.rate is not None and not 1000 <= self.rate <= 192_000:
            raise UserError(f"pitch is searched at rate={self.rate}: expected 1000..192000 Hz, or null")

    def parameters(self) -> dict[str, Any]:
        """Frame positions and search settings."""
        search = {"method": self.method, "floor": float(self.floor), "ceil": float(self.ceil), "rate": self.rate}
        return {**frame_rule(self.spec), **search}

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """(T,) per clip."""
        return [self.contour(clip.at(self.spec.sample_rate)) for clip in clips]

    def contour(self, samples: np.ndarray) -> np.ndarray:
        """f0 (T,) of samples (S,) at the spec's rate."""
        return pitch_for(samples, self.spec, self.method, self.floor, self.ceil, self.rate).f0
