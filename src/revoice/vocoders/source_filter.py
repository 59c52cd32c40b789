"""A vocoder that is told the pitch: harmonics and noise, each through filters that a network gives for every frame."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from revoice.audio.mel import mel_basis
from revoice.audio.pitch import pitch_for
from revoice.audio.scale import to_log_magnitude
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.settings import Depth, Flag, Fraction, Frames, NotNegative, Seed, Width
from revoice.vocoders.base import VOCODERS
from revoice.vocoders.excitation import harmonics
from revoice.vocoders.griffin_lim import GriffinLim
from revoice.vocoders.neural import ConvNeXtVocoder, Projections, draw

_MIDDLE, _WIDTH = math.log(180.0), 0.4  # of log-f0, as the network sees it
_MOST = 12.0  # neper: filters end there
_EDGE = 50.0  # Hz above the highest band
_NOTHING = 1e-6  # of a recording's power, -60 dB


@VOCODERS.register("source_filter")
class SourceFilter(ConvNeXtVocoder):
    """What a larynx does is known where the pitch is; a network says what a mouth makes of it.

    All harmonics of the pitch, equally loud, and white noise go through a filter each, a complex and a real number for
    every bin of every frame of an STFT, whose inverse is the waveform: the source-filter model with learned filters, as
    in the neural homomorphic vocoder (Liu, Chen and Yu, Interspeech 2020), with Vocos' backbone (arXiv:2306.00814) in
    place of cepstra. Harmonics lie where the pitch says, in phase from frame to frame, before anything is learned.

    Filters start from what the features say of every bin, so the network learns what they lack: the balance of
    harmonics and noise, phases, what is above the mels, and what a model's blurred features have lost.

    Where nobody tells the pitch, it is measured in what Griffin-Lim makes of the features.

    Args:
        spec: the features; not those with phases, a high-pass or a level of their own.
        dim: channels of the blocks.  hidden: channels inside a block.  layers: blocks.
        seed: of the noise, when it speaks.
        recorded_share: with `generated`, of the segments that hear the recording all the same.
        frames, gain_db, projections, generated: see `NeuralVocoder`.
    """

    may_change = (*ConvNeXtVocoder.may_change, "seed", "recorded_share")
    speaking = (*ConvNeXtVocoder.speaking, "seed")
    shares: Tensor
    level: Tensor
    tilt: Tensor

    def __init__(
        self,
        spec: FeatureSpec,
        dim: Width = 256,
        hidden: Width = 768,
        layers: Depth = 6,
        seed: Seed = 0,
        recorded_share: Fraction = 0.0,
        frames: Frames = 32,
        gain_db: NotNegative = 6.0,
        projections: Projections = 0,
        generated: Flag = False,
    ) -> None:
        if spec.phase or spec.peak or spec.highpass:
            raise UserError(
                "vocoder=source_filter: expected features without phases, high-pass and a level of their own"
            )
        super().__init__(spec, frames, gain_db, projections, generated)
        self.set_backbone(spec.channels + 2, dim, hidden, layers)
        self.settings["seed"] = seed
        self.seed, self.recorded_share = seed, recorded_share
        self.out = nn.Linear(dim, 3 * spec.bins)
        self.apply(draw)
        self.synthesis = Stft(spec)
        shares, level = _bins_of_rows(spec)
        for name, values in (("shares", shares), ("level", level), ("tilt", _tilt(spec))):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self.requires = replace(self.requires, fields=(*self.requires.fields, "f0"))

    def speak(self, features: Tensor, f0: Tensor | None = None) -> Tensor:
        """Un-standardized features (B, F, T) and their pitch (B, T) in Hz -> waveform (B, spec.samples(T))."""
        f0 = self.pitch_of(features) if f0 is None else f0
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.spec.samples(features.shape[2]), generator=generator)
        return self.say(features, harmonics(f0, self.spec), noise.to(f0.device).expand(len(f0), -1), f0)

    def said(self, batch: Batch, features: Tensor) -> Tensor:
        """Segments, in training with noise of their own, and without what their recordings have no band for."""
        f0 = batch.f0
        assert f0 is not None and batch.waveform is not None
        if batch.draws is None:
            return self.speak(features, f0)
        noise = batch.draws.normal("noise", self.spec.samples(features.shape[2]), device=features.device)
        return self._in_band(self.say(features, harmonics(f0, self.spec), noise, f0), batch.waveform)

    def _in_band(self, made: Tensor, recordings: Tensor) -> Tensor:
        """Waveforms (B, S) without what is above the features' highest band where a recording has nothing there.

        Recordings of a lower rate would teach that nothing is ever there.
        """
        size = made.shape[1]
        above = math.floor((self.spec.top_frequency + _EDGE) * size / self.spec.sample_rate) + 1  # bins up to there
        power = torch.fft.rfft(recordings[:, :size].float(), n=size).abs().square()
        empty = power[:, above:].sum(1) < _NOTHING * power.sum(1)
        bins = torch.arange(power.shape[1], device=made.device) >= above
        return torch.fft.irfft(torch.fft.rfft(made) * ~(bins & empty[:, None]), n=size)

    def _heard(self, batch: Batch, real: Tensor) -> Tensor:
        made = batch.generated
        if made is None or batch.draws is None or not self.recorded_share:
            return super()._heard(batch, real)
        recorded = batch.draws.uniform("recorded", device=real.device) < self.recorded_share
        return torch.where(recorded[:, None, None], self.extractor(real), made)

    def say(self, features: Tensor, voice: Tensor, noise: Tensor, f0: Tensor) -> Tensor:
        """What filters make of harmonics and noise.

        Args:
            features: (B, F, T) un-standardized.
            voice: (B, S) harmonics of the pitch, see `excitation.harmonics`.
            noise: (B, S) white, of unit power.
            f0: (B, T) Hz, 0 where unvoiced.

        Returns:
            (B, S), S = spec.samples(T).
        """
        loud, phase, breath = self.filters(features, f0)
        with torch.autocast(features.device.type, enabled=False):
            spectrum = self.synthesis(voice.to(loud.dtype)) * torch.polar(loud, phase)
            return self.synthesis.inverse(spectrum + self.synthesis(noise.to(loud.dtype)) * breath)

    def filters(self, features: Tensor, f0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, F, T), pitch (B, T) -> factors and phases of harmonics, factors of noise, (B, T, bins) each."""
        heard = to_log_magnitude(features, self.spec)
        given = self.out(self.backbone(self.told(heard, f0)))
        with torch.autocast(features.device.type, enabled=False):
            given, heard = (each if each.dtype == torch.float64 else each.float() for each in (given, heard))
            loud, phase, breath = given.chunk(3, dim=2)
            unit = self.synthesis.window.square().sum().sqrt().log()  # of a bin, for a signal of unit power
            start = (heard[:, : self.spec.rows].transpose(1, 2) - self.level) @ self.shares - self.tilt - unit
            return (start + loud).clamp(max=_MOST).exp(), phase, (start + breath).clamp(max=_MOST).exp()

    def told(self, heard: Tensor, f0: Tensor) -> Tensor:
        """Logarithms of magnitudes (B, F, T) with pitch (B, T) and voicing below: (B, F + 2, T)."""
        voiced = (f0 > 0).to(heard.dtype)
        height = voiced * (f0.to(heard.dtype).clamp(min=1.0).log() - _MIDDLE) / _WIDTH
        return torch.cat([heard, height[:, None], voiced[:, None]], dim=1)

    def pitch_of(self, features: Tensor) -> Tensor:
        """Pitch (B, T) in Hz of what Griffin-Lim makes of features (B, F, T)."""
        heard = GriffinLim(self.spec).to(features.device)(features).float().cpu().numpy()
        found = np.zeros((len(features), features.shape[2]), np.float32)
        for row, samples in zip(found, heard, strict=True):
            contour = pitch_for(samples, self.spec).f0[: len(row)]
            row[: len(contour)] = contour
        return torch.from_numpy(found).to(features.device)


def _bins_of_rows(spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """What each row of features says of each bin (rows, bins), and its logarithm for bins of magnitude 1 (rows,)."""
    basis = mel_basis(spec) if spec.mels else np.eye(spec.rows, spec.bins, dtype=np.float32)
    shares = basis / basis.sum(0).clip(min=1e-8)
    covered = shares.sum(0).nonzero()[0]
    nearest = np.arange(spec.bins).clip(covered[0], covered[-1])  # what no row tells is as its neighbor
    return shares[:, nearest].astype(np.float32), (np.log(basis.sum(1).clip(min=1e-8)) / spec.power).astype(np.float32)


def _tilt(spec: FeatureSpec) -> np.ndarray:
    """Logarithm of what gain and pre-emphasis multiply each bin by (bins,): what is spoken is without."""
    turns = np.exp(-1j * np.pi * np.arange(spec.bins) / (spec.bins - 1))
    return (np.log(np.abs(1 - spec.preemphasis * turns)) + np.log(spec.gain)).astype(np.float32)
