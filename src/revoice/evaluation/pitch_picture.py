"""The melody of clips, one line for each."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio, resample
from revoice.evaluation.mcd import F0_CEIL, F0_FLOOR, RATE
from revoice.evaluation.media import SECONDS_MAX
from revoice.evaluation.pictures import CROSS, GRAY, SAME, in_gray, new_figure, to_png

STEP_MS = 10.0
COLORS = (GRAY, CROSS, SAME)


def contour(clip: Audio) -> NDArray[np.float64]:
    """f0 (N,) in Hz every 10 ms of the first 15 s, nan where unvoiced, by WORLD's DIO and StoneMask."""
    import pyworld

    samples = clip.samples[: int(SECONDS_MAX * clip.sample_rate)]
    wave = np.ascontiguousarray(resample(samples, clip.sample_rate, RATE), dtype=np.float64)
    if len(wave) < RATE // 10:
        return np.zeros(0)
    coarse, times = pyworld.dio(wave, RATE, f0_floor=F0_FLOOR, f0_ceil=F0_CEIL, frame_period=STEP_MS)
    f0 = pyworld.stonemask(wave, coarse, times, RATE)
    return np.where(f0 > 0, f0, np.nan)


def contours(clips: Mapping[str, Audio]) -> bytes:
    """PNG: pitch over time on a logarithmic axis, a line for each of up to three clips, by title."""
    figure = new_figure(11.0, 1.7)
    panel = figure.add_axes((0.05, 0.26, 0.87, 0.68))
    lines = {title: contour(clip) for title, clip in clips.items()}
    for (title, f0), color in zip(lines.items(), COLORS, strict=False):
        panel.plot(np.arange(len(f0)) * STEP_MS / 1000, f0, color=color, lw=1.8, label=title)
    voiced = np.concatenate([f0[np.isfinite(f0)] for f0 in lines.values()])
    low, high = (voiced.min() / 1.1, voiced.max() * 1.1) if len(voiced) else (F0_FLOOR, F0_CEIL)
    panel.set(yscale="log", ylim=(low, high), xlabel="time in s", ylabel="pitch in Hz")
    ticks = [hertz for hertz in (60, 80, 100, 150, 200, 300, 400, 600) if low <= hertz <= high]
    panel.set_yticks(ticks, labels=map(str, ticks))
    panel.minorticks_off()
    panel.set_xlim(0, max(min(SECONDS_MAX, clip.seconds) for clip in clips.values()))
    panel.legend(frameon=False, labelcolor=GRAY, fontsize=8, ncol=3, loc="upper right")
    in_gray(panel)
    return to_png(figure)
