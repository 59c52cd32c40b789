"""Fundamental frequency on the frames of a spec, by several searches, and SpeechSplit's normalization."""

import math
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch

from revoice.audio import pitch_network
from revoice.audio.io import resample
from revoice.audio.spec import FeatureSpec
from revoice.errors import UserError, choices

METHODS = ("dio", "harvest", "world", "rapt", "network")
ANALYSIS_RATE = 5512  # Hz that `pitch_for` analyses at: a quarter of 22.05 kHz, plenty for f0 up to 600 Hz
RAPT_BEGINS = 0.0075  # seconds
D4C_RATE = 16000  # Hz: the lowest at which D4C tells what is voiced
UNVOICED = -1e10  # SpeechSplit's mark in log-f0 contours


@dataclass(frozen=True)
class Pitch:
    """A pitch contour.

    Attributes:
        f0: (T,) float32 in Hz, 0 where unvoiced.
        voiced: (T,) bool.
    """

    f0: np.ndarray
    voiced: np.ndarray


@dataclass(frozen=True)
class LogF0Statistics:
    """Mean and (population) standard deviation of voiced natural log-f0; (0, 0) if nothing is voiced."""

    mean: float
    std: float


def pitch(
    samples: np.ndarray,
    sample_rate: int,
    hop: float,
    n_frames: int,
    method: str = "dio",
    floor: float = 60.0,
    ceil: float = 600.0,
    offset: int = 0,
    rate: int | None = None,
) -> Pitch:
    """Pitch of frames centered on samples `offset + t * hop`, exactly `n_frames` of them.

    Args:
        samples: (S,) mono.
        sample_rate: Hz.
        hop: samples between frames; a whole number for rapt.
        n_frames: T.
        method: "dio" (WORLD's DIO refined by StoneMask: fast), "harvest" (WORLD's; slower, finds pitch in pauses, too),
            "world" (Harvest's, where D4C finds it voiced, as WORLD itself has it; at 16 kHz or more), "rapt" (Talkin
            1995, by SPTK: what SpeechSplit was published with; always at `sample_rate`) or "network"
            (`pitch_network`, which hears through noise, rooms and telephones; always at 16 kHz).
        floor: lowest f0 searched, Hz.  ceil: highest.
        offset: sample on which frame 0 is centered (`spec.frame_offset`).
        rate: Hz to resample to before the search, which is then faster; None searches at `sample_rate`.
    """
    at = searched_at(sample_rate, method, floor, ceil, rate)
    x = np.ascontiguousarray(samples[offset:], dtype=np.float64)
    x = resample(np.pad(x, (0, max(0, math.ceil((n_frames + 1) * hop) - len(x)))), sample_rate, at)
    if method == "rapt":
        f0 = _rapt(x, at, int(hop), floor, ceil)
    elif method == "network":
        found = pitch_network.pitch_network().search(x, floor, ceil)
        place = torch.arange(n_frames, dtype=torch.float64) * (hop / sample_rate * at / pitch_network.HOP)
        f0 = pitch_network.between(torch.from_numpy(found), place).numpy()
    else:
        f0 = _world(x, at, method, hop / sample_rate, floor, ceil)
    f0 = np.where(np.isfinite(f0) & (f0 > 0), f0, 0.0)[:n_frames].astype(np.float32)
    return Pitch(f0, f0 > 0)


def searched_at(sample_rate: int, method: str, floor: float, ceil: float, rate: int | None) -> int:
    """The rate in Hz that `pitch` searches at; a `UserError` where it cannot search so."""
    if method not in METHODS:
        raise choices(method, METHODS, "pitch method")
    if method == "rapt" and find_spec("pysptk") is None:
        raise UserError("pitch by rapt needs pysptk: pip install 'revoice[rapt]', or take network, dio or harvest")
    if method == "network":
        at = pitch_network.SAMPLE_RATE
        if not ((floor <= pitch_network.class_hertz()) & (pitch_network.class_hertz() <= ceil)).any():
            raise UserError(f"pitch range {floor:g}..{ceil:g} Hz: method network finds what lies in 50..1000")
    else:
        at = sample_rate if method == "rapt" else min(rate or sample_rate, sample_rate)
    if method == "world":
        at = min(max(at, D4C_RATE), sample_rate)
        if at < D4C_RATE:
            raise UserError(
                f"pitch method world needs features of {D4C_RATE} Hz or more, these have {sample_rate}: take dio"
            )
    if not 0 < floor < ceil <= at / 2:
        raise UserError(
            f"pitch range {floor:g}..{ceil:g} Hz, searched at {at} Hz: expected 0 < floor < ceil <= {at / 2:g}"
        )
    return at


def _world(x: np.ndarray, rate: int, method: str, period: float, floor: float, ceil: float) -> np.ndarray:
    import pyworld

    step = 1000.0 * period
    if method in ("harvest", "world"):
        f0, times = pyworld.harvest(x, rate, f0_floor=floor, f0_ceil=ceil, frame_period=step)
        return f0 if method == "harvest" else np.where(pyworld.d4c(x, f0, times, rate).min(axis=1) < 1 - 1e-6, f0, 0.0)
    f0, times = pyworld.dio(x, rate, f0_floor=floor, f0_ceil=ceil, frame_period=step)
    return pyworld.stonemask(x, f0, times, rate)


def _rapt(x: np.ndarray, rate: int, hop: int, floor: float, ceil: float) -> np.ndarray:
    import pysptk

    # SPTK's contour begins half a window in, whatever the hop: so much silence centers its first frame on sample 0
    samples = np.pad(x, (round(RAPT_BEGINS * rate), 0)).astype(np.float32) * 32768  # in steps of 16 bits
    return pysptk.rapt(samples, rate, hop, min=floor, max=ceil, otype="f0")


def pitch_for(
    samples: np.ndarray,
    spec: FeatureSpec,
    method: str = "dio",
    floor: float = 60.0,
    ceil: float = 600.0,
    rate: int | None = ANALYSIS_RATE,
) -> Pitch:
    """Pitch (T,) on the frames that `spec` makes of `samples` (S,) at its sample rate."""
    frames = spec.frames(len(samples))
    return pitch(samples, spec.sample_rate, spec.hop, frames, method, floor, ceil, spec.frame_offset, rate)


def log_f0_statistics(log_f0: np.ndarray) -> LogF0Statistics:
    """Statistics of a natural log-f0 contour whose unvoiced frames hold `UNVOICED`."""
    voiced = np.asarray(log_f0, dtype=np.float64)[np.asarray(log_f0) > UNVOICED / 2]
    return LogF0Statistics(float(voiced.mean()), float(voiced.std())) if len(voiced) else LogF0Statistics(0.0, 0.0)


def normalize_log_f0(log_f0: np.ndarray, statistics: LogF0Statistics) -> np.ndarray:
    """SpeechSplit's contour: (log f0 - mean) / std / 4 clipped to [-1, 1], then moved to [0, 1]; unvoiced stays marked.

    With no spread at all (one voiced frame, a monotone) voiced frames become 0.5.
    """
    log_f0 = np.asarray(log_f0)
    spread = 4.0 * statistics.std if statistics.std > 0 else 1.0
    scaled = (np.clip((log_f0 - statistics.mean) / spread, -1.0, 1.0) + 1.0) / 2.0
    return np.where(log_f0 > UNVOICED / 2, scaled, UNVOICED).astype(log_f0.dtype)
