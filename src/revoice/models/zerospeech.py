"""ZeroSpeech's encoder and codes as a model of their own, read by `import_checkpoint.py`: what a VQ-VAE grows from."""

from torch import Tensor

from revoice.models.base import MODELS, Requires, Trainable
from revoice.nn.quantizer import Quantized, Quantizer, QuantizerSize
from revoice.nn.vq_encoder import VQEncoder, VQEncoderSize
from revoice.settings import Width


@MODELS.register("zerospeech")
class ZeroSpeech(Trainable):
    """Features of the preset `zerospeech_16k` to codes, as published; the published autoregressive decoder is not here.

    Args:
        n_features: mels F.
        encoder: `VQEncoderSize`.  quantizer: `QuantizerSize`.
    """

    trained = False
    preset = "zerospeech_16k"
    needs = "a decoder: python train.py model=vqvae_zerospeech init_from={path}"

    def __init__(
        self, n_features: Width = 80, encoder: VQEncoderSize | None = None, quantizer: QuantizerSize | None = None
    ) -> None:
        super().__init__()
        codes = quantizer or QuantizerSize(codebook_size=512, decay=0.999, init="uniform", restart=0.0, jitter=0.5)
        self.requires = Requires()
        self.encoder = VQEncoder(n_features, codes.dim, encoder or VQEncoderSize(), padded=False)
        self.quantizer = Quantizer(codes)

    def forward(self, features: Tensor) -> Quantized:
        """(B, F, T) -> codes (B, (T - 2) / 2): as published, the first convolution is not padded."""
        return self.quantizer(self.encoder(features))
