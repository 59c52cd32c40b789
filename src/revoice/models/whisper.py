"""Whisper's encoder as a model of its own: the teacher that others stand on, read by `import_checkpoint.py`."""

from torch import Tensor

from revoice.models.base import MODELS, Requires, Trainable
from revoice.nn.whisper import WhisperEncoder, WhisperSize
from revoice.settings import Depth, Width


@MODELS.register("whisper")
class Whisper(Trainable):
    """What is said in log-mels of the preset `whisper_16k`; it is not trained here.

    Args:
        n_features: mels F.
        width, heads, layers: see `WhisperSize`.
    """

    trained = False
    preset = "whisper_16k"

    def __init__(self, n_features: Width = 80, width: Width = 384, heads: Width = 6, layers: Depth = 4) -> None:
        super().__init__()
        self.requires = Requires()
        self.encoder = WhisperEncoder(WhisperSize(mels=n_features, width=width, heads=heads, layers=layers))

    def forward(self, log_mel: Tensor) -> Tensor:
        """(B, F, T) -> (B, ceil(T / 2), width)."""
        return self.encoder(log_mel)
