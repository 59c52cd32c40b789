"""An invertible step between waveforms and noise: channels are mixed, then one half tells about the other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class Mix(nn.Module):
    """An invertible 1x1 convolution (Kingma and Dhariwal, arXiv:1807.03039): it begins as a rotation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        weight = nn.init.orthogonal_(torch.empty(channels, channels))
        with torch.no_grad():
            weight[:, 0] *= torch.det(weight).sign()
        self.weight = nn.Parameter(weight[:, :, None])
        self.fixed: Tensor | None = None  # the inverse, of weights that learn no more

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, N), in 32 bits at least: the waveform itself goes through here."""
        with torch.autocast(x.device.type, enabled=False):
            return F.conv1d(x, self.weight.to(x.dtype))

    def log_determinant(self) -> Tensor:
        """Natural logarithm of |det W|, of one group of samples; of a W that mirrors, too."""
        return torch.linalg.slogdet(self.weight[..., 0]).logabsdet

    def inverse(self, x: Tensor) -> Tensor:
        """`forward` undone, by an inverse that is made anew each time until the weights are fixed."""
        inverse = self._inverted() if self.fixed is None else self.fixed
        with torch.autocast(x.device.type, enabled=False):
            return F.conv1d(x, inverse.to(x))

    def fix(self) -> None:
        """The weights learn no more: their inverse is kept."""
        self.fixed = self._inverted()

    def _inverted(self) -> Tensor:
        """In float64, on the CPU: not every device has that."""
        return torch.linalg.inv(self.weight.detach().cpu().double()[..., 0])[:, :, None]


class Coupling(nn.Module):
    """The network of a step: dilated, gated convolutions that tell from one half what is done to the other.

    Args:
        half: channels of a half.  given: channels of the condition.  channels: C of the layers.
        layers: each with twice the dilation of the one before.  kernel: odd.
    """

    def __init__(self, half: int, given: int, channels: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = weight_norm(nn.Conv1d(half, channels, 1))
        self.condition = weight_norm(nn.Conv1d(given, 2 * channels * layers, 1))
        self.dilated = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, 2 * channels, kernel, dilation=2**i, padding=2**i * (kernel // 2)))
            for i in range(layers)
        )
        out = [2 * channels] * (layers - 1) + [channels]  # of the last, nothing goes on
        self.narrow = nn.ModuleList(weight_norm(nn.Conv1d(channels, size, 1)) for size in out)
        self.last = nn.Conv1d(channels, 2 * half, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """A half (B, half, N) and the condition (B, given, N) -> shift and logarithm of the scale (B, half, N)."""
        x, added = self.first(x), torch.zeros(())
        for i, condition in enumerate(self.condition(given).split(2 * self.channels, dim=1)):
            signal, gate = (self.dilated[i](x) + condition).chunk(2, dim=1)
            out = self.narrow[i](signal.tanh() * gate.sigmoid())
            if i + 1 < len(self.dilated):
                x = x + out[:, : self.channels]
            added = added.to(out) + out[:, -self.channels :]
        with torch.autocast(x.device.type, enabled=False):  # likelihoods are exact in 32 bits, waveforms too
            exact = added if added.dtype == torch.float64 else added.float()
            shift, log_scale = self.last(exact).chunk(2, dim=1)
        return shift, log_scale


class Flow(nn.Module):
    """One step: the channels are mixed, then one half of them is scaled and shifted as the other tells.

    `swapped`: the second half tells about the first, as in odd steps of the published older class.
    """

    def __init__(self, channels: int, given: int, width: int, layers: int, kernel: int, swapped: bool) -> None:
        super().__init__()
        self.swapped = swapped
        self.mix = Mix(channels)
        self.coupling = Coupling(channels // 2, given, width, layers, kernel)

    def forward(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, N) towards noise, the logarithms of the scales (B, C / 2, N), and that of the mix, of all groups."""
        told, other = self._halves(self.mix(x))
        shift, log_scale = self.coupling(told, given)
        mixed = self._whole(told, other * log_scale.exp() + shift)
        return mixed, log_scale, self.mix.log_determinant() * (x.shape[0] * x.shape[2])

    def inverse(self, x: Tensor, given: Tensor) -> Tensor:
        """(B, C, N) towards the waveform."""
        told, other = self._halves(x)
        shift, log_scale = self.coupling(told, given)
        return self.mix.inverse(self._whole(told, (other - shift) * (-log_scale).exp()))

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = x.chunk(2, dim=1)
        return (two, one) if self.swapped else (one, two)

    def _whole(self, told: Tensor, other: Tensor) -> Tensor:
        return torch.cat([other, told] if self.swapped else [told, other], dim=1)
