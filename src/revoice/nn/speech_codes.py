"""Speech taken apart: what is said, at what pace, and with what melody, each as a sequence of narrow codes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpeechCodes:
    """The codes of a batch of clips, as many steps each as its encoder makes of the frames.

    Attributes:
        content: (B, N, C).  rhythm: (B, N', C').  pitch: (B, N'', C'').
        frames: T of the features that they are of; the steps stand for some more, up to a multiple of the encoders'.
        energy: (B, M, 1), loudness over time, which is no part of what a decoder is told; None: nobody asked for it.
    """

    content: Tensor
    rhythm: Tensor
    pitch: Tensor
    frames: int
    energy: Tensor | None = None

    @property
    def pitch_rhythm(self) -> Tensor:
        """What makes the prosody (B, N, C'' + C'), pitch first."""
        return torch.cat([self.pitch, self.rhythm], dim=-1)

    def with_pitch_rhythm(self, prosody: Tensor) -> "SpeechCodes":
        """The same words with another prosody, as `pitch_rhythm` gives it."""
        pitch, rhythm = prosody.split([self.pitch.shape[-1], self.rhythm.shape[-1]], dim=-1)
        return replace(self, pitch=pitch, rhythm=rhythm)

    def scaled(
        self, content: float = 1.0, rhythm: float = 1.0, pitch: float = 1.0, energy: float = 1.0
    ) -> "SpeechCodes":
        """Codes times factors: a cheap change of style."""
        return replace(
            self, content=self.content * content, rhythm=self.rhythm * rhythm, pitch=self.pitch * pitch,
            energy=None if self.energy is None else self.energy * energy,
        )  # fmt: skip
