"""Fundamental frequency, aligned with the feature frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field as Bounded

from revoice.audio.pitch import ANALYSIS_RATE, pitch_for, searched_at
from revoice.audio.pitch_network import weights_mark
from revoice.audio.spec import FeatureSpec
from revoice.data.fields.base import FIELDS, Field
from revoice.data.fields.clip import Clip
from revoice.settings import Number, Whole

Search = Literal["dio", "harvest", "world", "rapt", "network"]
Hertz = Annotated[Number, Bounded(ge=10, le=4000)]  # the search takes windows of some periods of the lowest


@FIELDS.register("f0")
@dataclass(frozen=True)
class F0(Field):
    """f0 (T,) in Hz, 0 where unvoiced; a frame is voiced where f0 > 0.

    Attributes:
        spec: gives the frames.
        method: "dio" (with StoneMask), "harvest", "world", "rapt" (`pip install 'revoice[rapt]'`) or "network", see
            `revoice.audio.pitch.pitch`.
        floor, ceil: search range in Hz.
        rate: Hz that clips are resampled to for the search; None searches at the spec's rate.
    """

    spec: FeatureSpec
    method: Search = "dio"
    floor: Hertz = 60.0
    ceil: Hertz = 600.0
    rate: Annotated[Whole, Bounded(ge=1000, le=192_000)] | None = ANALYSIS_RATE
    dtype = "float32"

    def __post_init__(self) -> None:
        searched_at(self.spec.sample_rate, self.method, self.floor, self.ceil, self.rate)

    def parameters(self) -> dict[str, Any]:
        """Frame positions and search settings."""
        search = {"method": self.method, "floor": float(self.floor), "ceil": float(self.ceil), "rate": self.rate}
        weights = {"weights": weights_mark()} if self.method == "network" else {}
        return {**self.spec.frame_rule(), **search, **weights}

    def compute(self, clips: Sequence[Clip]) -> list[np.ndarray]:
        """The contour (T,) of each clip in Hz, 0 where it is unvoiced."""
        return [self.contour(clip.at(self.spec.sample_rate)) for clip in clips]

    def contour(self, samples: np.ndarray) -> np.ndarray:
        """f0 (T,) of samples (S,) at the spec's rate."""
        return pitch_for(samples, self.spec, self.method, self.floor, self.ceil, self.rate).f0
