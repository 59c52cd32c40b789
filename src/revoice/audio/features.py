"""The one feature function: training, preparation and conversion all call it."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from revoice.audio.condition import condition, uncondition, valid_mask
from revoice.audio.mel import fitted, mel_basis, mel_inverse
from revoice.audio.scale import from_scale, to_scale
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import analysis_window, frame
from revoice.errors import UserError

_BAND = 128  # mel filters multiplied at once: a filter spans few bins, the rest of the matrix is zeros
_FITS = 16  # updates that bring given harmonics to the level of their bands
_BLOCK = 1 << 17  # framed samples handled at once on a CPU: they stay in its cache, and long files need no more memory


class FeatureExtractor(nn.Module):
    """Waveforms (B, S) -> features (B, F, T) as a spec says, batched, on any device, differentiable.

    Computes in `dtype` whatever autocast says (the waveform's own steps in float32, or float64 if it is that).

    >>> from revoice.audio.presets import load_preset
    >>> FeatureExtractor(load_preset("mel_22k"))(torch.zeros(2, 2560)).shape
    torch.Size([2, 80, 10])
    """

    window: Tensor
    basis: Tensor

    def __init__(self, spec: FeatureSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("window", analysis_window(spec, dtype), persistent=False)
        basis = mel_basis(spec).T.astype(np.float32) if spec.mels else np.zeros((0, 0), np.float32)
        self.register_buffer("basis", torch.from_numpy(np.ascontiguousarray(basis)).to(dtype), persistent=False)
        self._bands = _bands(basis)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features of a batch.

        Args:
            waveform: (B, S) at the spec's sample rate, -1..1.
            lengths: (B,) valid samples of each item (the rest is padding), None: all S.

        Returns:
            (B, F, T), T = `spec.frames(S)`; every item as if computed alone, its padding frames
            hold `spec.silence`.
        """
        lengths = None if lengths is None else lengths.to(waveform.device)
        shortest = waveform.shape[1] if lengths is None else int(lengths.min())
        if self.spec.frames(shortest) < 1 or shortest < 1:
            raise UserError(f"a clip of {shortest} samples is too short for features with hop {self.spec.hop}")
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.spec.frames(waveform.shape[1])
            exact = waveform.dtype if waveform.dtype == torch.float64 else torch.float32
            signal, sizes = condition(waveform.to(exact), lengths, self.spec)
            framed = frame(signal.to(self.window.dtype), sizes, self.spec)[:, :frames]
            valid = None if lengths is None else valid_mask(self._frame_counts(lengths), frames)[..., None]
            return self._features(framed, valid).transpose(1, 2).contiguous()

    def to_magnitude(self, features: Tensor, fine: Tensor | None = None) -> Tensor:
        """Linear STFT magnitudes (B, n_fft // 2 + 1, T) of features (B, F, T); dropped bins come back as silence.

        Mel bands do not tell what lies inside them: `fine` (B, n_fft // 2 + 1, T), magnitudes of a signal of flat
        spectrum, lends its harmonics. Features with all bins need no such help.
        """
        spec = self.spec
        values = from_scale(features[:, : spec.rows].transpose(1, 2).to(self.window.dtype), spec)
        if spec.mels:
            bands, values = values, _inverse_of(spec)(values)
            if fine is not None:
                start = values * fine.transpose(1, 2).clamp(min=1e-3) ** spec.power
                values = fitted(start, bands, self.basis.T, _FITS)
        if spec.power == 2:
            values = values.sqrt()
        return nn.functional.pad(values, (0, spec.bins - values.shape[-1])).transpose(1, 2)

    def to_phase(self, features: Tensor) -> Tensor:
        """Phase (B, n_fft // 2 + 1, T) in radians of features that carry it; dropped bins have phase 0."""
        assert self.spec.phase, "these features carry no phase"
        angle = (features[:, self.spec.rows :].to(self.window.dtype) - 0.5) * (2.0 * torch.pi)
        return nn.functional.pad(angle, (0, 0, 0, self.spec.bins - self.spec.rows))

    def invert_waveform(self, waveform: Tensor) -> Tensor:
        """Bring a resynthesized waveform (B, S) back to the domain of the original: undo pre-emphasis and gain."""
        return uncondition(waveform, self.spec)

    def _frame_counts(self, lengths: Tensor) -> Tensor:
        return lengths // self.spec.hop + (1 if self.spec.padding == "center" else 0)

    def _features(self, framed: Tensor, valid: Tensor | None) -> Tensor:
        spec = self.spec
        per_block = framed.shape[1]
        if framed.device.type == "cpu":
            per_block = max(16, _BLOCK // (spec.n_fft * framed.shape[0]))
        blocks = [self._spectrum(block) for block in framed.split(per_block, dim=1)]
        magnitude = torch.cat([m for m, _ in blocks], dim=1) if len(blocks) > 1 else blocks[0][0]
        values = to_scale(magnitude, spec, valid)
        if spec.phase:
            values = torch.cat([values, torch.cat([p for _, p in blocks], dim=1)], dim=2)
        if valid is not None:
            values = torch.where(valid, values, values.new_tensor(spec.silence_frame))
        return values

    def _spectrum(self, framed: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, T, n_fft) -> magnitude rows (B, T, rows), phase rows (B, T, rows or 0)."""
        spec = self.spec
        stft = torch.fft.rfft(framed * self.window)
        stft = stft[..., : spec.bins - spec.drop_top] if spec.drop_top else stft
        energy = torch.addcmul(stft.real.square(), stft.imag, stft.imag)
        if spec.power == 1:  # the square root's gradient at 0 is infinite: silent bins get a constant
            energy = energy + spec.epsilon if spec.epsilon else energy.clamp(min=torch.finfo(energy.dtype).tiny)
            energy = energy.sqrt()
        if spec.mels:
            bands = [energy[..., a:b] @ self.basis[a:b, m:n] for a, b, m, n in self._bands]
            energy = torch.cat(bands, dim=-1) if len(bands) > 1 else bands[0]
        if not spec.phase:
            return energy, energy[..., :0]
        angle = torch.atan2(stft.imag + 0.0, stft.real + 0.0)  # + 0.0: a negative zero would turn silence by pi
        return energy, angle / (2.0 * torch.pi) + 0.5


def extract(waveform: np.ndarray | Tensor, spec: FeatureSpec) -> Tensor:
    """Features (F, T) of one waveform (S,) at the spec's sample rate, on the waveform's device."""
    samples = torch.as_tensor(waveform)
    with torch.no_grad():
        return extractor(spec, str(samples.device))(samples[None])[0]


@lru_cache(maxsize=32)
def extractor(spec: FeatureSpec, device: str = "cpu") -> FeatureExtractor:
    """A shared extractor for `spec` on `device`, built once."""
    with torch.inference_mode(False):  # the first caller's mode must not stick to what later callers share
        return FeatureExtractor(spec).to(device)


@lru_cache(maxsize=32)
def _inverse_of(spec: FeatureSpec) -> Callable[[Tensor], Tensor]:
    with torch.inference_mode(False):
        return mel_inverse(spec)


def _bands(basis: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(first bin, last bin, first filter, last filter) of groups of filters of a basis (bins, mels); ends exclusive."""
    bands = []
    for first in range(0, basis.shape[1], _BAND):
        last = min(first + _BAND, basis.shape[1])
        bins = np.flatnonzero(basis[:, first:last].any(axis=1))
        low, high = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1)
        bands.append((low, high, first, last))
    return bands
