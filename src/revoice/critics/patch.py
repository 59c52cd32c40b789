"""PatchGAN: the critic of pix2pix (Isola et al., arXiv:1611.07004, section 3.2.2 and appendix 6.1.2)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from revoice.critics.base import CRITICS, Critic, Judged, SubCritic, beside, gathered, require_given
from revoice.errors import UserError
from revoice.nn.batch_norm import BatchNorm2d
from revoice.settings import Count, Natural, Whole

Norm = Literal["batch", "instance", "spectral", "none"]
Depth = Annotated[Whole, Field(ge=1, le=8)]


@CRITICS.register("patch")
class PatchCritic(Critic):
    """Scores every patch of a picture, alone or beside what it was made from.

    Args:
        channels: of what is judged; features (B, F, T) are a picture of one channel.
        given_channels: of what it is judged beside, 0 for nothing.
        width: channels of the first layer; they double with every layer, up to 8 times.
        depth: layers of stride 2; 3 see patches of 70 x 70.
        norm: between the first and the last layer: "batch" (as published, over all processes; not for gradient
            penalties), "instance", "spectral" (of the weights) or "none": no item depends on another.
    """

    conditional: ClassVar[bool] = True

    @classmethod
    def batchwise(cls, settings: Mapping[str, Any]) -> bool:
        """By default and with `norm=batch`."""
        return settings.get("norm", "batch") == "batch"

    def __init__(
        self,
        channels: Annotated[Count, Field(le=1 << 12)] = 1,
        given_channels: Annotated[Natural, Field(le=1 << 12)] = 0,
        width: Annotated[Whole, Field(ge=1, le=1 << 12)] = 64,
        depth: Depth = 3,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.given_channels = given_channels
        self.least = 3 * 2**depth  # what its strides and the edges of the last two layers leave one place of
        self.critic = SubCritic(_layers(channels + given_channels, width, depth, norm), slope=0.2)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """(B, C, H, W) or (B, F, T), and what it is judged beside, of equal size -> verdicts of one sub-critic."""
        require_given(self, self.given_channels, given)
        if min(x.shape[-2:]) < self.least:
            raise UserError(
                f"critic {self.name} sees {self.least} x {self.least} bands and frames at least, not "
                f"{x.shape[-2]} x {x.shape[-1]}: take longer crops or less depth"
            )
        return gathered([self.critic(beside(x, given))])


def _layers(channels: int, width: int, depth: int, norm: Norm) -> list[nn.Module]:
    widths = [width * min(2**i, 8) for i in range(depth + 1)]
    layers: list[nn.Module] = [_conv(channels, width, 2)]
    for i, (narrow, wide) in enumerate(pairwise(widths), 1):
        layers.append(_normed(_conv(narrow, wide, 1 if i == depth else 2), norm))
    return [*layers, _conv(widths[-1], 1, 1)]


def _conv(narrow: int, wide: int, stride: int) -> nn.Conv2d:
    """A layer over 4 x 4 places, its weights drawn as published."""
    layer = nn.Conv2d(narrow, wide, 4, stride, padding=1)
    nn.init.normal_(layer.weight, std=0.02)
    return layer


def _normed(layer: nn.Conv2d, norm: Norm) -> nn.Module:
    if norm == "batch":
        return nn.Sequential(layer, BatchNorm2d(layer.out_channels))
    if norm == "instance":
        return nn.Sequential(layer, nn.InstanceNorm2d(layer.out_channels))
    return spectral_norm(layer) if norm == "spectral" else layer
