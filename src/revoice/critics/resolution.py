"""The multi-resolution critic of UnivNet (Jang et al., arXiv:2106.07889) and of Vocos (Siuzdak, arXiv:2306.00814)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from revoice.critics.base import CRITICS, Critic, Judged, SubCritic, gathered, require_waveforms
from revoice.settings import Whole

# kernel, stride and padding over (bins, frames)
_LAYERS = (
    ((7, 5), (2, 2), (3, 2)),
    ((5, 3), (2, 1), (2, 1)),
    ((5, 3), (2, 2), (2, 1)),
    ((3, 3), (2, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
)
Size = Annotated[Whole, Field(ge=16, le=1 << 16, multiple_of=4)]


@CRITICS.register("resolution")
class ResolutionCritic(Critic):
    """Sub-critics of the magnitude spectrograms of a waveform, one for each size of frame.

    Args:
        sizes: samples in a frame of each sub-critic; frames are a quarter of that apart.
        width: channels of every layer.
        window: "rectangular", as published, or "hann", which keeps a loud harmonic from hiding what is far from it.
    """

    def __init__(
        self,
        sizes: Annotated[tuple[Size, ...], Field(min_length=1, max_length=16)] = (1024, 2048, 512),
        width: Annotated[Whole, Field(ge=1, le=1 << 12)] = 64,
        window: Literal["rectangular", "hann"] = "rectangular",
    ) -> None:
        super().__init__()
        self.sizes, self.window = tuple(sizes), window
        self.critics = nn.ModuleList(SubCritic(_layers(width)) for _ in self.sizes)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """Waveforms (B, S), S more than half the longest frame -> verdicts."""
        require_waveforms(self, x, given, max(self.sizes) // 2 + 1)
        sizes = zip(self.critics, self.sizes, strict=True)
        return gathered(critic(self.spectrogram(x, size)[:, None]) for critic, size in sizes)

    def spectrogram(self, x: Tensor, size: int) -> Tensor:
        """Magnitudes (B, size / 2 + 1, 4 S / size + 1), in float32 whatever autocast says."""
        with torch.autocast(x.device.type, enabled=False):
            exact = x if x.dtype == torch.float64 else x.float()
            make = torch.ones if self.window == "rectangular" else torch.hann_window
            window = make(size, dtype=exact.dtype, device=x.device)
            return torch.stft(exact, size, size // 4, size, window, return_complex=True).abs()


def _layers(width: int) -> list[nn.Module]:
    layers = [
        nn.Conv2d(width if i else 1, width, kernel, stride, padding)
        for i, (kernel, stride, padding) in enumerate(_LAYERS)
    ]
    return [weight_norm(layer) for layer in [*layers, nn.Conv2d(width, 1, 3, padding=1)]]
