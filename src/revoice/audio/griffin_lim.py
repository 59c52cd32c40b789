"""Phases that belong to magnitudes, by alternating projections (Griffin and Lim, 1984), from wherever they start."""

import torch
from torch import Tensor

from revoice.audio.stft import Stft


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
