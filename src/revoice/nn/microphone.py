"""Recordings as other microphones and rooms would have made them: colored, band-limited and noisy."""

import torch
from torch import Tensor

from revoice.nn.draws import Draws

_KNOTS = 10  # of the random frequency response, evenly spaced in octaves from _LOWEST Hz
_LOWEST = 100.0


def recorded(waveform: Tensor, sample_rate: int, draws: Draws) -> Tensor:
    """Every waveform (B, S) through a random frequency response, with random noise; half of them stay as they are.

    The response is smooth, of 5 dB standard deviation; one in three of the changed ends at 3.4 to 8 kHz, as a telephone
    or a poor encoder does. The noise has a random slope (white to brown) and lies 5 to 40 dB below the speech.
    """
    batch, size = waveform.shape
    device = waveform.device
    chance, cut, limit, slope, snr = (draws.uniform(f"microphone/{n}", device=device) for n in range(5))
    hertz = torch.fft.rfftfreq(size, 1 / sample_rate, device=device).clamp(min=1.0)
    octaves = (hertz / _LOWEST).log2().clamp(min=0)
    knots = 5 * draws.normal("microphone/response", _KNOTS, device=device)
    at = octaves / octaves[-1] * (_KNOTS - 1)
    low = at.long().clamp(max=_KNOTS - 2)
    decibels = torch.lerp(knots[:, low], knots[:, low + 1], (at - low)[None])
    edge = 3400 + 4600 * limit
    decibels = decibels - (cut < 1 / 3).to(decibels)[:, None] * 60 * (hertz / edge[:, None]).log2().clamp(0, 1)
    heard = torch.fft.irfft(torch.fft.rfft(waveform) * 10 ** (decibels / 20), size)
    noise = torch.fft.rfft(draws.normal("microphone/noise", size, device=device)) * (hertz ** -slope[:, None])
    noise = torch.fft.irfft(noise, size)
    ratio = 10 ** (-(5 + 35 * snr) / 20) * _level(heard) / _level(noise).clamp(min=1e-9)
    return torch.where((chance < 0.5)[:, None], heard + ratio[:, None] * noise, waveform)


def _level(waveform: Tensor) -> Tensor:
    return waveform.square().mean(1).sqrt()
