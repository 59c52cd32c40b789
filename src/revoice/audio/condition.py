"""What happens to a waveform before its STFT: high-pass, gain, dither, level, pre-emphasis; and the way back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from revoice.audio.spec import FeatureSpec


def condition(waveform: Tensor, lengths: Tensor | None, spec: FeatureSpec) -> tuple[Tensor, Tensor | None]:
    """Apply the spec's waveform steps, each item as if alone.

    Args:
        waveform: (B, S), items shorter than S padded with anything.
        lengths: (B,) valid samples, None: all S.
        spec: which steps.

    Returns:
        The waveform (B, S') and its lengths; S' is S + 1 where `spec.tail` adds a sample.
    """
    if spec.tail:
        waveform, lengths = _append_tail(waveform, lengths, spec)
    if lengths is not None:
        waveform = waveform * valid_mask(lengths, waveform.shape[1])
    if spec.highpass:
        waveform = _Highpass.apply(waveform, lengths, spec)
    if spec.gain != 1.0:
        waveform = waveform * spec.gain
    if spec.dither:
        waveform = waveform + _dither(waveform.shape[1], spec).to(waveform)
    if spec.peak:
        loudest = waveform.abs().amax(dim=1, keepdim=True)
        waveform = waveform * torch.where(loudest > 0, spec.peak / loudest.clamp(min=1e-30), 1.0)
    if spec.preemphasis:
        waveform = torch.cat([waveform[:, :1], waveform[:, 1:] - spec.preemphasis * waveform[:, :-1]], dim=1)
    if lengths is not None:
        waveform = waveform * valid_mask(lengths, waveform.shape[1])
    return waveform, lengths


def uncondition(waveform: Tensor, spec: FeatureSpec) -> Tensor:
    """Undo pre-emphasis and gain of a waveform (B, S); what cannot be undone (high-pass, level) stays.

    De-emphasis 1 / (1 - c z^-1) is the product over k of (1 + c^(2^k) z^-(2^k)): log2 passes instead of a recursion.
    """
    coefficient, step = spec.preemphasis, 1
    while coefficient > 1e-9 and step < waveform.shape[1]:
        waveform = torch.cat([waveform[:, :step], waveform[:, step:] + coefficient * waveform[:, :-step]], dim=1)
        coefficient, step = coefficient * coefficient, step * 2
    return waveform / spec.gain if spec.gain != 1.0 else waveform


def highpass_coefficients(spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """Numerator b and denominator a of the spec's Butterworth high-pass, each (order + 1,)."""
    from scipy import signal

    b, a = signal.butter(spec.highpass_order, spec.highpass, btype="highpass", fs=spec.sample_rate)
    return b, a


def valid_mask(lengths: Tensor, size: int) -> Tensor:
    """(B, size) bool, True where the position is below the item's length.

    >>> valid_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _append_tail(waveform: Tensor, lengths: Tensor | None, spec: FeatureSpec) -> tuple[Tensor, Tensor | None]:
    size = waveform.shape[1]
    if lengths is None:
        return (waveform if size % spec.hop else torch.nn.functional.pad(waveform, (0, 1), value=spec.tail)), None
    longer = lengths % spec.hop == 0
    waveform = torch.nn.functional.pad(waveform, (0, 1))
    last = (torch.arange(size + 1, device=lengths.device) == lengths[:, None]) & longer[:, None]
    return torch.where(last, spec.tail, waveform), lengths + longer


class _Highpass(torch.autograd.Function):
    """`_highpass`; such a filter is symmetric in time, so that gradients pass it as sounds do, but for the ends."""

    @staticmethod
    def forward(ctx: Any, waveform: Tensor, lengths: Tensor | None, spec: FeatureSpec) -> Tensor:
        ctx.lengths, ctx.spec = lengths, spec
        return _highpass(waveform, lengths, spec)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Highpass.apply(gradient, ctx.lengths, ctx.spec), None, None


def _highpass(waveform: Tensor, lengths: Tensor | None, spec: FeatureSpec) -> Tensor:
    """Zero-phase filter of each item, forwards and backwards with odd extension at the ends, on the CPU in float64.

    In second-order sections: the plain b / a form of a filter this low loses seven digits to rounding.
    """
    from scipy import signal

    sections = signal.butter(spec.highpass_order, spec.highpass, "highpass", fs=spec.sample_rate, output="sos")
    samples = waveform.detach().cpu().double().numpy()
    sizes = [samples.shape[1]] * len(samples) if lengths is None else [int(n) for n in lengths]
    filtered = np.zeros_like(samples)
    for row, size in enumerate(sizes):
        edge = min(3 * (spec.highpass_order + 1), size - 1)
        filtered[row, :size] = signal.sosfiltfilt(sections, samples[row, :size], padlen=edge)
    return torch.from_numpy(filtered).to(waveform)


def _dither(size: int, spec: FeatureSpec) -> Tensor:
    return torch.from_numpy((np.random.RandomState(spec.dither_seed).rand(size) - 0.5) * spec.dither)
