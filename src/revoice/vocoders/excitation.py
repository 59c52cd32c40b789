"""What a larynx does before the mouth shapes it: pulses where there is pitch, noise elsewhere."""

import torch
from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.nn.precision import EXACT

BREATH = 0.1  # noise under the pulses, relative to the noise of unvoiced frames


def excitation(f0: Tensor, spec: FeatureSpec, seed: int = 0) -> Tensor:
    """A signal of flat spectrum and unit power with a given pitch.

    In float64, where the periods of a long clip still add up; on the CPU if the device has none.

    Args:
        f0: (B, T) Hz of every frame of `spec`, 0 where unvoiced.
        spec: says where the frames lie.
        seed: of the noise.

    Returns:
        (B, spec.samples(T)): a pulse per period, split over the two samples it falls between.
    """
    if f0.device.type not in EXACT:
        return excitation(f0.cpu(), spec, seed).to(f0.device)
    samples = spec.samples(f0.shape[1])
    first = spec.hop // 2 if spec.padding == "center" else 0  # there frame 0 is centered on sample 0
    voiced = (f0 > 0).repeat_interleave(spec.hop, dim=1)[:, first : first + samples]
    step = _periods(f0, spec)
    periods = step.cumsum(1)
    begun = periods.floor() > (periods - step).floor()
    late = (periods - periods.floor()) / step  # samples since the period began
    pulses = torch.where(begun & voiced, (step * (late**2 + (1 - late) ** 2)).rsqrt(), 0.0)
    wave = pulses * (1 - late)
    wave[:, :-1] += (pulses * late)[:, 1:]
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(f0.device)
    return torch.where(voiced, wave + BREATH * noise, noise).float()


def harmonics(f0: Tensor, spec: FeatureSpec) -> Tensor:
    """All harmonics of a pitch below half the sample rate, equally loud and in phase: unit power, whatever the pitch.

    They go on where there is no pitch, at that of the voiced frame before. Phases are summed in float64, as above.

    Args:
        f0: (B, T) Hz of every frame of `spec`, 0 where unvoiced.
        spec: says where the frames lie.

    Returns:
        (B, spec.samples(T)).
    """
    if f0.device.type not in EXACT:
        return harmonics(f0.cpu(), spec).to(f0.device)
    step = _periods(f0, spec)
    half = torch.pi * step.cumsum(1).frac()  # of the phase of the first harmonic, from 0 to pi
    count = (0.5 / step).floor().clamp(min=1.0)
    # Dirichlet's kernel: 1/2 + the sum of cos(k phase) is sin((count + 1/2) phase) / (2 sin(phase / 2))
    below = half.sin()
    kernel = torch.where(below.abs() < 1e-7, 2 * count + 1, ((2 * count + 1) * half).sin() / below.clamp(min=1e-7))
    return ((kernel - 1) * (2 * count).rsqrt()).float()


def _periods(f0: Tensor, spec: FeatureSpec) -> Tensor:
    """Periods that pass in every sample (B, spec.samples(T)), float64: pitch in straight lines between frames."""
    first = spec.hop // 2 if spec.padding == "center" else 0  # there frame 0 is centered on sample 0
    dense = nn.functional.interpolate(_held(f0.double())[:, None], scale_factor=float(spec.hop), mode="linear")[:, 0]
    return dense[:, first : first + spec.samples(f0.shape[1])] / spec.sample_rate


def _held(f0: Tensor) -> Tensor:
    """Unvoiced frames take the pitch of the voiced one before them (at the beginning: of the first; 100 Hz if none)."""
    place = torch.arange(f0.shape[1], device=f0.device).expand_as(f0)
    before = place.masked_fill(f0 <= 0, -1).cummax(1).values
    first = (f0 > 0).int().argmax(1, keepdim=True)
    held = f0.gather(1, torch.where(before < 0, first, before))
    return held.masked_fill(held <= 0, 100.0)
