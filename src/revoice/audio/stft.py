"""Framing, windows, padding and the inverse STFT that belong to a spec."""

import torch
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec


class Stft(nn.Module):
    """The spec's STFT and its least-squares inverse (Griffin and Lim, 1984), time-major: (B, T, n_fft // 2 + 1).

    >>> spec = FeatureSpec(sample_rate=16000, n_fft=512, hop=128, win=512)
    >>> stft, wave = Stft(spec), torch.randn(1, 1280)
    >>> bool(torch.allclose(stft.inverse(stft(wave)), wave, atol=1e-5))
    True
    """

    window: Tensor

    def __init__(self, spec: FeatureSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("window", analysis_window(spec, dtype), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S) -> complex (B, T, bins)."""
        return torch.fft.rfft(frame(waveform, None, self.spec) * self.window)

    def inverse(self, spectrum: Tensor, weight: Tensor | None = None) -> Tensor:
        """Complex (B, T, bins) -> (B, spec.samples(T)). `weight` is `self.weight(T)`, if the caller has it already."""
        frames = torch.fft.irfft(spectrum, n=self.spec.n_fft) * self.window
        return self._overlap_add(frames) * (self.weight(spectrum.shape[1]) if weight is None else weight)

    def weight(self, frames: int) -> Tensor:
        """One over the sum of the squared windows (samples,): what makes `inverse` exact."""
        total = self._overlap_add(self.window.square().expand(1, frames, -1))[0]
        return total.masked_fill(total <= torch.finfo(total.dtype).tiny, 1.0).reciprocal()

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Windowed frames (B, T, n_fft) -> (B, samples): only the window's support is added, hop by hop."""
        spec = self.spec
        left = (spec.n_fft - spec.win) // 2
        steps = -(-spec.win // spec.hop)
        frames = frames[..., left : left + spec.win]
        if steps * spec.hop != spec.win:
            frames = nn.functional.pad(frames, (0, steps * spec.hop - spec.win))
        batch, count = frames.shape[:2]
        pieces = frames.reshape(batch, count, steps, spec.hop)
        out = frames.new_zeros(batch, count + steps - 1, spec.hop)
        for step in range(steps):
            out[:, step : step + count] += pieces[:, :, step]
        signal, first, size = out.reshape(batch, -1), spec.pad - left, spec.samples(count)
        if first < 0 or first + size > signal.shape[1]:  # the window is so short that no frame reaches the ends
            signal = nn.functional.pad(signal, (max(0, -first), max(0, first + size - signal.shape[1])))
        return signal[:, max(0, first) : max(0, first) + size]


@torch.no_grad()
def griffin_lim(magnitude: Tensor, stft: Stft, start: Tensor, iterations: int, momentum: float = 0.0) -> Tensor:
    """Waveform (B, S) whose STFT has about these magnitudes.

    Args:
        magnitude: (B, T, bins).
        stft: the transform pair.
        start: initial phases as unit complex numbers (T, bins) or (B, T, bins).
        iterations: projections.
        momentum: weight of the previous estimate.
    """
    inertia = momentum / (1.0 + momentum)
    spectrum, before = magnitude * start, None
    weight = stft.weight(magnitude.shape[1])
    for _ in range(iterations):
        rebuilt = stft(stft.inverse(spectrum, weight))
        if inertia:
            spectrum = rebuilt.clone() if before is None else torch.sub(rebuilt, before, alpha=inertia)
            before = rebuilt
        else:
            spectrum = rebuilt
        length = (spectrum.real.square() + spectrum.imag.square()).sqrt_().clamp_(min=1e-8)
        gain = torch.div(magnitude, length, out=length)
        spectrum.real.mul_(gain)  # in place, part by part: a complex-by-real product would first make the real complex
        spectrum.imag.mul_(gain)
    return stft.inverse(spectrum, weight)


def analysis_window(spec: FeatureSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """The periodic window (n_fft,), centered in the frame."""
    make = torch.hann_window if spec.window == "hann" else torch.hamming_window
    window = make(spec.win, periodic=True, dtype=torch.float64).to(dtype)
    left = (spec.n_fft - spec.win) // 2
    return nn.functional.pad(window, (left, spec.n_fft - spec.win - left))


def frame(waveform: Tensor, lengths: Tensor | None, spec: FeatureSpec) -> Tensor:
    """Overlapping frames (B, T, n_fft), a view, of (B, S) padded as the spec says, each item at its own ends."""
    return _pad(waveform, lengths, spec).unfold(1, spec.n_fft, spec.hop)


def _pad(waveform: Tensor, lengths: Tensor | None, spec: FeatureSpec) -> Tensor:
    """(B, S) -> (B, S + 2 pad); items are 0 behind their length."""
    pad, size = spec.pad, waveform.shape[1]
    if spec.pad_mode == "constant":
        return nn.functional.pad(waveform, (pad, pad))
    if lengths is None and size > pad:
        return nn.functional.pad(waveform[:, None], (pad, pad), mode="reflect")[:, 0]
    ends = torch.full((len(waveform),), size, device=waveform.device) if lengths is None else lengths
    return _reflect(waveform, ends, pad)


def _reflect(waveform: Tensor, lengths: Tensor, pad: int) -> Tensor:
    """Reflect each item at its own ends (again and again if it is shorter than `pad`); 0 behind its padding."""
    position = torch.arange(-pad, waveform.shape[1] + pad, device=waveform.device)[None, :]
    last = lengths[:, None] - 1
    folded = position % (2 * last).clamp(min=1)
    index = torch.where(folded > last, 2 * last - folded, folded).clamp(min=0)
    return waveform.gather(1, index) * (position < lengths[:, None] + pad)
