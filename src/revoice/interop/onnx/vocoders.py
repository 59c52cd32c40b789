"""Vocoders as graphs: the network alone, without what follows it."""

import torch
from torch import Tensor, nn

from revoice.audio.scale import to_log_magnitude
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft
from revoice.interop.onnx.graph import Graph
from revoice.vocoders.neural import NeuralVocoder
from revoice.vocoders.source_filter import SourceFilter
from revoice.vocoders.vocos import Vocos
from revoice.vocoders.waveglow import WaveGlow


class _Speaking(nn.Module):
    """What the network of a vocoder says."""

    def __init__(self, vocoder: NeuralVocoder) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, features: Tensor) -> Tensor:
        return self.vocoder.speak(features)


class _Flowing(nn.Module):
    """WaveGlow, whose noise is drawn outside: normal numbers times sigma."""

    def __init__(self, vocoder: WaveGlow) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        said = self.vocoder.decode(self.vocoder.noise_of(noise), self.vocoder.heard(features))
        return said[:, : self.vocoder.spec.samples(features.shape[2])]


class _Transforms(nn.Module):
    """An STFT and its inverse as products of real matrices: graphs have no complex numbers."""

    cosines: Tensor
    sines: Tensor
    squares: Tensor
    heard: Tensor

    def __init__(self, stft: Stft) -> None:
        super().__init__()
        self.spec, window = stft.spec, stft.window.double()
        unit = torch.eye(self.spec.bins, dtype=torch.complex128)
        for name, each in (("cosines", unit), ("sines", 1j * unit)):
            basis = torch.fft.irfft(each, n=self.spec.n_fft) * window  # (bins, n_fft)
            self.register_buffer(name, basis.float()[:, None])
        self.register_buffer("squares", window.square().float()[None, None])
        seen = torch.fft.rfft(torch.eye(self.spec.n_fft, dtype=torch.float64) * window).T  # (bins, n_fft)
        self.register_buffer("heard", torch.cat([seen.real, seen.imag]).float()[:, None], persistent=False)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(1, samples) -> the real and the imaginary part (1, bins, T)."""
        padded = nn.functional.pad(waveform[:, None], (self.spec.pad, self.spec.pad), mode=self.spec.pad_mode)
        real, imaginary = nn.functional.conv1d(padded, self.heard, stride=self.spec.hop).chunk(2, dim=1)
        return real, imaginary

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """(1, bins, T) each -> (1, samples)."""
        laid = self._laid(real, self.cosines) + self._laid(imaginary, self.sines)
        weight = self._laid(torch.ones_like(real[:1, :1]), self.squares)
        size = self.spec.samples(real.shape[2])
        return (laid / weight.clamp(min=1e-8))[:, self.spec.pad : self.spec.pad + size]

    def _laid(self, frames: Tensor, basis: Tensor) -> Tensor:
        """(B, C, T) times (C, 1, n_fft), laid over each other at the hop: (B, samples)."""
        return nn.functional.conv_transpose1d(frames, basis, stride=self.spec.hop)[:, 0]


class _Inverting(nn.Module):
    """Vocos."""

    def __init__(self, vocoder: Vocos) -> None:
        super().__init__()
        self.vocoder, self.stft = vocoder, _Transforms(vocoder.synthesis)

    def forward(self, features: Tensor) -> Tensor:
        heard = to_log_magnitude(features, self.vocoder.spec)
        real, imaginary = self.vocoder.spectrum_parts(self.vocoder.backbone(heard))  # (B, T, bins)
        return self.stft.inverse(real.transpose(1, 2), imaginary.transpose(1, 2))


class _Said(nn.Module):
    """A source-filter vocoder as it speaks, its harmonics and noise from outside."""

    def __init__(self, vocoder: SourceFilter) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, features: Tensor, f0: Tensor, harmonics: Tensor, noise: Tensor) -> Tensor:
        harmonics, noise = (_spoken(each, self.vocoder.spec) for each in (harmonics, noise))
        return self.vocoder.say(features, harmonics, noise, f0)


class _Filtering(nn.Module):
    """The same without complex numbers."""

    def __init__(self, vocoder: SourceFilter) -> None:
        super().__init__()
        self.vocoder, self.stft = vocoder, _Transforms(vocoder.synthesis)

    def forward(self, features: Tensor, f0: Tensor, harmonics: Tensor, noise: Tensor) -> Tensor:
        loud, phase, breath = (each.transpose(1, 2) for each in self.vocoder.filters(features, f0))
        real, imaginary = self.stft(_spoken(harmonics, self.vocoder.spec))
        breathed, lost = self.stft(_spoken(noise, self.vocoder.spec))
        cosine, sine = loud * phase.cos(), loud * phase.sin()
        return self.stft.inverse(
            real * cosine - imaginary * sine + breathed * breath, real * sine + imaginary * cosine + lost * breath
        )


def _spoken(samples: Tensor, spec: FeatureSpec) -> Tensor:
    """What a vocoder speaks of (1, hop T) samples: frames that are centered on samples end a hop before."""
    return samples[:, : -spec.hop] if spec.padding == "center" else samples


def vocoder_graph(vocoder: NeuralVocoder) -> Graph:
    """The graph of a vocoder's network: `features` (1, F, T), some ask for more, to `waveform` (1, samples)."""
    features = (1, vocoder.spec.channels, ("frames", 1))
    vocoder.fuse()
    if isinstance(vocoder, WaveGlow):
        noise = (1, vocoder.groups, ("frames", vocoder.spec.hop // vocoder.groups))
        return Graph(_Flowing(vocoder), {"features": features, "noise": noise}, "waveform")
    if isinstance(vocoder, SourceFilter):
        samples = (1, ("frames", vocoder.spec.hop))
        given = {"features": features, "f0": (1, ("frames", 1)), "harmonics": samples, "noise": samples}
        return Graph(_Filtering(vocoder), given, "waveform", _Said(vocoder))
    truth = _Speaking(vocoder)
    module = _Inverting(vocoder) if isinstance(vocoder, Vocos) else truth
    return Graph(module, {"features": features}, "waveform", truth)
