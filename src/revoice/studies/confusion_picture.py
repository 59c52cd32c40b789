"""The picture of an identification: which voices are taken for which."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from revoice.errors import one_line
from revoice.evaluation.pictures import in_gray, new_figure, to_png

NAMED = 40  # voices whose names can be read along an axis


def confusion_picture(panels: Mapping[str, NDArray[np.float64]], names: Sequence[str]) -> bytes:
    """PNG of confusion matrices side by side, on one color scale.

    Args:
        panels: by title, how often (n, n + 1) the voice of a row was taken for that of a column; the last column
            counts clips that were taken for nobody, and is shown if there are any.
        names: (n,) of the voices.
    """
    figure = new_figure(5.6 * len(panels) + 0.9, 5.6)
    width = figure.get_figwidth()
    for number, (title, counts) in enumerate(panels.items()):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shares = shares if counts[:, -1].any() else shares[:, :-1]
        panel = figure.add_axes(((0.75 + 5.6 * number) / width, 0.14, 4.7 / width, 0.8))
        shown = panel.imshow(shares, cmap="magma", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
        panel.set(title=title, xlabel="taken for", ylabel="voice", xticks=[], yticks=[])
        if len(names) <= NAMED:
            shown_names = [*(one_line(name, 40) for name in names), "nobody"]
            panel.set_xticks(range(shares.shape[1]), shown_names[: shares.shape[1]], rotation=90, parse_math=False)
            panel.set_yticks(range(len(names)), shown_names[: len(names)], parse_math=False)
        in_gray(panel)
        panel.tick_params(labelsize=8 if len(names) <= 12 else 6, length=2)
    bar = figure.add_axes(((width - 0.75) / width, 0.14, 0.12 / width, 0.8))
    figure.colorbar(shown, cax=bar, ticks=[0.0, 0.5, 1.0], label="share of the clips")
    in_gray(bar)
    return to_png(figure)
