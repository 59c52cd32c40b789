"""Vocos: ConvNeXt blocks that predict an STFT, and its inverse (Siuzdak, arXiv:2306.00814)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from revoice.audio.scale import to_log_magnitude
from revoice.audio.spec import OVERLAP, FeatureSpec
from revoice.audio.stft import Stft
from revoice.errors import UserError
from revoice.settings import Depth, Flag, Frames, Natural, NotNegative, Whole, Width
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.neural import ConvNeXtVocoder, Projections, draw

_LOUDEST = 1e2  # magnitudes of the STFT end there, as published


@VOCODERS.register("vocos")
class Vocos(ConvNeXtVocoder):
    """All of the network runs at the frame rate; the inverse STFT makes samples of frames, aligned with the features.

    Any features will do: what it sees are natural logarithms of magnitudes, as published, whatever the spec's scale
    and offsets (`to_log_magnitude`). What it speaks is the recording itself, pre-emphasis and gain undone (at the level
    of `peak`, if the spec has one): it learns from that. The defaults are the published size (13.5 M parameters with
    100 mels); `dim=256, hidden=768, layers=6` has 2.8 M with 80.

    Args:
        spec: the features.
        dim: channels of the blocks.
        hidden: channels inside a block.
        layers: blocks.
        n_fft: samples in a frame of the inverse STFT; None: as in the features'. Its hop is always theirs.
        rows: of the table that scales every normalization (published with EnCodec's bandwidths); 0: no table.
        row: of that table, to speak with.
        frames, gain_db, projections, generated: of the segments that it learns from, see `NeuralVocoder`.

    Raises:
        UserError: frames of `n_fft` cannot be laid over each other at this hop; no such row.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        dim: Width = 512,
        hidden: Width = 1536,
        layers: Depth = 8,
        n_fft: Annotated[Whole, Field(ge=2, le=1 << 17)] | None = None,
        rows: Annotated[Natural, Field(le=1 << 10)] = 0,
        row: Natural = 0,
        frames: Frames = 64,
        gain_db: NotNegative = 12.0,
        projections: Projections = 0,
        generated: Flag = False,
    ) -> None:
        super().__init__(spec, frames, gain_db, projections, generated)
        if row >= max(1, rows):
            raise UserError(f"vocoder.row={row}: expected less than vocoder.rows={rows}, or 0")
        self.set_backbone(spec.channels, dim, hidden, layers, rows, row)
        self.synthesis = Stft(_frames(spec, n_fft or spec.n_fft))
        self.out = nn.Linear(dim, 2 * self.synthesis.spec.bins)
        self.apply(draw)

    def speak(self, features: Tensor, f0: Tensor | None = None) -> Tensor:
        """Un-standardized features (B, F, T) -> waveform (B, spec.samples(T))."""
        return self.synthesis.inverse(self.spectrum(self.backbone(to_log_magnitude(features, self.spec))))

    def spectrum(self, x: Tensor) -> Tensor:
        """(B, T, dim) -> complex STFT (B, T, n_fft / 2 + 1), magnitude and phase in float32 at least."""
        return torch.complex(*self.spectrum_parts(x))

    def spectrum_parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The real and the imaginary part of `spectrum`."""
        with torch.autocast(x.device.type, enabled=False):
            exact = x if x.dtype == torch.float64 else x.float()
            logarithm, phase = self.out(exact).chunk(2, dim=2)
            # the inner clamp keeps the gradient of what is beyond the outer one at 0 instead of 0 times infinity
            magnitude = logarithm.clamp(max=10.0).exp().clamp(max=_LOUDEST)
            return magnitude * phase.cos(), magnitude * phase.sin()


def _frames(spec: FeatureSpec, n_fft: int) -> FeatureSpec:
    """The STFT to invert: the hop and the places of the features' frames, with a window as long as the frame."""
    low, high = spec.hop, OVERLAP * spec.hop
    fits = spec.padding == "center" or (n_fft - spec.hop) % 2 == 0
    if n_fft % 2 or not low <= n_fft <= high or not fits:
        also = "" if fits else f", as far from {spec.hop} as an even number"
        raise UserError(f"vocoder.n_fft={n_fft}: expected an even number from {low} to {high}{also}")
    return FeatureSpec(
        sample_rate=spec.sample_rate, n_fft=n_fft, hop=spec.hop, win=n_fft, padding=spec.padding, scale="linear"
    )
