"""Recordings as they are made elsewhere than in a studio: others who speak, a room, a telephone, a poor microphone."""

import torch
from torch import Tensor

from revoice.nn.draws import Draws
from revoice.nn.microphone import recorded

_TAIL = 0.4  # seconds for which a room is heard


def degraded(waveform: Tensor, sample_rate: int, draws: Draws) -> Tensor:
    """Every waveform (B, S) with some of what recordings suffer from, in the order in which it happens.

    Others who speak are the clips before, of those given here. What a clip says stays where it is in time.
    """
    return low_cut(
        recorded(in_room(overheard(waveform, draws), sample_rate, draws), sample_rate, draws), sample_rate, draws
    )


def overheard(waveform: Tensor, draws: Draws) -> Tensor:
    """One in three of (B, S) with two other voices of the batch behind, 3 to 25 dB below it."""
    device = waveform.device
    chance, near, far = (draws.uniform(f"overheard/{n}", device=device)[:, None] for n in range(3))
    power = waveform.square().mean(1, keepdim=True).clamp(min=1e-12)
    unit = waveform * power.rsqrt()
    others = unit.roll(1, 0) + (0.1 + 0.9 * far) * unit.roll(2, 0)
    level = power.sqrt() * 10 ** (-(3 + 22 * near) / 20)
    return torch.where(chance < 1 / 3, waveform + level * others, waveform)


def in_room(waveform: Tensor, sample_rate: int, draws: Draws) -> Tensor:
    """Half of (B, S) in a room: noise that decays by 60 dB in 0.1 to 0.8 s, of a power 0 to 15 dB below the voice's."""
    device, taps = waveform.device, round(_TAIL * sample_rate)
    chance, long, loud = (draws.uniform(f"room/{n}", device=device)[:, None] for n in range(3))
    seconds = torch.arange(taps, device=device) / sample_rate
    tail = draws.normal("room/tail", taps, device=device) * 10 ** (-3 * seconds / (0.1 * 8**long))
    tail = tail * (seconds > 0.002)
    tail = tail / tail.square().sum(1, keepdim=True).sqrt() * 10 ** (-15 * loud / 20)
    size = waveform.shape[1] + taps
    echo = torch.fft.irfft(torch.fft.rfft(waveform, size) * torch.fft.rfft(tail, size), size)
    return torch.where(chance < 0.5, waveform + echo[:, : waveform.shape[1]], waveform)


def low_cut(waveform: Tensor, sample_rate: int, draws: Draws) -> Tensor:
    """Four in ten of (B, S) without what lies below 100 to 400 Hz, as telephones and small microphones have it."""
    device = waveform.device
    chance, edge, steep = (draws.uniform(f"low_cut/{n}", device=device)[:, None] for n in range(3))
    hertz = torch.fft.rfftfreq(waveform.shape[1], 1 / sample_rate, device=device).clamp(min=1.0)
    octaves = (100 * 4**edge / hertz).log2().clamp(min=0)
    gain = 10 ** (-(12 + 60 * steep) * octaves / 20)
    cut = torch.fft.irfft(torch.fft.rfft(waveform) * gain, waveform.shape[1])
    return torch.where(chance < 0.4, cut, waveform)
