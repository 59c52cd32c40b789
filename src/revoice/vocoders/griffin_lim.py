"""Griffin-Lim: a waveform for any spec, without training."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from revoice.audio.condition import condition
from revoice.audio.features import FeatureExtractor
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft
from revoice.audio.stft import griffin_lim as griffin_lim
from revoice.errors import UserError
from revoice.settings import Fraction, Positive, Seed, Whole
from revoice.vocoders.base import VOCODERS, Vocoder
from revoice.vocoders.excitation import excitation

_TAPS = 255  # of the band-pass
Band = tuple[Positive, Positive]


@VOCODERS.register("griffin_lim")
class GriffinLim(Vocoder):
    """Phase by alternating projections, batched, on any device, the same for the same seed.

    The default is the fast form (Perraudin, Balazs and Sondergaard, 2013); `momentum=0, init="zero"` is the classic
    one (Griffin and Lim, 1984) as AdaIN-VC used it, with 100 iterations. Where the pitch is known, the phases start as
    those of pulses at that pitch, which also lend mel bands the harmonics that these cannot hold. Features that carry
    their phase (`spec.phase`) need no iterations: they go through a plain inverse STFT.

    Args:
        spec: the features.
        iterations: projections; 0 inverts with the initial phase.
        momentum: 0 is classic; 0.99 converges faster and further.
        init: "pitch" (pulses at the given pitch; random where none is given), "random" (uniform phases) or "zero".
        seed: of the random phases and of the noise in unvoiced frames.
        band: (lowest, highest) Hz of what is kept of the waveform, speech2speech's post-filter: a zero-phase FIR
            band-pass of 255 taps; None: all.

    Raises:
        UserError: a band that is none, or beyond half the sample rate.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        iterations: Annotated[Whole, Field(ge=0, le=1 << 20)] = 32,
        momentum: Fraction = 0.99,
        init: Literal["pitch", "random", "zero"] = "pitch",
        seed: Seed = 0,
        band: Band | None = None,
    ) -> None:
        super().__init__(spec)
        self.iterations, self.momentum, self.init, self.seed = iterations, momentum, init, seed
        self.settings = {"iterations": iterations, "momentum": momentum, "init": init, "seed": seed}
        self.taps: Tensor | None = None
        if band is not None:
            self.taps = _band_pass(band, spec.sample_rate)
            self.settings["band"] = list(band)
        self.extractor = FeatureExtractor(spec)
        self.stft = Stft(spec)

    @torch.no_grad()
    def forward(self, features: Tensor, f0: Tensor | None = None, like: Tensor | None = None) -> Tensor:
        """Un-standardized features (B, F, T) -> waveform (B, spec.samples(T)), pre-emphasis undone.

        The search starts from the phases of `like` (B, S), else from the pitch `f0` (B, T), else as `init` says.
        """
        if self.spec.samples(features.shape[2]) < 1:
            return features.new_zeros(len(features), 0)
        with torch.autocast(features.device.type, enabled=False):
            if self.spec.phase:
                magnitude = self.extractor.to_magnitude(features.float())
                spectrum = torch.polar(magnitude, self.extractor.to_phase(features.float()))
                waveform = self.stft.inverse(spectrum.transpose(1, 2).contiguous())
            else:
                waveform = self._search(features.float(), f0 if self.init == "pitch" else None, like)
            made = self.extractor.invert_waveform(waveform)
            return made if self.taps is None else _filtered(made, self.taps)

    def _search(self, features: Tensor, f0: Tensor | None, like: Tensor | None) -> Tensor:
        if features.device.type == "cpu" and len(features) > 1:  # one clip fits a CPU's cache
            known = ([None] * len(features) if one is None else one.split(1) for one in (f0, like))
            return torch.cat([self._search(*one) for one in zip(features.split(1), *known, strict=True)])
        if like is not None:
            magnitude = self.extractor.to_magnitude(features).transpose(1, 2).contiguous()
            start = _phases(self.stft(condition(like.float(), None, self.spec)[0]), magnitude.shape[1])
        elif f0 is None:
            magnitude = self.extractor.to_magnitude(features).transpose(1, 2).contiguous()
            start = initial_phase(magnitude, self.init, self.seed).expand_as(magnitude)
        else:
            pulses = self.stft(excitation(f0, self.spec, self.seed))
            length = pulses.abs().clamp_(min=1e-8)
            magnitude = self.extractor.to_magnitude(features, length.transpose(1, 2)).transpose(1, 2).contiguous()
            start = pulses / length
        return griffin_lim(magnitude, self.stft, start, self.iterations, self.momentum)


def _band_pass(band: tuple[float, float], rate: int) -> Tensor:
    """Taps (255,) of a linear-phase band-pass with a Hamming window."""
    from scipy.signal import firwin

    low, high = band
    if not low < high < rate / 2:
        raise UserError(f"vocoder.band=[{low:g},{high:g}]: expected a lowest and a highest Hz below {rate / 2:g}")
    return torch.from_numpy(firwin(_TAPS, [low, high], pass_zero=False, fs=rate)).float()


def _filtered(waveform: Tensor, taps: Tensor) -> Tensor:
    """(B, S) -> (B, S), without delay."""
    return torch.nn.functional.conv1d(waveform[:, None], taps.to(waveform)[None, None], padding=_TAPS // 2)[:, 0]


def _phases(spectrum: Tensor, frames: int) -> Tensor:
    """Unit complex numbers (B, frames, bins) of a spectrum (B, T, bins); what it lacks starts at phase zero."""
    lacking = frames - spectrum.shape[1]
    spectrum = torch.cat([spectrum, spectrum.new_zeros(len(spectrum), max(0, lacking), spectrum.shape[2])], dim=1)
    return torch.polar(torch.ones_like(spectrum.real), spectrum.angle())[:, :frames]


def initial_phase(magnitude: Tensor, init: str, seed: int) -> Tensor:
    """Unit complex numbers (T, bins), the same for every item, device and batch size."""
    frames, bins = magnitude.shape[-2:]
    if init == "zero":
        return torch.ones((), dtype=torch.complex64, device=magnitude.device).expand(frames, bins)
    angle = torch.rand(frames, bins, generator=torch.Generator().manual_seed(seed)) * (2.0 * torch.pi)
    return torch.polar(torch.ones_like(angle), angle).to(magnitude.device)
