"""Spectrograms as pictures, as Anonymous-VC lays them out, and the way from a picture to features that sound."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.audio.features import extract
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import Stft, griffin_lim
from revoice.errors import UserError

ADD, MULTIPLY = 0.6, 0.1  # of log10 of a magnitude
SILENCE, QUIET = 0.0, 1e-6  # what an image holds in silence, and the magnitude that this is
NO_ANGLE = 0.5
WHOLE = 128  # frames: what Anonymous-VC fills clips up to multiples of
LOUD = ADD  # what Anonymous-VC puts behind a clip: the smallest |log magnitude|, that of magnitude 1
DECIBEL = MULTIPLY / 20.0
MOMENTUM = 0.99


def filled(multiple: int, faithful: bool) -> int:
    """What clips are filled up to multiples of, in frames, for a network that takes multiples of `multiple`."""
    return max(multiple, WHOLE) if faithful else multiple


@dataclass(frozen=True)
class Layout:
    """Features (B, 2 R, T), magnitudes above phases, as pictures (B, C, R, T): magnitude, phase, zeros.

    Attributes:
        rows: R, a power of two: of a transform of 2 R samples, without its top bin.
        sample_rate: Hz.
        hop: samples.
    """

    rows: int
    sample_rate: int
    hop: int

    def __post_init__(self) -> None:
        if self.rows < 32 or self.rows & (self.rows - 1):
            raise UserError(
                f"model=pix2pix takes magnitudes and phases of 64, 128, ... rows each without the top bin, not "
                f"{self.rows}: type features=stft_16k or features=stft_16k1024"
            )

    @property
    def spec(self) -> FeatureSpec:
        """The features, all of them settled by size and hop."""
        return FeatureSpec(
            sample_rate=self.sample_rate, n_fft=2 * self.rows, hop=self.hop, win=2 * self.rows, drop_top=1, phase=True,
            scale="db", floor=QUIET, floor_rule="add", multiply=DECIBEL, add=ADD, clip=(0.0, 1.0),
        )  # fmt: skip

    def image(self, features: Tensor, channels: int) -> Tensor:
        """(B, 2 R, T) -> (B, C, R, T), the first C of magnitude, phase and zeros."""
        parts = [*features.split(self.rows, dim=1)]
        if channels == 3:
            parts.append(torch.zeros_like(parts[0]))
        return torch.stack(parts[:channels], dim=1)

    def padded(self, image: Tensor, multiple: int, faithful: bool = False) -> Tensor:
        """Frames up to a multiple, of silence; `faithful`: loud ones, up to the published multiple, one at least."""
        multiple = filled(multiple, faithful)
        lacking = -image.shape[-1] % multiple
        if faithful:
            lacking = lacking or multiple
        if not lacking:
            return image
        beyond = image.new_zeros(*image.shape[:-1], lacking)
        beyond[:, 0] = LOUD if faithful else SILENCE
        beyond[:, 1:2] = NO_ANGLE
        return torch.cat([image, beyond], dim=-1)

    def magnitude(self, image: Tensor) -> Tensor:
        """(B, R, T) of a picture -> linear magnitudes (B, R + 1, T), the top bin silent."""
        exact = torch.pow(10.0, (image.clamp(0.0, 1.0) - ADD) / MULTIPLY) - QUIET
        return F.pad(exact.clamp(min=0.0), (0, 0, 0, 1))

    def rebuilt(self, magnitude: Tensor, start: Tensor, iterations: int) -> Tensor:
        """Features whose phases are sought by Griffin-Lim (its fast form), item by item.

        Args:
            magnitude: (B, R, T) of a picture.
            start: (B, R, T), phases of a picture to start from.
            iterations: projections.
        """
        if self.spec.samples(magnitude.shape[-1]) < 1:  # a single frame is no sound
            return torch.cat([magnitude.clamp(0.0, 1.0), start], dim=1)
        stft, made = Stft(self.spec).to(magnitude.device), []
        for sizes, angles in zip(self.magnitude(magnitude.float()), start.float(), strict=True):
            turn = F.pad((angles - NO_ANGLE) * (2 * torch.pi), (0, 0, 0, 1)).T[None]
            begin = torch.polar(torch.ones_like(turn), turn)
            made.append(griffin_lim(sizes.T[None].contiguous(), stft, begin, iterations, MOMENTUM)[0])
        return torch.stack([self._features(waveform, magnitude.shape[-1]) for waveform in made])

    def without_nyquist(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """Features of what Anonymous-VC's inversion makes of a picture: R rows taken for all of a transform.

        That one has 2 R - 2 samples and a shorter hop, so that speech is faster by 1 / R and out of tune.
        """
        sizes = 2 * self.rows - 2
        hop = sizes // 4
        window = torch.hann_window(sizes, device=magnitude.device)
        spectrum = torch.polar(self.magnitude(magnitude.float())[:, :-1], (phase.float() - NO_ANGLE) * (2 * torch.pi))
        made = torch.istft(spectrum, sizes, hop, sizes, window)
        return torch.stack([self._features(waveform, magnitude.shape[-1]) for waveform in made])

    def _features(self, waveform: Tensor, frames: int) -> Tensor:
        """(2 R, T) of samples, silence behind their end."""
        found = extract(waveform, self.spec)[:, :frames]
        silent = found.new_tensor(self.spec.silence_frame)[:, None].expand(-1, frames - found.shape[1])
        return torch.cat([found, silent], dim=1)
