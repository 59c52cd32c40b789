"""The GE2E encoder of Resemblyzer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio
from revoice.audio.speaker import speaker_encoder
from revoice.evaluation.verification import VERIFIERS, Verifier


@VERIFIERS.register("resemblyzer")
class Resemblyzer(Verifier):
    """Cosine of GE2E embeddings (Wan et al., "Generalized End-to-End Loss for Speaker Verification", 2018).

    Args:
        device: where the encoder runs.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.encoder = speaker_encoder(device)

    def embed(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """Embeddings (N, 256) of length 1."""
        return self.encoder.embed(clips).numpy()
