"""What `evaluation=aspects` leaves: `metrics.json` and `report.html`, with a picture of the matrix."""

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from revoice.atomic import REPORT, claim, sums_of, write_text
from revoice.evaluation.aspects import COPY, MEASURES, Matrix
from revoice.evaluation.page import facts_list, page
from revoice.evaluation.pictures import GRAY, new_figure, to_png
from revoice.evaluation.report import write_metrics

FILES = ("report.html",)  # beside `metrics.json`
_HOW = (
    "<p>Shares of the way from the source to the target, both through the same features and vocoder: 0 is where the "
    "source was, 1 is the target. An aspect that is swapped alone should bring its own measures beyond 0.5 and leave "
    "the others below 0.25. A dash: source and target hardly differ in it, or no source is understood. Small: the mean "
    "distance to the target. "
    "Error rates: against what the same recognizer hears in the source; that of the source through the vocoder alone "
    "is the best that can be.</p>"
)
_CONTOURS = (
    "<h3>The target's contour in the source's rhythm</h3>"
    "<p>By the pitch converter, the source's own contour moved to the target's mean, and that mean; against the "
    "target's along the alignment of the two recordings.</p>"
)


def write_aspects(out: Path, found: Mapping[str, Matrix], facts: Mapping[str, Any]) -> None:
    """Write the files into a folder."""
    sections = "".join(_section(name, matrix, len(found) > 1) for name, matrix in found.items())
    body = f"<h1>Aspects of speech, swapped</h1>{facts_list(facts)}{_HOW}{sections}"
    claim(out)
    write_text(out / "report.html", page("Aspects of speech, swapped", body))
    systems = {name: asdict(matrix) for name, matrix in found.items()}
    write_metrics(out / REPORT, {**facts, "systems": systems, **sums_of(out, FILES)})


def lines(matrix: Matrix) -> list[str]:
    """The matrix as text, a line for each conversion."""
    heads = [*_measures(matrix), *next(iter(matrix.errors.values()), {})]
    rows = [f"{'':24}" + "".join(f"{head:>20}" for head in heads)]
    for name, ways in matrix.ways.items():
        values = [*ways.values(), *matrix.errors[name].values()]
        rows.append(f"{name:24}" + "".join(f"{_share(value):>20}" for value in values))
    return rows + [f"{name:42}{value:.2f}" for name, value in matrix.contours.items()]


def picture(matrix: Matrix) -> bytes:
    """The shares of the way as colors."""
    names = [name for name in matrix.ways if name != COPY]
    values = np.array([list(matrix.ways[name].values()) for name in names])
    figure = new_figure(8.0, 0.42 * len(names) + 1.0)
    panel = figure.add_axes((0.25, 0.02, 0.73, 0.8))
    panel.imshow(np.clip(values, 0, 1), cmap="Oranges", vmin=0, vmax=1.2, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        panel.text(column, row, _share(value), ha="center", va="center", color="black", fontsize=9)
    measures = [name.replace(" (", "\n(") for name in _measures(matrix)]
    panel.set_xticks(range(len(measures)), measures, color=GRAY)
    panel.set_yticks(range(len(names)), names, color=GRAY)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    return to_png(figure)


def _section(name: str, matrix: Matrix, several: bool) -> str:
    errors = list(next(iter(matrix.errors.values()), {}))
    heads = "".join(f'<th class="n">{escape(head)}</th>' for head in [*_measures(matrix), *errors])
    rows = "".join(_row(each, matrix) for each in matrix.ways)
    image = base64.b64encode(picture(matrix)).decode()
    contours = {key: f"{value:.2f}" for key, value in matrix.contours.items()}
    return (
        (f"<h2>{escape(name)}</h2>" if several else "")
        + f'<figure><img alt="the matrix as colors" src="data:image/png;base64,{image}"></figure>'
        + f'<div class="wide"><table><thead><tr><th>swapped</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        + (_CONTOURS + facts_list(contours) if contours else "")
    )


def _row(name: str, matrix: Matrix) -> str:
    cells = ""
    for measure in _measures(matrix):
        distance = f"{matrix.distances[name][measure]:.3g} {MEASURES[measure.partition(' (')[0]]}"
        cells += (
            f'<td class="n" data-head="{escape(measure)}">{_share(matrix.ways[name][measure])}'
            f"<small>{distance}</small></td>"
        )
    for key, value in matrix.errors[name].items():
        cells += f'<td class="n" data-head="{escape(key)}">{_share(value, 3)}</td>'
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _measures(matrix: Matrix) -> list[str]:
    return list(next(iter(matrix.ways.values())))


def _share(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
