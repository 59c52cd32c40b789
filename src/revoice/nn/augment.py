"""Random changes of log-mels that a recognizer must not be moved by: other voices, speeds, rooms, lines and noises.

They are made for power on the scale of the preset `whisper_16k`: 4 x + const = log10 of power, so 1 dB is 1/40.
"""

import torch
from torch import Tensor

from revoice.nn.draws import Draws

DECIBEL = 1 / 40
RANGE = 2.0  # the preset's floor lies 80 dB under the loudest


def resampled(values: Tensor, speed: Tensor) -> Tensor:
    """Values (B, F, T) spoken `speed` (B,) times as fast; what lies behind the end repeats the last frame."""
    last = values.shape[-1] - 1
    position = (torch.arange(last + 1, device=values.device) * speed[:, None]).clamp(max=last)
    low = position.floor().long()
    index = low[:, None].expand_as(values)
    near, far = values.gather(2, index), values.gather(2, (index + 1).clamp(max=last))
    return torch.lerp(near, far, (position - low)[:, None].to(values.dtype))


def varied(x: Tensor, lengths: Tensor, draws: Draws) -> Tensor:
    """Log-mels (B, F, T), `lengths` (B,) of them there -> as another vocal tract, line, room and noise would have them.

    Half of each change is left out, so that what is clean stays known. Who else speaks is the clip before, of those
    that are given here: of a process's own micro-batch.
    """
    device, bins = x.device, x.shape[1]
    u = draws.uniform("varied", 16, device=device)
    spread = u * 2 - 1
    done = (draws.uniform("varied/done", 8, device=device) < 0.5).to(x.dtype)
    there = (torch.arange(x.shape[-1], device=device) < lengths[:, None])[:, None]

    # vocal tract: the frequency axis stretched by up to 15 %
    x = resampled(x.transpose(1, 2), 1 + 0.15 * spread[:, 0] * done[:, 0]).transpose(1, 2)
    # line: level, tilt and three slow waves over frequency
    axis = torch.linspace(0, 1, bins, device=device)
    waves = torch.stack([torch.cos(torch.pi * k * axis) for k in range(1, 6)])
    curve = draws.normal("varied/line", 5, device=device) * torch.tensor([4.0, 3.0, 2.5, 2.0, 1.5], device=device)
    gain = 12 * spread[:, 1:2] + (curve * done[:, 1:2]) @ waves
    cut = bins * (0.65 + 0.5 * u[:, 2:3])  # over frequency: 3 kHz to none, 12 dB and more per band
    low = bins * 0.12 * (u[:, 3:4] - 0.5)
    place = torch.arange(bins, device=device)
    slopes = (place - cut).clamp(min=0) * (3 + 9 * u[:, 4:5]) + (low - place).clamp(min=0) * 4
    gain = gain - slopes.clamp(max=70) * done[:, 2:3]
    x = x + (gain * DECIBEL)[..., None]
    # room: the past decays by 3 to 12 dB in 10 ms, and starts 3 to 20 dB under the direct sound
    power = torch.pow(10.0, 4 * x.clamp(max=4.0)) * there
    decay = torch.pow(10.0, -(0.3 + 0.9 * u[:, 5]))[:, None, None]
    tail = (torch.pow(10.0, -(0.3 + 1.7 * u[:, 6])) * done[:, 3])[:, None, None]
    wet = power.clone()
    for k in range(1, 12):
        wet[..., k:].add_(tail * decay**k * power[..., :-k])
    # noise of a smooth spectrum, and somebody else speaking
    mean = wet.mean((1, 2)) * x.shape[-1] / lengths.clamp(min=1)
    color = draws.normal("varied/color", 5, device=device) * torch.tensor([6.0, 4.0, 3.0, 2.0, 2.0], device=device)
    flutter = draws.normal("varied/flutter", bins, x.shape[-1], device=device)
    noise = torch.pow(10.0, (color @ waves)[..., None] / 10 + 0.25 * flutter)
    noise = noise / noise.mean((1, 2), keepdim=True)
    other = power.roll(1, 0) if len(power) > 1 else torch.zeros_like(power)  # nobody else is there
    other = other / other.mean((1, 2), keepdim=True).clamp(min=1e-12)
    for sound, least, column in ((noise, 5.0, 7), (other, 12.0, 8)):
        ratio = torch.pow(10.0, -(least + 40 * u[:, column]) / 10) * done[:, column - 3]
        wet = wet + (mean * ratio)[:, None, None] * sound
    x = torch.log10(wet.clamp(min=1e-12)) / 4
    # resynthesis: smeared over time and frequency, and rough
    x = _smeared(_smeared(x, 0.5 * u[:, 9] * done[:, 6], 2), 0.5 * u[:, 10] * done[:, 6], 1)
    rough = draws.normal("varied/rough", bins, x.shape[-1], device=device)
    x = x + rough * (2.5 * DECIBEL * u[:, 11] * done[:, 7])[:, None, None]
    top = torch.where(there, x, x.min()).amax((1, 2), keepdim=True)
    return torch.maximum(x, top - RANGE)


def masked(x: Tensor, draws: Draws, rows: int = 10, frames: int = 6) -> Tensor:
    """Standardized log-mels (B, F, T) with two bands and three moments of random width set to the mean, 0."""
    batch, bins, time = x.shape
    device = x.device
    width, start = draws.uniform("masked", 5, 2, device=device).unbind(2)  # two bands, then three moments, (B, 5)
    width = torch.cat([width[:, :2] * rows, width[:, 2:] * frames], dim=1)
    start = torch.cat([start[:, :2] * (bins - width[:, :2]), start[:, 2:] * (time - width[:, 2:])], dim=1)
    end = start + width

    def hidden(size: int, which: slice) -> Tensor:  # (B, size)
        place = torch.arange(size, device=device)
        return ((place >= start[:, which, None]) & (place < end[:, which, None])).any(1)

    return x.masked_fill(hidden(bins, slice(2))[:, :, None] | hidden(time, slice(2, 5))[:, None], 0.0)


def _smeared(x: Tensor, amount: Tensor, axis: int) -> Tensor:
    """Each value moved to the mean of its neighbors along an axis by `amount` (B,)."""
    size = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
    return torch.lerp(x, (before + after) / 2, amount[:, None, None])
