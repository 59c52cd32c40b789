"""Anonymous-VC's generator: a U-Net whose encoder is a ResNet-18 (fastai's DynamicUnet, as printed in its notebook).

ResNet: He et al., arXiv:1512.03385; U-Net: Ronneberger et al., arXiv:1505.04597; sub-pixel convolutions with the
initialization ICNR: Aitken et al., arXiv:1707.02937. Weights are drawn: the published ones start from ImageNet's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from revoice.nn.batch_norm import BatchNorm2d
from revoice.nn.self_attention import SelfAttention2d

MULTIPLE = 32  # of rows and frames, that five halvings leave whole


class ResidualBlock(nn.Module):
    """ResNet's basic block: two convolutions over 3 x 3, beside the input or its projection."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=False), BatchNorm2d(wide),
        )  # fmt: skip
        self.past: nn.Module = nn.Identity()
        if stride != 1:
            self.past = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return F.relu(self.body(x) + self.past(x))


class Encoder(nn.Module):
    """ResNet-18 without its head; what it sees at each of five resolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 64, 7, 2, 3, bias=False), BatchNorm2d(64), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = (64, 64, 128, 256, 512)
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(narrow, wide, 1 if i == 0 else 2), ResidualBlock(wide, wide, 1))
            for i, (narrow, wide) in enumerate(zip(widths, widths[1:], strict=False))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> (B, 64, H / 2, W / 2), then 64, 128, 256 and 512 channels at a 4th, 8th, 16th and 32nd."""
        seen = [self.stem(x)]
        x = self.pool(seen[0])
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        return seen


class Larger(nn.Module):
    """Twice the size by a sub-pixel convolution, then a mean over 2 x 2, which smooths its grid."""

    def __init__(self, narrow: int, out: int) -> None:
        super().__init__()
        layer = nn.Conv2d(narrow, 4 * out, 1)
        with torch.no_grad():  # ICNR: the four pixels of a place begin alike
            nn.init.kaiming_normal_(layer.weight[::4])
            layer.weight.copy_(layer.weight[::4].repeat_interleave(4, dim=0))
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.layer = weight_norm(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', 2 H, 2 W)."""
        x = F.pixel_shuffle(F.relu(self.layer(x)), 2)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class UpBlock(nn.Module):
    """Twice the size, beside what the encoder saw there."""

    def __init__(self, narrow: int, up: int, skip: int, out: int, attention: bool) -> None:
        super().__init__()
        self.larger, self.norm = Larger(narrow, up), BatchNorm2d(skip)
        self.first, self.second = _conv(up + skip, out), _conv(out, out)
        self.attention: nn.Module = SelfAttention2d(out) if attention else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, H, W) and (B, C', 2 H, 2 W) -> (B, C'', 2 H, 2 W)."""
        x = F.relu(torch.cat([self.larger(x), self.norm(skip)], dim=1))
        return self.attention(F.relu(self.second(F.relu(self.first(x)))))


class ResNetUNet(nn.Module):
    """The printed generator: 31 M parameters, no activation at its end.

    Args:
        channels: of the input.
        out: channels made; the published network makes as many as it sees.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        self.norm = BatchNorm2d(512)
        self.middle = nn.Sequential(_conv(512, 1024), nn.ReLU(), _conv(1024, 512), nn.ReLU())
        #  from, shuffled to, beside, out, attention
        sizes = ((512, 256, 256, 512, False), (512, 256, 128, 384, True), (384, 192, 64, 256, False),
                 (256, 128, 64, 96, False))  # fmt: skip
        self.ups = nn.ModuleList(UpBlock(*each) for each in sizes)
        self.last = Larger(96, 96)
        width = 96 + channels
        self.residual = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU())
        self.out = nn.Conv2d(width, out, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, R, T), R and T multiples of 32 -> (B, C', R, T)."""
        *seen, x = self.encoder(image)
        x = self.middle(F.relu(self.norm(x)))
        for up, skip in zip(self.ups, reversed(seen), strict=True):
            x = up(x, skip)
        x = torch.cat([self.last(x), image], dim=1)
        return self.out(x + self.residual(x))


def _conv(narrow: int, wide: int) -> nn.Module:
    layer = nn.Conv2d(narrow, wide, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return weight_norm(layer)
