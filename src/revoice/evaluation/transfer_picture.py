"""The picture of a style transfer: three spectrograms over the two losses."""

import math
import statistics
from collections.abc import Mapping, Sequence

from revoice.audio.io import Audio
from revoice.evaluation.pictures import CROSS, GRAY, SAME, draw_spectrograms, in_gray, new_figure, to_png
from revoice.models.base import Progress


def transfer_picture(steps: Sequence[Progress], clips: Mapping[str, Audio]) -> bytes:
    """PNG of the clips by title, and of two losses over the iterations, one part of the clip after another."""
    from matplotlib.ticker import LogLocator

    figure = new_figure(11.0, 5.0)
    draw_spectrograms(figure, clips, 0.6, 0.34)
    panel = figure.add_axes((0.07, 0.1, 0.835, 0.36))
    runs = _runs(steps)
    for axes, name, color in zip((panel, panel.twinx()), steps[0].losses, (CROSS, SAME), strict=False):
        for first, run in runs:
            values = [step.losses[name] if step.losses[name] > 0.0 else math.nan for step in run]
            axes.plot([first + step.iteration for step in run], values, color=color, lw=1.2, marker=".", ms=3)
        axes.set_ylabel(f"{name} loss")
        if any(step.losses[name] > 0.0 for step in steps):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        in_gray(axes)
        axes.yaxis.label.set_color(color)
    for first, _ in runs[1:]:
        panel.axvline(first, color=GRAY, lw=0.5)
    panel.set_xlabel("iterations" if len(runs) == 1 else "iterations, window after window")
    return to_png(figure)


def mean_losses(steps: Sequence[Progress]) -> dict[str, float]:
    """Where the searches of a record ended: the mean over the parts of the clip."""
    ends = [run[-1].losses for _, run in _runs(steps)]
    return {name: statistics.fmean(losses[name] for losses in ends) for name in ends[0]}


def _runs(steps: Sequence[Progress]) -> list[tuple[int, list[Progress]]]:
    """The searches in a record, each with the number of iterations before it."""
    runs: list[tuple[int, list[Progress]]] = []
    for step in steps:
        if not runs or step.iteration <= runs[-1][1][-1].iteration:
            runs.append((runs[-1][0] + runs[-1][1][-1].iteration if runs else 0, []))
        runs[-1][1].append(step)
    return runs
