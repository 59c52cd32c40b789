"""What every vocoder is: features in, waveform out, for one kind of features."""

from typing import Any

from torch import Tensor

from revoice.audio.spec import FeatureSpec
from revoice.registry import Registry
from revoice.trainable import Trainable

VOCODERS: "Registry[Vocoder]" = Registry("vocoder", "revoice.vocoders")


class Vocoder(Trainable):
    """Base of all vocoders; most need no training, `vocoders.neural` is for those that do.

    Args:
        spec: the features it understands; `fingerprint` is theirs.
    """

    trained = False

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self._spec = spec
        self.settings: dict[str, Any] = {}  # what a conversion's record says of it

    @property
    def spec(self) -> FeatureSpec:
        """The features it understands."""
        return self._spec

    @property
    def fingerprint(self) -> str:
        """Acoustic fingerprint of its features."""
        return self._spec.fingerprint

    def fuse(self) -> None:
        """Called before speaking alone: what only training needs may be merged into the weights."""

    def forward(self, features: Tensor, f0: Tensor | None = None, like: Tensor | None = None) -> Tensor:
        """Un-standardized features (B, F, T) -> waveform (B, spec.samples(T)).

        `f0` (B, T) is their pitch in Hz, 0 where unvoiced, if it is known; `like`
        (B, S) is a waveform whose phases may be near theirs. A vocoder may use them or not.
        """
        raise NotImplementedError
