"""HiFi-GAN's multi-scale critic (Kong, Kim and Bae, arXiv:2010.05646, after MelGAN's, arXiv:1910.06711)."""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm

from revoice.critics.base import CRITICS, Critic, Judged, SubCritic, gathered, require_waveforms
from revoice.settings import Whole

# input and output width in multiples of the first, kernel, stride, groups
_LAYERS = (
    (1, 1, 41, 2, 4),
    (1, 2, 41, 2, 16),
    (2, 4, 41, 4, 16),
    (4, 8, 41, 4, 16),
    (8, 8, 41, 1, 16),
    (8, 8, 5, 1, 1),
)


@CRITICS.register("scale")
class ScaleCritic(Critic):
    """Sub-critics of the waveform, of its averages over 2 samples, 4, and so on, the first with spectral norm.

    Spectral norm is torch's older `spectral_norm`, whose power iteration takes its two steps in the published order
    (the newer parametrization takes them the other way around, and its norm lags by half an iteration): its vectors
    move at every call in training mode, after which `copy.deepcopy` refuses it (build another and load its state).

    Args:
        scales: sub-critics; each one sees half the samples of the one before.
        width: channels of the first layer; the widest have 8 times as many.
    """

    def __init__(
        self,
        scales: Annotated[Whole, Field(ge=1, le=16)] = 3,
        width: Annotated[Whole, Field(ge=16, le=1 << 10, multiple_of=16)] = 128,
    ) -> None:
        super().__init__()
        self.critics = nn.ModuleList(SubCritic(_layers(width, first=i == 0)) for i in range(scales))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """Waveforms (B, S) -> verdicts."""
        require_waveforms(self, x, given, 2 ** len(self.critics))
        seen = [x[:, None]]
        for _ in self.critics[1:]:
            seen.append(F.avg_pool1d(seen[-1], 4, 2, padding=2))
        return gathered(critic(each) for critic, each in zip(self.critics, seen, strict=True))


def _layers(width: int, first: bool) -> list[nn.Module]:
    layers = [
        nn.Conv1d(1, width, 15, padding=7),
        *(nn.Conv1d(i * width, o * width, k, s, padding=k // 2, groups=g) for i, o, k, s, g in _LAYERS),
        nn.Conv1d(8 * width, 1, 3, padding=1),
    ]
    return [spectral_norm(layer) if first else weight_norm(layer) for layer in layers]
