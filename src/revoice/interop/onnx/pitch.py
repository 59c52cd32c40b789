"""The pitch network as a graph: samples in, a contour on the frames of features out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.audio.pitch_network import BINS, HOP, SAMPLE_RATE, PitchNetwork, between, hertz
from revoice.audio.spec import FeatureSpec
from revoice.interop.onnx.graph import Graph
from revoice.interop.onnx.hearing import Resampling


class PitchSearch(nn.Module):
    """`pitch_for(..., method="network")` of a waveform of whole frames.

    Args:
        network: that searches.
        spec: of the frames.
        floor, ceil: Hz between which it searches.
    """

    basis: Tensor

    def __init__(self, network: PitchNetwork, spec: FeatureSpec, floor: float, ceil: float) -> None:
        super().__init__()
        self.network, self.spec, self.floor, self.ceil = network, spec, floor, ceil
        self.resampled = Resampling(spec.sample_rate, SAMPLE_RATE)
        size = len(network.window)
        turns = torch.fft.rfft(torch.eye(size, dtype=torch.float64))[:, :BINS] * network.window.double()[:, None]
        self.register_buffer("basis", torch.cat([turns.real, turns.imag], dim=1).T.float()[:, None].contiguous())

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, T x hop) -> f0 (1, T) in Hz, 0 where unvoiced."""
        spec, frames = self.spec, waveform.shape[1] // self.spec.hop
        x = self.resampled(F.pad(waveform[:, spec.frame_offset :], (0, spec.frame_offset + spec.hop)))
        x = x * x.square().mean().clamp(min=1e-20).rsqrt()
        half = len(self.network.window) // 2
        parts = F.conv1d(F.pad(x, (half, half))[:, None], self.basis, stride=HOP).transpose(1, 2)
        real, imaginary = parts.split(BINS, dim=2)
        pitches, voiced = self.network(self.network.seen((real.square() + imaginary.square()).sqrt()))
        found = hertz(pitches, self.floor, self.ceil) * (voiced > 0)
        place = torch.arange(frames) * (spec.hop / spec.sample_rate * SAMPLE_RATE / HOP)
        return between(found[0], place)[None]


def search_graph(network: PitchNetwork, spec: FeatureSpec, floor: float = 60.0, ceil: float = 600.0) -> Graph:
    """The graph of `PitchSearch`."""
    shapes = {"waveform": (1, ("frames", spec.hop))}
    return Graph(PitchSearch(network, spec, floor, ceil), shapes, "f0", facts={"unvoiced": 0})
