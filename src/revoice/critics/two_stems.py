"""The conditional critic of VoicePix2Pix, after the Chainer version of pix2pix."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from revoice.critics.base import CRITICS, Critic, Judged, SubCritic, gathered
from revoice.errors import UserError
from revoice.nn.batch_norm import BatchNorm2d
from revoice.settings import Count, Whole

_LEAST = 16


@CRITICS.register("two_stems")
class TwoStems(Critic):
    """Scores patches of a picture beside what it was made from; each is looked at by a layer of its own first.

    Args:
        channels: of what is judged.
        given_channels: of what it was made from.
        width: channels of either first layer (published: 32); the next have 4, 8 and 16 times as many.
    """

    conditional = True

    @classmethod
    def batchwise(cls, settings: Mapping[str, Any]) -> bool:
        """It has a batch normalization, as published."""
        return True

    def __init__(
        self,
        channels: Annotated[Count, Field(le=1 << 12)] = 2,
        given_channels: Annotated[Count, Field(le=1 << 12)] = 2,
        width: Annotated[Whole, Field(ge=1, le=1 << 10)] = 32,
    ) -> None:
        super().__init__()
        self.stems = nn.ModuleList(nn.Conv2d(each, width, 4, 2, 1) for each in (channels, given_channels))
        layers: list[nn.Module] = []
        for narrow, wide in ((2, 4), (4, 8), (8, 16)):
            layers.append(nn.Sequential(nn.Conv2d(narrow * width, wide * width, 4, 2, 1), BatchNorm2d(wide * width)))
        self.critic = SubCritic([*layers, nn.Conv2d(16 * width, 1, 3, padding=1)], slope=0.2)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """(B, C, H, W) or (B, F, T) and what it was made from, of equal size -> verdicts of one sub-critic."""
        if given is None:
            raise UserError(f"critic {self.name} judges beside a condition: set given: true, or take critic patch")
        if min(x.shape[-2:]) < _LEAST:
            raise UserError(f"critic {self.name} sees {_LEAST} x {_LEAST} rows and frames at least: take longer crops")
        parts = [part[:, None] if part.ndim == 3 else part for part in (x, given)]
        seen = [nn.functional.leaky_relu(stem(part), 0.2) for stem, part in zip(self.stems, parts, strict=True)]
        return gathered([self.critic(torch.cat(seen, dim=1))])
