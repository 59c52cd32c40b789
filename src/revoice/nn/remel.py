"""Mels that one network makes as another hears them: differentiable, without a vocoder in between."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from revoice.audio.mel import mel_basis
from revoice.audio.scale import per_neper
from revoice.audio.spec import FeatureSpec
from revoice.audio.stft import analysis_window
from revoice.errors import UserError


def require_mels(spec: FeatureSpec, setting: str) -> None:
    """A `UserError` unless the features are logarithms of mel magnitudes, which can be turned into other mels."""
    changed = spec.reference != "absolute" or spec.top_db is not None or spec.clip is not None or spec.preemphasis
    if not spec.mels or spec.power != 1 or per_neper(spec) is None or changed:
        raise UserError(f"{setting} needs features like mel_22k or speechsplit_16k, logarithms of mel magnitudes")


def remel(features: Tensor, spec: FeatureSpec, other: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Log-mels (B, F, T) as mels of power of another spec (B, F', T'), and the mean power (B,) of the samples.

    Every band tells a density of power, which is taken to be a straight line between the centers of bands.
    """
    rate = other.sample_rate / other.hop
    with torch.autocast(features.device.type, enabled=False):
        matrix = _matrix(spec, other, str(features.device))
        magnitude = (features.float() - spec.add) / (per_neper(spec) or 1.0)
        power = torch.einsum("mf,bft->bmt", matrix, (2 * magnitude).exp())
        frames = max(round(features.shape[-1] * spec.hop / spec.sample_rate * rate), 2)
        first = (other.frame_offset * spec.sample_rate / other.sample_rate - spec.frame_offset) / spec.hop
        mels = interpolated(power[:, :-1], frames, spec.sample_rate / (spec.hop * rate), first)
        return mels, power[:, -1].mean(-1)


def interpolated(steps: Tensor, frames: int, per_frame: float, first: float | None = None) -> Tensor:
    """Linear interpolation of (B, D, N) at frames that are `per_frame` steps apart -> (B, D, frames).

    Step n lies at n, frame 0 at `first`, by default half of a frame; what lies outside of the steps holds their ends.

    >>> interpolated(torch.tensor([[[0.0, 1.0, 2.0]]]), 4, 0.5).tolist()
    [[[0.25, 0.75, 1.25, 1.75]]]
    """
    last = steps.shape[-1] - 1
    before = 0.5 if first is None else first / per_frame
    at = ((torch.arange(frames, device=steps.device) + before) * per_frame).clamp(0, last)
    low = at.long().clamp(max=max(last - 1, 0))
    share = (at - low).to(steps.dtype)
    return torch.lerp(steps[..., low], steps[..., (low + 1).clamp(max=last)], share)


@lru_cache(maxsize=8)
def _matrix(spec: FeatureSpec, other: FeatureSpec, device: str) -> Tensor:
    """Squares of mel magnitudes (F,) -> the other's mels of power (F',), and the mean power of the samples."""
    with torch.inference_mode(False):
        basis, theirs = mel_basis(spec), mel_basis(other)
        centers = (basis * _bins(spec)).sum(1) / basis.sum(1)
        spread = np.stack([np.interp(_bins(other), centers, row) for row in np.eye(len(centers))], axis=1)
        spread[_bins(other) > (spec.fmax or spec.sample_rate / 2)] = 0
        energy = [float((analysis_window(s, torch.float64) ** 2).sum()) * s.gain**2 for s in (spec, other)]
        density = spread / basis.sum(1) ** 2 / energy[0]
        rows = np.concatenate([theirs @ density * energy[1], 2 * density.sum(0, keepdims=True) / other.n_fft])
        return torch.from_numpy(rows.astype(np.float32)).to(device)


def _bins(spec: FeatureSpec) -> np.ndarray:
    return np.arange(spec.bins) * spec.sample_rate / spec.n_fft
