"""HiFi-GAN's multi-period critic (Kong, Kim and Bae, arXiv:2010.05646, section 2.3)."""

from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from revoice.critics.base import CRITICS, Critic, Judged, SubCritic, gathered, require_waveforms
from revoice.settings import Flag, Kernel, Whole

_GROWTH = (1, 4, 16, 32, 32)  # widths of the five layers in multiples of the first


@CRITICS.register("period")
class PeriodCritic(Critic):
    """Sub-critics that see every p-th sample side by side: periodic structure at scales that do not overlap.

    Args:
        periods: p of each sub-critic, in samples.
        width: channels of the first layer; the others have 4, 16, 32 and 32 times as many.
        first_map: whether the first layer's output counts for feature matching: HiFi-GAN says so, Vocos does not.
    """

    def __init__(
        self,
        periods: Annotated[tuple[Kernel, ...], Field(min_length=1, max_length=64)] = (2, 3, 5, 7, 11),
        width: Annotated[Whole, Field(ge=1, le=1 << 10)] = 32,
        first_map: Flag = True,
    ) -> None:
        super().__init__()
        self.periods = tuple(periods)
        self.critics = nn.ModuleList(SubCritic(_layers(width), first_map=first_map) for _ in self.periods)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """Waveforms (B, S), S at least the longest period -> verdicts."""
        require_waveforms(self, x, given, max(self.periods))
        return gathered(critic(folded(x, p)) for critic, p in zip(self.critics, self.periods, strict=True))


def folded(x: Tensor, period: int) -> Tensor:
    """Samples (B, S), mirrored at the end to a multiple of the period -> (B, 1, S / p, p).

    >>> import torch; folded(torch.arange(5.0)[None], 3)[0, 0].tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 3.0]]
    """
    lacking = -x.shape[1] % period
    if lacking:
        x = F.pad(x[:, None], (0, lacking), mode="reflect")[:, 0]
    return x.view(len(x), 1, -1, period)


def _layers(width: int) -> list[nn.Module]:
    widths = [1, *(width * growth for growth in _GROWTH)]
    strides = (3, 3, 3, 3, 1)
    layers = [
        nn.Conv2d(i, o, (5, 1), (stride, 1), padding=(2, 0))
        for (i, o), stride in zip(pairwise(widths), strides, strict=True)
    ]
    layers.append(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))
    return [weight_norm(layer) for layer in layers]
