"""How well a converted pitch contour follows another one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from revoice.evaluation.mcd import Analysis

VOICED_MIN = 20  # frames of 5 ms: fewer say nothing about a contour


@dataclass(frozen=True)
class PitchAgreement:
    """Agreement of two contours over the frames that are voiced in both.

    Attributes:
        correlation: Pearson correlation of log f0, -1..1; nan with fewer than 20 common voiced frames, or
            a flat contour.
        rmse_cents: root mean square difference in cents (1200 per octave), register included; nan with fewer than 20
            common voiced frames.
        frames: number of common voiced frames.
    """

    correlation: float
    rmse_cents: float
    frames: int


def agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> PitchAgreement:
    """Compare contours frame by frame.

    Args:
        a: (N,) f0 in Hz, 0 where unvoiced.
        b: (M,) likewise; the longer one is cut, as conversions that keep the timing differ by a frame or two.

    >>> f0 = np.linspace(100.0, 200.0, 50)
    >>> round(agreement(f0, 2 * f0).rmse_cents)
    1200
    """
    count = min(len(a), len(b))
    both = (a[:count] > 0) & (b[:count] > 0)
    x, y = np.log2(a[:count][both]), np.log2(b[:count][both])
    if len(x) < VOICED_MIN:
        return PitchAgreement(np.nan, np.nan, len(x))
    rmse = 1200.0 * float(np.sqrt(np.mean((x - y) ** 2)))
    flat = min(x.std(), y.std()) < 1e-6
    return PitchAgreement(np.nan if flat else float(np.corrcoef(x, y)[0, 1]), rmse, len(x))


def voicing_error(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Share of frames that are voiced in one contour alone; nan without frames.

    Args:
        a: (N,) f0 in Hz, 0 where unvoiced.
        b: (M,) likewise; the longer one is cut.

    >>> voicing_error(np.array([100.0, 0.0, 0.0, 90.0]), np.array([80.0, 0.0, 70.0, 90.0, 0.0]))
    0.25
    """
    count = min(len(a), len(b))
    return float(np.mean((a[:count] > 0) != (b[:count] > 0))) if count else float("nan")


def agreement_along(a: Analysis, b: Analysis, path: NDArray[np.int64]) -> PitchAgreement:
    """Compare the contours of two recordings of the same words along the path (P, 2) of their spectral alignment."""
    return agreement(a.f0[path[:, 0]], b.f0[path[:, 1]])
