"""The critic of Anonymous-VC: fastai's `gan_critic` with self-attention, by its printed sizes."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from revoice.critics.base import CRITICS, Critic, Judged, beside, require_given
from revoice.errors import UserError
from revoice.nn.self_attention import SelfAttention2d
from revoice.settings import Flag, Natural, Whole

_DROPPED = 0.15  # of the channels between layers; half of it behind the first
_LEAST = 64  # rows and frames that leave one place at the end


class _Dense(nn.Module):
    """What goes in, beside what two convolutions make of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(width, width, 3, 1, 1), _layer(width, width, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


@CRITICS.register("attention")
class AttentionCritic(Critic):
    """Scores patches of a picture through five halvings, all weights with spectral norm; every place sees every other.

    Args:
        channels: of what is judged; features (B, F, T) are a picture of one channel.
        given_channels: of what it is judged beside; published: 0, it sees the picture alone.
        width: channels of the first layer, which double with each halving.
        attention: whether it looks around, after the second halving: memory grows with the square of the picture.
    """

    conditional = True

    def __init__(
        self,
        channels: Annotated[Whole, Field(ge=1, le=1 << 12)] = 3,
        given_channels: Annotated[Natural, Field(le=1 << 12)] = 0,
        width: Annotated[Whole, Field(ge=8, le=1 << 12)] = 128,
        attention: Flag = True,
    ) -> None:
        super().__init__()
        self.given_channels = given_channels
        second = [_layer(2 * width, 4 * width, 4, 2, 1)]
        look: list[nn.Module] = [SelfAttention2d(4 * width)] if attention else []
        self.layers = nn.ModuleList([
            nn.Sequential(_layer(channels + given_channels, width, 4, 2, 1), nn.Dropout2d(_DROPPED / 2)),
            nn.Sequential(_Dense(width), nn.Dropout2d(_DROPPED)),
            nn.Sequential(*second, *look, nn.Dropout2d(_DROPPED)),
            nn.Sequential(_layer(4 * width, 8 * width, 4, 2, 1), nn.Dropout2d(_DROPPED)),
            _layer(8 * width, 16 * width, 4, 2, 1),
        ])  # fmt: skip
        self.last = spectral_norm(nn.Conv2d(16 * width, 1, 4, bias=False))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """(B, C, H, W) or (B, F, T), and what it is judged beside -> verdicts of one sub-critic."""
        require_given(self, self.given_channels, given)
        if min(x.shape[-2:]) < _LEAST:
            raise UserError(
                f"critic {self.name} sees {_LEAST} x {_LEAST} rows and frames at least, not {x.shape[-2]} x "
                f"{x.shape[-1]}: take longer crops, or critic patch"
            )
        h, maps = beside(x, given), []
        for layer in self.layers:
            h = layer(h)
            maps.append(h)
        return Judged([self.last(h).flatten(1)], [maps])


def _layer(narrow: int, wide: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    layer = nn.Conv2d(narrow, wide, kernel, stride, padding)
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(spectral_norm(layer), nn.LeakyReLU(0.2))
