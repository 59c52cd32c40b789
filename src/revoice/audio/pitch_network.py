"""Fundamental frequency by a small network that hears through noise, rooms and telephones; trained by `models.pitch`.

Every frame's spectrum is compared with combs of harmonics (a comb filter bank in the spectral domain, as in Hermes'
subharmonic summation, JASA 1988); convolutions over time decide between the candidates, as CREPE's classes of pitch do
(Kim et al., arXiv:1802.06182).
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.untrusted import read_safetensors

SAMPLE_RATE = 16000
HOP = 160  # samples between frames: 100 frames a second
LOWEST, HIGHEST = 50.0, 1000.0  # Hz
CENTS = 20  # between neighboring classes of pitch
CLASSES = round(1200 / CENTS * math.log2(HIGHEST / LOWEST)) + 1
BINS = 257  # of a spectrum, up to 4 kHz
AROUND = 3  # classes to either side of the likeliest that pitch is averaged over
BLOCK = 6000  # frames that are searched at a time, a minute
WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "pitch.safetensors"
_WINDOW = 1024
_COMPRESSION = 0.6  # of magnitudes, before they are compared with combs
_FAINT = 0.05  # beside magnitudes of about 10 in a clip of unit power


class TimeBlock(nn.Module):
    """Residual block: a depthwise convolution over time, normalization, two pointwise layers.

    Args:
        channels: C.  hidden: between the pointwise layers.  kernel, dilation: of the convolution.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        h = self.norm(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return x + self.down(F.gelu(self.up(h)))


class PitchNetwork(nn.Module):
    """Samples -> how likely each frame has each pitch, and whether it is voiced.

    Args:
        channels, hidden, kernel: of the blocks.
        dilations: of the blocks, one for each.
    """

    window: Tensor
    combs: Tensor

    def __init__(
        self, channels: int = 192, hidden: int = 384, kernel: int = 7, dilations: Sequence[int] = (1, 1, 2, 1, 2, 4)
    ) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)
        of_bin = torch.arange(BINS, dtype=torch.float64)[:, None] * SAMPLE_RATE / _WINDOW
        combs = torch.cos(2 * torch.pi * of_bin / class_hertz().double())  # 1 at every multiple of a pitch
        self.register_buffer("combs", (combs * (of_bin >= LOWEST / 2)).float(), persistent=False)
        self.stem = nn.Linear(BINS + 1 + CLASSES, channels)
        self.blocks = nn.ModuleList(TimeBlock(channels, hidden, kernel, dilation) for dilation in dilations)
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, CLASSES + 1)
        self.reach = sum(dilation * (kernel // 2) for dilation in dilations)  # frames to either side

    def heard(self, waveform: Tensor) -> Tensor:
        """(B, S) at 16 kHz, of about unit power -> what the network sees (B, T, channels of its input).

        Frame t is centered on sample t x HOP, T = S // HOP + 1.
        """
        frames = F.pad(waveform, (_WINDOW // 2, _WINDOW // 2)).unfold(1, _WINDOW, HOP)
        return self.seen(torch.fft.rfft(frames * self.window)[..., :BINS].abs())

    def seen(self, magnitude: Tensor) -> Tensor:
        """The same of magnitudes (B, T, BINS)."""
        log = (magnitude + _FAINT).log()
        level = log.mean(-1, keepdim=True)
        compressed = (magnitude + _FAINT) ** _COMPRESSION
        candidates = (compressed / compressed.mean(-1, keepdim=True) - 1) @ self.combs / BINS
        return torch.cat([(log - level) / 2, level / 2, 10 * candidates], dim=-1)

    def forward(self, heard: Tensor) -> tuple[Tensor, Tensor]:
        """What `heard` returns -> logits of the classes of pitch (B, T, CLASSES) and of being voiced (B, T)."""
        x = self.stem(heard)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x)).float()
        return logits[..., :-1], logits[..., -1]

    @torch.no_grad()
    def search(self, samples: np.ndarray, floor: float = LOWEST, ceil: float = HIGHEST) -> np.ndarray:
        """f0 (S // HOP + 1,) in Hz of samples (S,) at 16 kHz, 0 where unvoiced; memory for a minute at a time."""
        power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
        frames = len(samples) // HOP + 1
        if not power > 0 or not math.isfinite(power):
            return np.zeros(frames)
        waveform = torch.from_numpy((samples / math.sqrt(power)).astype(np.float32)).to(self.window.device)
        return np.concatenate([self._block(waveform, n, frames, floor, ceil) for n in range(0, frames, BLOCK)])

    def _block(self, waveform: Tensor, start: int, frames: int, floor: float, ceil: float) -> np.ndarray:
        """Frames from `start` on, with as much to either side as the network sees."""
        margin = self.reach + _WINDOW // HOP + 1
        first, end = max(0, start - margin), min(frames, start + BLOCK + margin)
        pitches, voiced = self(self.heard(waveform[None, first * HOP : end * HOP]))
        f0 = hertz(pitches, floor, ceil) * (voiced > 0)
        return f0[0, start - first : min(start + BLOCK, frames) - first].double().cpu().numpy()


def class_hertz() -> Tensor:
    """Pitch (CLASSES,) in Hz that the classes stand for."""
    return LOWEST * 2 ** (torch.arange(CLASSES, dtype=torch.float32) * CENTS / 1200)


def hertz(logits: Tensor, floor: float = LOWEST, ceil: float = HIGHEST) -> Tensor:
    """Logits of the classes of pitch (..., CLASSES) -> f0 (...) in Hz: the mean around the likeliest in floor..ceil."""
    of_class = class_hertz().to(logits.device)
    inside = (of_class >= floor) & (of_class <= ceil)
    logits = logits.masked_fill(~inside, -math.inf)
    place = torch.arange(CLASSES, device=logits.device)
    near = (place - logits.argmax(-1, keepdim=True)).abs() <= AROUND
    weight = logits.masked_fill(~near, -math.inf).softmax(-1)
    return LOWEST * 2 ** ((weight * place).sum(-1) * CENTS / 1200)


def between(f0: Tensor, at: Tensor) -> Tensor:
    """f0 (N,) read at real places (T,): on a line in its logarithm between voiced neighbors, else the nearer one's.

    >>> between(torch.tensor([100.0, 121.0, 0.0]), torch.tensor([0.5, 1.2, 1.8])).round().tolist()
    [110.0, 121.0, 0.0]
    """
    low = at.long().clamp(max=f0.shape[0] - 1)
    share, a, b = at - low, f0[low], f0[(low + 1).clamp(max=f0.shape[0] - 1)]
    joined = (a > 0) & (b > 0) & (torch.maximum(a, b) < 1.4 * torch.minimum(a, b))  # no jump between them
    line = torch.exp((1 - share) * a.clamp(min=1.0).log() + share * b.clamp(min=1.0).log())
    return torch.where(joined, line, torch.where(share < 0.5, a, b))


def classes(f0: Tensor) -> Tensor:
    """f0 (...) in Hz -> place among the classes (...), a real number; what is unvoiced is below 0.

    >>> classes(torch.tensor([50.0, 100.0, 0.0])).round().tolist()
    [0.0, 60.0, -1.0]
    """
    return ((f0.clamp(min=1.0) / LOWEST).log2() * (1200 / CENTS)).masked_fill(f0 <= 0, -1.0)


@lru_cache(maxsize=1)
def weights_mark() -> str:
    """What tells the weights that ship from others: contours by them are no others'."""
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=4)
def pitch_network(device: str = "cpu") -> PitchNetwork:
    """The network that ships, loaded once."""
    description, tensors = read_safetensors(WEIGHTS, "revoice")
    sizes = {name: description["arguments"][name] for name in ("channels", "hidden", "kernel", "dilations")}
    network = PitchNetwork(**sizes)
    network.load_state_dict({name.removeprefix("network."): tensor.float() for name, tensor in tensors.items()})
    return network.requires_grad_(False).eval().to(device)
