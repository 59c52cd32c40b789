"""Random changes of a spectrogram that keep what is said and change who seems to say it."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from revoice.nn.draws import Draws
from revoice.settings import Number

Perturb = Annotated[Number, Field(ge=0, le=10)]  # standard deviations, a third of what level and tilt move by


def perturbed(features: Tensor, amount: float, draws: Draws, stretch: float | None = None) -> Tensor:
    """Stretch the frequency axis of every item as another vocal tract would, and change its level and spectral tilt.

    Args:
        features: (B, F, T), standardized; rows ordered by frequency.
        amount: level and tilt move by up to 3 * amount standard deviations.
        draws: random numbers, one set per item.
        stretch: bin k is read from k * s, s uniform in 1 +- stretch (edges repeat); None is `amount`, at most 1.

    Returns:
        (B, F, T).
    """
    batch, bins, frames = features.shape
    device = features.device
    longer, level, tilt = (draws.uniform("perturb", 3, device=device) * 2 - 1).unbind(1)
    reach = min(amount, 1.0) if stretch is None else stretch
    position = (torch.arange(bins, device=device) * (1 + reach * longer[:, None])).clamp(max=bins - 1)
    low = position.long().clamp(max=max(bins - 2, 0))
    share = (position - low)[..., None].to(features.dtype)
    index = low[..., None].expand(batch, bins, frames)
    near = features.gather(1, index)
    far = features.gather(1, (index + 1).clamp(max=bins - 1))
    slope = torch.linspace(-1, 1, bins, device=device, dtype=features.dtype)
    change = 3 * amount * (level[:, None] + tilt[:, None] * slope)
    return torch.lerp(near, far, share) + change[..., None].to(features.dtype)
