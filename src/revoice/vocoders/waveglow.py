"""WaveGlow: invertible steps between waveforms and noise (Prenger, Valle and Catanzaro, arXiv:1811.00002)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from revoice.audio.scale import to_log_magnitude
from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.nn.precision import finest
from revoice.settings import Depth, Flag, Frames, NotNegative, OddKernel, Positive, Seed, Width
from revoice.trainable import MODEL, Play
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.flow import Flow, Mix
from revoice.vocoders.neural import NeuralVocoder, Projections

HOPS = 4  # that the kernel of the published upsampling spans
_HUM = 88  # frames of zeros that the published denoiser listens to


@dataclass(frozen=True)
class Encoded:
    """A waveform as noise: `z` (B, groups, N), early outputs first.

    `log_scales` (B, C / 2, N) of every step; `log_determinants`, those of its mix times B N.
    """

    z: Tensor
    log_scales: list[Tensor]
    log_determinants: list[Tensor]


@VOCODERS.register("waveglow")
class WaveGlow(NeuralVocoder):
    """Maximum likelihood alone, no critics: what is said is noise that goes the chain backwards.

    Samples are taken in groups, `groups` channels at a rate as much lower; every `early_every` steps `early_size` of
    them are finished. The condition are the features at the rate of the groups. The defaults are the published 256
    channels (87.9 M parameters with 80 mels; `channels=512` has 268 M). Departures: determinants by `slogdet`, which a
    mirror does not turn into NaN; no inverse is stored; noise is drawn on the CPU, equal on every device.

    Losses: `likelihood`, the negative logarithm of the likelihood per sample, without its constant; below 0 where it
    is good. `loss_sigma` is the deviation of the noise it supposes.

    Args:
        spec: the features; `groups` must divide their hop.
        channels, layers, kernel: of a step's network.
        flows: steps.
        groups: samples taken together.
        early_every, early_size: see above.
        upsample: "learned", a transposed convolution over four frames as published (6.5 M parameters with 80 mels); or
            "linear", between frames, straight to the rate of the groups and without parameters.
        alternate: halves change their roles in odd steps, as in the published older class.
        raw: it hears the features as they are; else as natural logarithms of magnitudes, which most published ones are.
        loss_sigma: see above.
        sigma: deviation of the noise that speaks; 0.6 to 1.
        denoise: share of the hum (what it says of zeros without noise) that is subtracted; published 0.1.
        seed: of the noise.
        frames, gain_db, projections, generated: of the segments that it learns from, see `NeuralVocoder`.

    Raises:
        UserError: groups that do not divide the hop, or of which nothing is left.
    """

    static = False  # determinants wait for the device
    may_change: ClassVar[tuple[str, ...]] = (*NeuralVocoder.may_change, "loss_sigma", "sigma", "denoise", "seed")
    speaking: ClassVar[tuple[str, ...]] = (*NeuralVocoder.speaking, "sigma", "denoise", "seed")

    def __init__(
        self,
        spec: FeatureSpec,
        channels: Width = 256,
        layers: Annotated[Depth, Field(le=16)] = 8,
        kernel: OddKernel = 3,
        flows: Depth = 12,
        groups: Annotated[Width, Field(ge=2, le=256, multiple_of=2)] = 8,
        early_every: Depth = 4,
        early_size: Annotated[Width, Field(ge=2, le=256, multiple_of=2)] = 2,
        upsample: Literal["learned", "linear"] = "learned",
        alternate: Flag = False,
        raw: Flag = False,
        loss_sigma: Positive = 1.0,
        sigma: NotNegative = 0.6,
        denoise: NotNegative = 0.0,
        seed: Seed = 0,
        frames: Frames = 64,
        gain_db: NotNegative = 0.0,
        projections: Projections = 0,
        generated: Flag = False,
    ) -> None:
        super().__init__(spec, frames, gain_db, projections, generated)
        left = groups - early_size * ((flows - 1) // early_every)
        _require_fit(spec.hop, groups, left)
        self.groups, self.early_every, self.early_size = groups, early_every, early_size
        self.raw, self.loss_sigma, self.sigma, self.denoise, self.seed = raw, loss_sigma, sigma, denoise, seed
        self.settings = {"channels": channels, "flows": flows, "sigma": sigma, "denoise": denoise, "seed": seed}
        features, linear = spec.channels, upsample == "linear"
        self.up = None if linear else nn.ConvTranspose1d(features, features, HOPS * spec.hop, spec.hop)
        given = features if linear else features * groups
        self.flows = nn.ModuleList(
            Flow(groups - early_size * (i // early_every), given, channels, layers, kernel, alternate and i % 2 == 1)
            for i in range(flows)
        )

    def play(self, batch: Batch, part: str = MODEL) -> Play:
        """How likely the waveforms of a batch of segments are, given their features."""
        real = self._at_some_level(batch)
        with torch.no_grad():
            heard = self.extractor(real) if batch.generated is None else batch.generated
        real = real[:, : min(real.shape[1], self.spec.hop * heard.shape[2]) // self.groups * self.groups]
        return Play({"likelihood": self.likelihood(self.encode(real, self.heard(heard)))})

    def likelihood(self, encoded: Encoded) -> Tensor:
        """Negative logarithm of the likelihood per sample (equation 7), without the constant of the noise."""
        z = encoded.z
        scales = sum(_total(each) for each in encoded.log_scales)
        gain = scales + sum(encoded.log_determinants)
        return ((_total(z.square()) / (2 * self.loss_sigma**2) - gain) / z.numel()).to(z.dtype)

    def encode(self, waveform: Tensor, heard: Tensor) -> Encoded:
        """A waveform (B, S), S a multiple of `groups`, as noise, given what it hears (B, F, T)."""
        x = waveform.unflatten(1, (-1, self.groups)).transpose(1, 2)  # channel c of group n is sample groups * n + c
        given = self.condition(heard, x.shape[2])
        early, scales, determinants = [], [], []
        for i, flow in enumerate(self.flows):
            if self._ends(i):
                early.append(x[:, : self.early_size])
                x = x[:, self.early_size :]
            x, log_scale, log_determinant = flow(x, given)
            scales.append(log_scale)
            determinants.append(log_determinant)
        return Encoded(torch.cat([*early, x], dim=1), scales, determinants)

    def decode(self, noise: Sequence[Tensor], heard: Tensor) -> Tensor:
        """Noise back to a waveform (B, groups * N): `encode` undone.

        Args:
            noise: (B, C, N) for the channels that are finished last, then the early outputs from the last to the first.
            heard: (B, F, T) what it hears.
        """
        x, waiting = noise[0], list(noise[1:])
        given = self.condition(heard, x.shape[2])
        for i in reversed(range(len(self.flows))):
            x = self.flows[i].inverse(x, given)  # type: ignore[operator]
            if self._ends(i):
                x = torch.cat([waiting.pop(0), x], dim=1)
        return x.transpose(1, 2).flatten(1)

    def noise_of(self, z: Tensor) -> list[Tensor]:
        """What `encode` gave (B, groups, N), in the order that `decode` takes."""
        ends = sum(map(self._ends, range(len(self.flows))))
        early, last = z.tensor_split([ends * self.early_size], dim=1)
        return [last, *(reversed(early.chunk(ends, dim=1)) if ends else ())]

    def condition(self, heard: Tensor, size: int) -> Tensor:
        """What it hears (B, F, T) at the rate of the groups: (B, channels, size), from the first sample on."""
        if self.up is None:
            per = self.spec.hop // self.groups
            first = -(self.spec.frame_offset // self.groups)  # of the groups, seen from the center of frame 0
            return _between(heard, per, first, size)
        dense = self.up(heard)[..., : size * self.groups]
        # (B, F, size, groups) -> channel groups * f + c is feature f at sample c of the group
        return dense.unflatten(2, (size, self.groups)).transpose(2, 3).flatten(1, 2)

    def speak(self, features: Tensor, f0: Tensor | None = None) -> Tensor:
        """Un-standardized features (B, F, T) -> waveform (B, spec.samples(T))."""
        heard = self.heard(features)
        said = self.say(heard, self.sigma)[:, : self.spec.samples(features.shape[2])]
        return self._without_hum(said) if self.denoise else said

    def say(self, heard: Tensor, sigma: float) -> Tensor:
        """What it hears (B, F, T) -> waveform (B, hop * T), with noise of deviation `sigma`."""
        size = heard.shape[2] * self.spec.hop // self.groups
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(size, self.groups, generator=generator).T.to(heard)[None] * sigma
        return self.decode(self.noise_of(drawn.expand(len(heard), -1, -1)), heard)

    def fuse(self) -> None:
        """For speaking alone: multiply weight norm out, so that weights have other names, and invert the mixes."""
        with torch.enable_grad():  # without, they would become buffers
            for module in list(self.modules()):
                if is_parametrized(module, "weight"):
                    remove_parametrizations(module, "weight")
                elif isinstance(module, Mix):
                    module.fix()

    def heard(self, features: Tensor) -> Tensor:
        """What the network sees of un-standardized features (B, F, T)."""
        return features if self.raw else to_log_magnitude(features, self.spec)

    def _ends(self, i: int) -> bool:
        """Whether channels are finished before step `i`."""
        return i > 0 and i % self.early_every == 0

    def _without_hum(self, said: Tensor) -> Tensor:
        """The magnitudes (of the first frame) of what it says of zeros, subtracted; phases stay."""
        hum = self.say(said.new_zeros(1, self.spec.channels, _HUM), 0.0)
        with torch.autocast(said.device.type, enabled=False):
            low = self.denoise * self.stft(hum.float())[:, :1].abs()
            spectrum = self.stft(said.float())
            own = spectrum.abs().clamp(min=1e-8)
            cleaned = self.stft.inverse(spectrum * ((own - low).clamp(min=0.0) / own))
        return F.pad(cleaned, (0, said.shape[1] - cleaned.shape[1]))


def _total(values: Tensor) -> Tensor:
    """Their sum in float64, where a device has that: what the loss is made of is far larger than the loss."""
    return values.sum(dtype=finest(values.device))


def _between(heard: Tensor, per: int, first: int, size: int) -> Tensor:
    """Frames (B, F, T), `per` groups apart, at the groups `first`, `first + 1`, ... (B, F, size), in straight lines."""
    place = (torch.arange(size, device=heard.device) + first) / per
    place = place.clamp(0, heard.shape[2] - 1)
    low = place.floor().long().clamp(max=max(0, heard.shape[2] - 2))
    high = (low + 1).clamp(max=heard.shape[2] - 1)
    return torch.lerp(heard[..., low], heard[..., high], (place - low).to(heard.dtype))


def _require_fit(hop: int, groups: int, left: int) -> None:
    if hop % groups:
        raise UserError(f"vocoder.groups={groups}: expected an even divisor of the hop, {hop}")
    if left < 2:
        told = "vocoder.early_size, vocoder.early_every and vocoder.flows"
        raise UserError(f"vocoder.groups={groups}: {told} leave {left} of them at the end, expected 2 or more")
