"""White noise: what hides a voice by hiding everything."""

from typing import Annotated

import numpy as np
from pydantic import Field

from revoice.audio.anonymization import ANONYMIZERS, Anonymizer, Signal
from revoice.settings import Number, Seed


@ANONYMIZERS.register("noise")
class Noise(Anonymizer):
    """Adds white noise. No protection: it shows beside the others that attackers err at will where words are lost.

    Args:
        snr: dB of the speech over the noise.
        seed: of the noise.
    """

    def __init__(self, snr: Annotated[Number, Field(ge=-60, le=100)] = 0.0, seed: Seed = 0) -> None:
        self.snr, self.seed = snr, seed

    def change(self, samples: Signal, sample_rate: int, draws: np.random.Generator) -> Signal:
        """(S,) -> (S,) with noise at the asked-for distance to the mean power."""
        level = np.sqrt(np.mean(samples**2)) * 10.0 ** (-self.snr / 20.0)
        return samples + draws.normal(0.0, level, len(samples)) if level > 0 else samples
