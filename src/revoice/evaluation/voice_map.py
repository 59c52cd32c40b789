"""Where recordings and conversions lie for a verifier, drawn in two dimensions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revoice.errors import one_line
from revoice.evaluation.pictures import GRAY, in_gray, new_figure, to_png


@dataclass(frozen=True)
class VoiceMap:
    """Embeddings of one group of trials.

    Attributes:
        real: of recordings (D,) each.  speakers: whose they are.
        converted: of conversions.  targets: whose they should be.
    """

    real: list[NDArray[np.float32]]
    speakers: list[str]
    converted: list[NDArray[np.float32]]
    targets: list[str]

    @property
    def drawable(self) -> bool:
        """Whether there are enough points for a map."""
        return len(self.real) >= 4 and bool(self.converted)

    def picture(self) -> bytes:
        """PNG: dots are recordings, crosses conversions in the color of the voice they should have.

        The plane is that of the two principal components of the recordings' mean embeddings by voice: it is laid
        through the real voices alone, and no conversion moves it.
        """
        names = sorted(set(self.speakers) | set(self.targets))
        real, converted = np.array(self.real, float), np.array(self.converted, float)
        means = np.array([real[[s == name for s in self.speakers]].mean(0) for name in sorted(set(self.speakers))])
        center = means.mean(0)
        plane = np.linalg.svd(means - center, full_matrices=False)[2][:2].T
        figure = new_figure(6.6, 5.2)
        panel = figure.add_axes((0.03, 0.04, 0.72, 0.9))
        self._draw(panel, names, (real - center) @ plane, (converted - center) @ plane)
        panel.set(xticks=[], yticks=[])
        panel.set_title("dots: recordings; crosses: conversions, in the color of their target")
        in_gray(panel)
        return to_png(figure)

    def _draw(self, panel: Any, names: list[str], real: NDArray[np.float64], converted: NDArray[np.float64]) -> None:
        shades = _shades(len(names))
        for number, name in enumerate(names):
            dots = real[[s == name for s in self.speakers]]
            crosses = converted[[t == name for t in self.targets]]
            color = [shades[number]]
            label = one_line(name, 14) if len(names) <= 20 else None
            panel.scatter(*dots.T, s=16, c=color, alpha=0.55, lw=0, label=label)
            panel.scatter(*crosses.T, s=42, c=color, marker="x", lw=1.4)
        if len(names) <= 20:
            legend = panel.legend(
                frameon=False, labelcolor=GRAY, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5)
            )
            for text in legend.get_texts():
                text.set_parse_math(False)


def _shades(count: int) -> list[Any]:
    """Colors that are told apart as long as there are so many."""
    from matplotlib import colormaps

    if count <= 20:
        return [colormaps["tab10" if count <= 10 else "tab20"](number) for number in range(count)]
    return [colormaps["hsv"](number / count) for number in range(count)]
