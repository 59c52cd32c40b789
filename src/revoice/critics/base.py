"""What every critic is: a network that scores how real something looks, and shows what it saw on the way."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.registry import Registry

CRITICS: "Registry[Critic]" = Registry("critic", "revoice.critics")


@dataclass(frozen=True)
class Judged:
    """The verdict of a critic's sub-critics.

    Attributes:
        scores: (B, N) of each sub-critic, one for every place it looks at; higher is more real.
        maps: what each sub-critic's layers gave, for feature matching.
        classes: (B, C) logits of what it takes it for, of critics that tell classes.
    """

    scores: list[Tensor]
    maps: list[list[Tensor]]
    classes: Tensor | None = None


class Critic(nn.Module):
    """Base of all critics.

    Attributes:
        conditional: whether it can judge how something suits something else (`given`).
    """

    name: ClassVar[str]
    conditional: ClassVar[bool] = False

    @classmethod
    def batchwise(cls, settings: Mapping[str, Any]) -> bool:
        """Whether, by these settings, an item's scores depend on others of its batch: alone it has no slope then."""
        return False

    def forward(self, x: Tensor, given: Tensor | None = None) -> Judged:
        """Judge waveforms (B, S) or pictures, as the critic says; `given` only where it is `conditional`."""
        raise NotImplementedError


class SubCritic(nn.Module):
    """Convolutions with leaky rectifiers between them; the last gives the scores.

    Args:
        layers: the convolutions in their order.
        slope: of the rectifiers below zero.
        first_map: whether the first layer's output counts for feature matching.
    """

    def __init__(self, layers: Iterable[nn.Module], slope: float = 0.1, first_map: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.slope, self.first_map = slope, first_map

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, C, ...) -> scores (B, N) and the maps, behind the rectifiers; the last map is the scores' own."""
        maps = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), self.slope)
            maps.append(x)
        x = self.layers[-1](x)
        maps.append(x)
        return x.flatten(1), maps if self.first_map else maps[1:]


def require_waveforms(critic: Critic, x: Tensor, given: Tensor | None, least: int) -> None:
    """Refuse what a critic of waveforms cannot judge: something `given`, and crops of less than `least` samples."""
    assert x.ndim == 2, f"a waveform is (B, S), not {tuple(x.shape)}"
    if given is not None:
        raise UserError(f"critic {critic.name} judges waveforms alone: set given: false, or take critic patch")
    if x.shape[1] < least:
        raise UserError(f"critic {critic.name} needs {least} samples at least, a crop has {x.shape[1]}: make it longer")


def beside(x: Tensor, given: Tensor | None) -> Tensor:
    """Pictures (B, C, H, W) of what is judged and what is given, one behind the other; (B, F, T) is one channel."""
    return torch.cat([part[:, None] if part.ndim == 3 else part for part in (x, given) if part is not None], dim=1)


def require_given(critic: Critic, channels: int, given: Tensor | None) -> None:
    """Refuse a condition that a critic has no channels for, and channels without a condition."""
    if (given is None) != (channels == 0):
        found = "nothing was given" if given is None else "something was given"
        raise UserError(
            f"critic {critic.name} has given_channels={channels} and {found}: set given_channels to its channels and "
            "given: true, or to 0 and given: false"
        )


def gathered(verdicts: Iterable[tuple[Tensor, list[Tensor]]]) -> Judged:
    """The verdicts of several sub-critics in one."""
    scores, maps = zip(*verdicts, strict=True)
    return Judged(list(scores), list(maps))
