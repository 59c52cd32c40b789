"""Random resampling along time, which takes the timing out of what an encoder hears (SpeechSplit, arXiv:2004.11284).

A sequence is cut into segments of random length, and each is stretched or squeezed by a random factor:

    frames    0 1 2 3 4 5 6 7 8 9 ...         segments of 4 and 6 frames
    output    0 .7 1.3 2 2.7 4 5.4 6.8 8.2    the first stretched by 1.5, the second squeezed by 0.7
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from revoice.nn.draws import Draws

SHORTEST, LONGEST = 19, 31  # frames of a segment
SLOWEST = 1.5  # the largest factor; the smallest is 0.5
_STEPS = 64  # more than any segment becomes: the longest reaches 30 frames, in 45 steps at the largest factor


@dataclass(frozen=True)
class Resampling:
    """Where every frame of the output is read.

    Attributes:
        low: (B, T) int64, the frame before.  share: (B, T), of the frame after it.  there: (B, T) bool, whether there
            is anything: the rest is zero.
    """

    low: Tensor
    share: Tensor
    there: Tensor

    def read(self, x: Tensor) -> Tensor:
        """(B, C, S) -> (B, C, T), exactly: for inputs, which may hold marks such as -1e10."""
        last = x.shape[-1] - 1
        index = self.low.clamp(max=last)[:, None].expand(-1, x.shape[1], -1)
        after = (index + 1).clamp(max=last)
        mixed = torch.lerp(x.gather(2, index), x.gather(2, after), self.share[:, None].to(x.dtype))
        return mixed * self.there[:, None]

    def matrix(self, size: int) -> Tensor:
        """(B, S, T), so that `x @ matrix` is `read(x)` of x (B, C, S) up to rounding, and so is its gradient."""
        places = torch.arange(size, device=self.low.device)[:, None]
        low, share = self.low[:, None], self.share[:, None]
        weight = (1 - share) * (places == low) + share * (places == low + 1)
        return weight * self.there[:, None]


def segments(count: int) -> int:
    """How many segments are drawn for sequences of up to `count` frames."""
    return count // SHORTEST + 1


def resampling(lengths: Tensor, scales: Tensor, sizes: Tensor, frames: int) -> Resampling:
    """The resampling of a batch.

    Args:
        lengths: (B,) frames that are there.
        scales: (B, N) float32, factor of every segment, below 2.
        sizes: (B, N) its frames.
        frames: T of the output, which is cut or filled with zeros.
    """
    offsets = sizes.cumsum(1) - sizes
    steps = torch.arange(_STEPS, device=sizes.device)
    floors = (steps / scales[..., None]).floor()  # (B, N, K)
    inside = (floors < sizes[..., None] - 1) & (floors + offsets[..., None] < lengths[:, None, None] - 1)
    counts = inside.sum(2)  # (B, N) steps that each segment becomes: the first ones, as the places only grow
    ends = counts.cumsum(1)
    # output frame t is step t - start of the segment in which it falls
    t = torch.arange(frames, device=sizes.device)
    segment = (t[None, None] >= ends[..., None]).sum(1).clamp(max=sizes.shape[1] - 1)  # (B, T)
    step = t - (ends - counts).gather(1, segment)
    place = step / scales.gather(1, segment)
    floor = place.floor()
    low = (floor.long() + offsets.gather(1, segment)).clamp(min=0)
    return Resampling(low, place - floor, t[None] < ends[:, -1:])


def drawn(draws: Draws, name: str, lengths: Tensor, longest: int, frames: int) -> Resampling:
    """A random resampling of every item, on the device of `lengths`: factors in [0.5, 1.5), segments of 19 to 31.

    Args:
        draws: random numbers of the batch.
        name: keeps the draws of one batch apart.
        lengths: (B,) frames that are there.
        longest: frames that as many segments are drawn for as the shortest would take, and one; published: 128, even
            where 192 frames are there, so that the end of these may be left out.
        frames: T of the output.
    """
    count, device = segments(longest), lengths.device
    scales = draws.uniform(f"{name}/scales", count, device=device) + (SLOWEST - 1)
    sizes = SHORTEST + draws.integers(f"{name}/sizes", LONGEST - SHORTEST + 1, count, device=device)
    return resampling(lengths, scales, sizes, frames)


def stretched(x: Tensor, rate: float, nearest: bool = False) -> Tensor:
    """(B, C, S) spoken `rate` times as fast, (B, C, round(S / rate)), one frame at least.

    >>> stretched(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]), 2.0).tolist()
    [[[0.5, 2.5]]]
    """
    if rate == 1.0:
        return x
    frames = max(1, round(x.shape[-1] / rate))
    if nearest:
        return torch.nn.functional.interpolate(x, frames, mode="nearest-exact")
    return torch.nn.functional.interpolate(x, frames, mode="linear", align_corners=False)
