"""Random changes of log-mels that a recognizer must not be moved by: other voices, speeds, rooms, lines and noises.

They are made for power on the scale of the preset `whisper_16k`: 4 x + const = log10 of power, so 1 dB is 1/40.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.nn.draws import Draws

DECIBEL = 1 / 40
RANGE = 2.0  # the preset's floor lies 80 dB under the loudest
ECHOES = 11  # frames for which a room is heard


class Change(NamedTuple):
    """An amount from a uniform draw u: (scale u + base) unit, or as a level 10 to the power of (scale u + base) / unit.

    `draw` says which of the draws of all changes leaves it out, so that it is 0; None: it is always made.
    """

    scale: float
    base: float
    unit: float = 1.0
    level: bool = False
    draw: int | None = None


class Amounts(NamedTuple):
    """How much of each change the items of a batch get, all (B, 1, 1), on the device of the draws."""

    tract: Tensor
    loudness: Tensor
    high: Tensor
    low: Tensor
    slope: Tensor
    decay: Tensor
    tail: Tensor
    noise: Tensor
    other: Tensor
    over_time: Tensor
    over_bins: Tensor
    rough: Tensor
    curve: Tensor
    band: Tensor


def _changes(bins: int) -> list[Change]:
    """In the order of `Amounts`."""
    return [
        Change(2.0, -1.0, 0.15, draw=0),  # share by which the frequency axis is stretched
        Change(2.0, -1.0, 12.0),  # dB
        Change(0.5, 0.65, bins),  # bin from which a line loses what there is: 3 kHz to none
        Change(1.0, -0.5, bins * 0.12),  # bin up to which it does
        Change(9.0, 3.0),  # dB and bin
        Change(0.9, 0.3, -1.0, level=True),  # of a room's sound, in 10 ms: 3 to 12 dB less
        Change(1.7, 0.3, -1.0, level=True, draw=3),  # of a room's first echo: 3 to 20 dB under the direct sound
        Change(40.0, 5.0, -10.0, level=True, draw=4),  # of noise, against the speech
        Change(40.0, 12.0, -10.0, level=True, draw=5),  # of somebody else who speaks
        Change(0.5, 0.0, draw=6),  # share that neighbors in time have
        Change(0.5, 0.0, draw=6),  # and in frequency
        Change(2.5 * DECIBEL, 0.0, draw=7),  # deviation of what makes it rough
        Change(0.0, 1.0, draw=1),  # whether a line colors
        Change(0.0, 1.0, draw=2),  # whether it limits the band
    ]


class _Constants(NamedTuple):
    scale: Tensor  # (A,) and so on: of each change
    base: Tensor
    unit: Tensor
    level: Tensor
    draw: Tensor
    below: Tensor  # a draw below this makes the change
    waves: Tensor  # (5, F): slow waves over frequency
    line: Tensor  # (5,) dB: how large they are in a line
    noise: Tensor  # (5,) dB: and in the spectrum of a noise
    place: Tensor  # (F, 1): number of each bin


@lru_cache(maxsize=8)
def _constants(bins: int, device: torch.device) -> _Constants:
    scale, base, unit, level, draw = zip(*_changes(bins), strict=True)
    always = 2.0  # no draw reaches it
    axis, times = torch.linspace(0, 1, bins, device=device), [torch.pi * k for k in range(1, 6)]
    return _Constants(
        scale=torch.tensor(scale, device=device),
        base=torch.tensor(base, device=device),
        unit=torch.tensor(unit, device=device),
        level=torch.tensor(level, device=device),
        draw=torch.tensor([each or 0 for each in draw], device=device),
        below=torch.tensor([always if each is None else 0.5 for each in draw], device=device),
        waves=torch.cos(torch.tensor(times, device=device)[:, None] * axis),
        line=torch.tensor([4.0, 3.0, 2.5, 2.0, 1.5], device=device),
        noise=torch.tensor([6.0, 4.0, 3.0, 2.0, 2.0], device=device),
        place=torch.arange(bins, device=device)[:, None],
    )


def resampled(values: Tensor, speed: Tensor, axis: int = 2) -> Tensor:
    """Values (B, F, T) spoken `speed` (B,) times as fast; what lies behind the end of the axis repeats the last one."""
    last = values.shape[axis] - 1
    steps = torch.arange(last + 1, device=values.device)
    position = ((steps if axis == 2 else steps[:, None]) * speed.view(-1, 1, 1)).clamp(max=last)
    low = position.long()
    near = values.gather(axis, low.expand_as(values))
    far = values.gather(axis, (low + 1).clamp(max=last).expand_as(values))
    return torch.lerp(near, far, (position - low).to(values.dtype))


def varied(x: Tensor, lengths: Tensor, draws: Draws) -> Tensor:
    """Log-mels (B, F, T), `lengths` (B,) of them there -> as another vocal tract, line, room and noise would have them.

    Half of each change is left out, so that what is clean stays known. Who else speaks is the clip before, of those
    that are given here: of a process's own micro-batch. In the precision of `x`, whatever autocast says.
    """
    with torch.autocast(x.device.type, enabled=False):
        constants = _constants(x.shape[1], x.device)
        amounts = _amounts(constants, x.dtype, draws)
        long = lengths.view(-1, 1, 1)
        there = torch.arange(x.shape[-1], device=x.device) < long
        x = resampled(x, 1 + amounts.tract, axis=1)
        x = x + _line(constants, amounts, draws) * DECIBEL
        power = torch.pow(10.0, 4 * x.clamp(max=4.0)) * there
        wet = echoed(power, amounts.decay, amounts.tail)
        mean = wet.mean((1, 2), keepdim=True) * x.shape[-1] / long.clamp(min=1)
        wet = wet + (mean * amounts.noise) * _noise(constants, x.shape[-1], draws)
        other = power.roll(1, 0) if len(power) > 1 else torch.zeros_like(power)  # nobody else is there
        wet = wet + (mean * amounts.other) * (other / other.mean((1, 2), keepdim=True).clamp(min=1e-12))
        x = torch.log10(wet.clamp(min=1e-12)) / 4
        # resynthesis: smeared over time and frequency, and rough
        x = _smeared(_smeared(x, amounts.over_time, 2), amounts.over_bins, 1)
        x = x + draws.normal("varied/rough", *x.shape[1:], device=x.device) * amounts.rough
        top = torch.where(there, x, x.min()).amax((1, 2), keepdim=True)
        return torch.maximum(x, top - RANGE)


def _amounts(constants: _Constants, dtype: torch.dtype, draws: Draws) -> Amounts:
    """All of them at once: one operation for a column each would be many for a few numbers."""
    device, count = constants.scale.device, len(constants.scale)
    u = draws.uniform("varied", 16, device=device)[:, :count]
    left = draws.uniform("varied/done", 8, device=device).index_select(1, constants.draw)
    value = u * constants.scale + constants.base
    value = torch.where(constants.level, torch.pow(10.0, value / constants.unit), value * constants.unit)
    return Amounts(*(value * (left < constants.below).to(dtype)).view(-1, count, 1, 1).unbind(1))


def _line(constants: _Constants, amounts: Amounts, draws: Draws) -> Tensor:
    """What a line does to each bin (B, F, 1) in dB: loudness, three slow waves over frequency, the ends cut off."""
    curve = draws.normal("varied/line", 5, device=constants.line.device) * constants.line
    gain = amounts.loudness + (curve @ constants.waves)[..., None] * amounts.curve
    above, below = (constants.place - amounts.high).clamp(min=0), (amounts.low - constants.place).clamp(min=0)
    return gain - (above * amounts.slope + below * 4).clamp(max=70) * amounts.band


def echoed(power: Tensor, decay: Tensor, tail: Tensor) -> Tensor:
    """Power (B, F, T) in a room.

    Args:
        power: of the direct sound.
        decay: (B, 1, 1) what is left of it a frame later.
        tail: (B, 1, 1) how loud a frame is that it is heard in.

    Returns:
        power[t] + the sum over k from 1 to 11 of tail decay^k power[t - k], one convolution for all.
    """
    batch, bins, frames = power.shape
    ages = torch.arange(ECHOES, 0, -1, device=power.device)
    response = F.pad(tail * decay**ages, (0, 1), value=1.0)  # (B, 1, 12), the direct sound last
    # every row a channel of its own, which is faster than every item
    rows = F.pad(power, (ECHOES, 0)).view(1, batch * bins, -1)
    return F.conv1d(rows, response.repeat_interleave(bins, 0), groups=batch * bins).view(batch, bins, frames)


def _noise(constants: _Constants, frames: int, draws: Draws) -> Tensor:
    """The power of a noise of smooth spectrum (B, F, T), 1 in the mean."""
    device, bins = constants.noise.device, len(constants.place)
    color = draws.normal("varied/color", 5, device=device) * constants.noise
    flutter = draws.normal("varied/flutter", bins, frames, device=device)
    noise = torch.pow(10.0, (color @ constants.waves)[..., None] / 10 + 0.25 * flutter)
    return noise / noise.mean((1, 2), keepdim=True)


def masked(x: Tensor, draws: Draws, rows: int = 10, frames: int = 6) -> Tensor:
    """Standardized log-mels (B, F, T) with two bands and three moments of random width set to the mean, 0."""
    _, bins, time = x.shape
    widest, ends = _masks(rows, frames, bins, time, x.device)
    width, start = draws.uniform("masked", 5, 2, device=x.device)[..., None].unbind(2)  # two bands, then three moments
    width = width * widest  # (B, 5, 1)
    start = start * (ends - width)
    place = torch.arange(max(bins, time), device=x.device)
    bands, moments = ((place >= start) & (place < start + width)).split((2, 3), 1)  # (B, 2 or 3, F or T)
    return x.masked_fill(bands[..., :bins].any(1)[..., None] | moments[..., :time].any(1, keepdim=True), 0.0)


@lru_cache(maxsize=8)
def _masks(rows: int, frames: int, bins: int, time: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """How wide the bands and moments are at most, and how much there is of their axes, each (5, 1)."""
    widest, ends = [rows] * 2 + [frames] * 3, [bins] * 2 + [time] * 3
    return torch.tensor(widest, device=device)[:, None], torch.tensor(ends, device=device)[:, None]


def _smeared(x: Tensor, amount: Tensor, axis: int) -> Tensor:
    """Each value moved to the mean of its neighbors along an axis by `amount` (B, 1, 1)."""
    wide = F.pad(x, (1, 1) if axis == 2 else (0, 0, 1, 1), mode="replicate")
    size = x.shape[axis]
    return torch.lerp(x, (wide.narrow(axis, 0, size) + wide.narrow(axis, 2, size)) / 2, amount)
