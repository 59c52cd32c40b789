"""The small verifier that is trained here: independent of Resemblyzer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from revoice.audio.features import extract
from revoice.audio.io import Audio, is_silent, resample
from revoice.audio.trim import read_speech
from revoice.checkpoint.load import load_checkpoint
from revoice.errors import UserError
from revoice.evaluation.verification import VERIFIERS, Verifier
from revoice.settings import Place

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "voiceprint.safetensors"
EXAMPLE = "python train.py experiment=verifier_real"


@VERIFIERS.register("voiceprint")
class VoiceprintVerifier(Verifier):
    """Cosine of the embeddings of `models.voiceprint`.

    Args:
        path: a checkpoint or run folder of it; None is the one in the package, where there is one.
        device: where it runs.
    """

    def __init__(self, path: Place | None = None, device: str = "cpu") -> None:
        if path is None and self.missing():
            raise UserError(
                f"verifier voiceprint: {self.missing()}: train one ({EXAMPLE}) and give it as second_verifier.path=RUN"
            )
        loaded = load_checkpoint(path or SHIPPED, device)
        if loaded.description.model != "voiceprint":
            raise UserError(f"verifier path={path} holds a {loaded.description.model}: expected a voiceprint")
        self.model: Any = loaded.model.eval()
        self.spec, self.device, self.weights = loaded.spec, device, loaded.sha256
        self.trim_db = loaded.description.trim_db

    @classmethod
    def missing(cls) -> str:
        """Whether weights ship."""
        return "" if SHIPPED.is_file() else "no weights of it are in this installation"

    def embed(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """Embeddings (N, D) of length 1, without the silence at both ends."""
        return np.stack([self._embed(clip) for clip in clips]).astype(np.float32)

    def _embed(self, clip: Audio) -> NDArray[np.float32]:
        if not is_silent(clip.samples):
            clip, _ = read_speech(clip, self.trim_db)
        samples = resample(clip.samples, clip.sample_rate, self.spec.sample_rate)
        samples = np.pad(samples, (0, max(0, self.spec.n_fft - len(samples))))
        features = extract(torch.from_numpy(samples.astype(np.float32)).to(self.device), self.spec)
        with torch.no_grad():
            return self.model.embed(features).cpu().numpy()
