"""Pictures as PNG bytes. Those of the report are transparent, with gray text: they suit light and dark pages."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revoice.audio.io import Audio, resample
from revoice.evaluation.media import SECONDS_MAX

GRAY = "#85898f"
CROSS, SAME = "#e07a2f", "#3b8fd6"
RANGE_DB = 70.0
RATE, N_FFT, HOP = 16000, 512, 128


def spectrograms(clips: Mapping[str, Audio]) -> bytes:
    """Spectrograms side by side, 0 to 8 kHz, on one time axis and one color scale.

    Args:
        clips: by title; the first 15 s of each are shown, in dB under its own loudest point.
    """
    figure = new_figure(11.0, 2.5)
    draw_spectrograms(figure, clips, 0.2, 0.67)
    return to_png(figure)


def draw_spectrograms(figure: Any, clips: Mapping[str, Audio], bottom: float, height: float) -> None:
    """A row of panels and its color bar, placed in fractions of the figure."""
    seconds = min(SECONDS_MAX, max(clip.seconds for clip in clips.values()))
    width = 0.87 / len(clips)
    for number, (title, clip) in enumerate(clips.items()):
        panel = figure.add_axes((0.05 + number * width, bottom, width - 0.015, height))
        levels = spectrogram_db(clip)
        reach = (0.0, levels.shape[1] * HOP / RATE, 0.0, RATE / 2000.0)
        shown = panel.imshow(
            levels,
            origin="lower",
            aspect="auto",
            extent=reach,
            cmap="magma",
            vmin=-RANGE_DB,
            vmax=0,
            interpolation="nearest",
        )
        panel.set(title=title, xlabel="time in s", xlim=(0.0, seconds), yticks=range(0, 9, 2))
        panel.set_xticks(range(0, int(seconds) + 1, 1 + int(seconds) // 8))
        in_gray(panel)
        panel.set_facecolor("#000004")
        if number:
            panel.tick_params(labelleft=False)
        else:
            panel.set_ylabel("frequency in kHz")
    bar = figure.add_axes((0.93, bottom, 0.012, height))
    figure.colorbar(shown, cax=bar, ticks=[0, -RANGE_DB / 2, -RANGE_DB], label="dB")
    in_gray(bar)


def spectrogram_db(clip: Audio) -> NDArray[np.float32]:
    """Power in dB under the loudest point, (257, T): bins from 0 to 8 kHz, a frame every 8 ms.

    High frequencies are raised (pre-emphasis 0.97), as is usual to see consonants beside vowels.
    """
    samples = resample(clip.samples[: int(SECONDS_MAX * clip.sample_rate)], clip.sample_rate, RATE)
    padded = np.pad(np.diff(samples, prepend=0.0) + 0.03 * samples, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP] * np.hanning(N_FFT).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)).T ** 2
    return 10.0 * np.log10(np.maximum(power / max(float(power.max()), 1e-20), 1e-12)).astype(np.float32)


def cosine_scatter(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """One panel per group: each trial's cosine to the target over its cosine to the source, and their histograms.

    Args:
        groups: records with `cosine_target`, `cosine_source` and `same_gender`, by the group's title.
    """
    points = {
        title: [(r["cosine_source"], r["cosine_target"], r["same_gender"]) for r in records if "cosine_target" in r]
        for title, records in groups.items()
    }
    values = [value for group in points.values() for point in group for value in point[:2]] or [0.0, 1.0]
    reach = (min(values) - 0.03, max(values) + 0.03)
    figure = new_figure(5.2 * len(points), 5.2)
    for number, (title, group) in enumerate(points.items()):
        panel = figure.add_axes(((number + 0.14) / len(points), 0.17, 0.7 / len(points), 0.7))
        _scatter(panel, group, reach)
        panel.set(xlabel="cosine to the source voice", ylabel="cosine to the target voice")
        panel.set_title(title, y=1.1)
        in_gray(panel)
    return to_png(figure)


def _scatter(panel: Any, points: Sequence[tuple[float, float, bool | None]], reach: tuple[float, float]) -> None:
    for same, color, marker, label in (
        (False, CROSS, "o", "cross-gender"),
        (True, SAME, "^", "same gender"),
        (None, GRAY, "s", "gender unknown"),
    ):
        chosen = [(x, y) for x, y, gender in points if gender is same]
        if chosen:
            panel.scatter(*zip(*chosen, strict=True), s=26, c=color, marker=marker, alpha=0.75, lw=0, label=label)
    panel.plot(reach, reach, color=GRAY, lw=1, ls="--", label="equally close")
    panel.set(xlim=reach, ylim=reach)
    panel.legend(frameon=False, labelcolor=GRAY, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=3)
    bins = np.linspace(*reach, 31)
    top, right = panel.inset_axes((0.0, 1.01, 1.0, 0.08)), panel.inset_axes((1.01, 0.0, 0.08, 1.0))
    top.hist([x for x, _, _ in points], bins=bins, color=GRAY, alpha=0.6)
    right.hist([y for _, y, _ in points], bins=bins, color=GRAY, alpha=0.6, orientation="horizontal")
    top.set(xlim=reach)
    right.set(ylim=reach)
    for margin in (top, right):
        margin.set_axis_off()


def new_figure(width: float, height: float, background: str = "none") -> Any:
    """An empty figure (inches); needs no display. Axes are placed by hand: automatic layout is slower than drawing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def in_gray(panel: Any) -> None:
    """Text and lines that can be read on white and on black."""
    panel.set_facecolor("none")
    panel.tick_params(colors=GRAY, labelsize=8)
    for text in (panel.title, panel.xaxis.label, panel.yaxis.label):
        text.set(color=GRAY, fontsize=9, parse_math=False)  # a name may hold a $
    for edge in panel.spines.values():
        edge.set_color(GRAY)


def to_png(figure: Any) -> bytes:
    """PNG with a palette of 192 colors: a third of the size, no visible difference."""
    from PIL import Image

    figure.set_dpi(110)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba()))
    buffer = io.BytesIO()
    picture.quantize(192, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()
