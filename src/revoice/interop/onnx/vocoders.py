"""Vocoders as graphs: the network alone, without what follows it."""

import torch
from torch import Tensor, nn

from revoice.audio.scale import to_log_magnitude
from revoice.interop.onnx.graph import Graph
from revoice.vocoders.neural import NeuralVocoder
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


class _Inverting(nn.Module):
    """Vocos, its inverse STFT as products of real matrices: graphs have no complex numbers."""

    cosines: Tensor
    sines: Tensor
    squares: Tensor

    def __init__(self, vocoder: Vocos) -> None:
        super().__init__()
        self.vocoder, spec = vocoder, vocoder.synthesis.spec
        self.spec, window = spec, vocoder.synthesis.window.double()
        unit = torch.eye(spec.bins, dtype=torch.complex128)
        for name, each in (("cosines", unit), ("sines", 1j * unit)):
            basis = torch.fft.irfft(each, n=spec.n_fft) * window  # (bins, n_fft)
            self.register_buffer(name, basis.float()[:, None])
        self.register_buffer("squares", window.square().float()[None, None])

    def forward(self, features: Tensor) -> Tensor:
        heard = to_log_magnitude(features, self.vocoder.spec)
        real, imaginary = self.vocoder.spectrum_parts(self.vocoder.backbone(heard))  # (B, T, bins)
        laid = self._laid(real.transpose(1, 2), self.cosines) + self._laid(imaginary.transpose(1, 2), self.sines)
        weight = self._laid(torch.ones_like(real[:1, :, :1]).transpose(1, 2), self.squares)
        size = self.spec.samples(features.shape[2])
        return (laid / weight.clamp(min=1e-8))[:, self.spec.pad : self.spec.pad + size]

    def _laid(self, frames: Tensor, basis: Tensor) -> Tensor:
        """(B, C, T) times (C, 1, n_fft), laid over each other at the hop: (B, samples)."""
        return nn.functional.conv_transpose1d(frames, basis, stride=self.spec.hop)[:, 0]


def vocoder_graph(vocoder: NeuralVocoder) -> Graph:
    """The graph of a vocoder's network: `features` (1, F, T), of WaveGlow also `noise`, to `waveform` (1, samples)."""
    features = (1, vocoder.spec.channels, ("frames", 1))
    vocoder.fuse()
    if isinstance(vocoder, WaveGlow):
        noise = (1, vocoder.groups, ("frames", vocoder.spec.hop // vocoder.groups))
        return Graph(_Flowing(vocoder), {"features": features, "noise": noise}, "waveform")
    truth = _Speaking(vocoder)
    module = _Inverting(vocoder) if isinstance(vocoder, Vocos) else truth
    return Graph(module, {"features": features}, "waveform", truth)
