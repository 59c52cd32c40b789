"""The U-Nets of pix2pix: the literal one (VoicePix2Pix, after Isola et al., arXiv:1611.07004), and a small one."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.nn.batch_norm import BatchNorm2d
from revoice.nn.collective import processes

WIDTHS = (16, 32, 64, 128, 128, 128, 128, 128)  # as published: seven halvings
DROPPED = 3  # innermost layers of the decoder with dropout
PATCH = (4, 2)  # rows and frames of the small network's patches
LIKE = 2.5  # (image - 0.5) times this has about unit deviation


class LiteralUNet(nn.Module):
    """Strided convolutions down to one place of 128 x 128, transposed ones back, each beside its mirror image.

    Rows and frames must be multiples of 128. Batch normalization has nothing to normalize by in training where a batch
    comes down to a single place.
    """

    multiple = 2 ** (len(WIDTHS) - 1)

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(WIDTHS))
        self.down_norms = nn.ModuleList(BatchNorm2d(b) for b in WIDTHS[1:])
        ways = list(pairwise(reversed(WIDTHS)))  # from the innermost outwards
        self.up = nn.ModuleList(nn.ConvTranspose2d(a * (1 + (i > 0)), b, 4, 2, 1) for i, (a, b) in enumerate(ways))
        self.up_norms = nn.ModuleList(BatchNorm2d(b) for _, b in ways)
        self.last = nn.Conv2d(2 * WIDTHS[0], out, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, R, T) -> (B, C', R, T)."""
        places = len(image) * image.shape[2] * image.shape[3] // self.multiple**2
        if self.training and places * processes() < 2:
            raise UserError(
                f"model.generator=literal comes down to one place of a crop of {self.multiple} rows and frames, whose "
                f"mean is itself: take longer crops, model.frames={2 * self.multiple}, or data.batch_size=2"
            )
        x, seen = self.first(image), []
        for layer, norm in zip(self.down, self.down_norms, strict=True):
            seen.append(x)
            x = F.leaky_relu(norm(layer(x)), 0.2)
        for number, (layer, norm, skip) in enumerate(zip(self.up, self.up_norms, reversed(seen), strict=True)):
            x = norm(layer(x))
            if number < DROPPED:
                x = F.dropout(x, 0.5, self.training)
            x = torch.cat([F.relu(x), skip], dim=1)
        return self.last(x)


class SmallUNet(nn.Module):
    """A correction of the input, by a U-Net over patches of 4 rows x 2 frames that is told which row it looks at.

    What the input holds already (pitch, words, pauses) passes beside it, and the patches keep the finest maps small:
    minutes of a CPU core suffice.

    Args:
        channels: of the input; its first are corrected.
        out: channels made, at most as many.
        widths: of each resolution, the finest first.
    """

    def __init__(self, channels: int, out: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = max(PATCH) * 2 ** (len(widths) - 1)
        size, edge = (2 * PATCH[0], 2 * PATCH[1]), (PATCH[0] // 2, PATCH[1] // 2)
        self.first = nn.Conv2d(channels + 1, widths[0], size, PATCH, edge)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.down_blocks = nn.ModuleList(_block(width, width) for width in widths[1:])
        outwards = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in outwards)
        self.up_blocks = nn.ModuleList(_block(2 * b, b) for _, b in outwards)
        self.last = nn.ConvTranspose2d(widths[0], out, size, PATCH, edge)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, R, T), R and T multiples of `multiple` -> (B, C', R, T)."""
        row = torch.linspace(-1, 1, image.shape[2], device=image.device, dtype=image.dtype)
        place = row[:, None].expand(len(image), 1, -1, image.shape[3])
        x, seen = self.first(torch.cat([(image - 0.5) * LIKE, place], dim=1)), []
        for layer, block in zip(self.down, self.down_blocks, strict=True):
            seen.append(x)
            x = block(layer(x))
        for layer, block, skip in zip(self.up, self.up_blocks, reversed(seen), strict=True):
            x = block(torch.cat([F.interpolate(layer(x), scale_factor=2.0), skip], dim=1))
        made = self.last(x)
        return image[:, : made.shape[1]] + made / LIKE


def _block(narrow: int, wide: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(narrow, wide, 3, padding=1, bias=False), BatchNorm2d(wide), nn.GELU())
