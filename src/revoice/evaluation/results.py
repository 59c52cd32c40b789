"""The numbers of an evaluation for programs and papers: `metrics.csv` and a LaTeX table."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from revoice.atomic import write_text
from revoice.evaluation.compare import Differences, ties
from revoice.evaluation.evaluate import Evaluation
from revoice.evaluation.metrics.base import Column
from revoice.evaluation.tables import told
from revoice.foreign import write_csv

HEAD = ("system", "group", "condition", "metric", "mean", "low", "high", "trials", "better")
_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    }
)  # fmt: skip


def write_table(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write one line of CSV per system, group, condition and number, with its interval."""
    lines: list[Sequence[Any]] = [HEAD]
    for evaluation in evaluations:
        for group, summary in evaluation.summaries.items():
            parts = {"all": summary}
            parts |= {key.replace("_", " "): summary[key] for key in ("same_gender", "cross_gender") if key in summary}
            parts |= summary.get("conditions", {})
            for name, part in parts.items():
                for column in evaluation.columns:
                    low, high = part["ci"].get(column.key) or (None, None)
                    values = (_blank(value) for value in (part.get(column.key), low, high))
                    lines.append(
                        [evaluation.name, group, name, column.key, *values, part["counts"][column.key], column.better]
                    )
    write_csv(path, lines)


def _blank(value: Any) -> Any:
    return "" if value is None or not math.isfinite(value) else value


def write_latex(path: Path, evaluations: Sequence[Evaluation], compared: Mapping[str, Differences]) -> None:
    """Write a table for each group: systems downwards, numbers with half of their intervals; the best in bold.

    What does not differ significantly from the best is in bold too. It needs the package booktabs.
    """
    groups = dict.fromkeys(group for evaluation in evaluations for group in evaluation.summaries)
    columns = [c for c in told({c.key: c for e in evaluations for c in e.columns}.values()) if c.better]
    parts = [_latex(group, evaluations, columns, compared.get(group, {})) for group in groups]
    write_text(path, "\n\n".join(parts) + "\n")


def _latex(group: str, evaluations: Sequence[Evaluation], columns: Sequence[Column], compared: Differences) -> str:
    systems = {e.name: e.summaries[group] for e in evaluations if group in e.summaries}
    shown = [c for c in columns if any(math.isfinite(s.get(c.key) or 0.0) and c.key in s for s in systems.values())]
    bold = {}
    for column in shown:
        best, even = ties(systems, column, compared)
        bold[column.key] = {best, *even} - {""}
    trials = max(summary["trials"] for summary in systems.values())
    arrows = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "": ""}
    lines = [
        f"% {group} voices, {trials} conversions; +- half of the 95 % interval; bold: the best, and what does not "
        "differ significantly from it",
        r"\begin{tabular}{l" + "r" * len(shown) + "}",
        r"\toprule",
        " & ".join(["System", *(f"{latex(c.title)} {arrows[c.better]}" for c in shown)]) + r" \\",
        r"\midrule",
    ]
    for name, summary in systems.items():
        cells = [_cell(summary, c, name in bold[c.key]) for c in shown]
        lines.append(" & ".join([latex(name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _cell(summary: Mapping[str, Any], column: Column, bold: bool) -> str:
    value = summary.get(column.key)
    if value is None or not math.isfinite(value):
        return "--"
    scale, digits = (100, 1) if column.share else (1, column.digits)
    text = f"{scale * value:.{digits}f}"
    text = rf"\textbf{{{text}}}" if bold else text
    bounds = summary["ci"].get(column.key)
    return text + (rf" $\pm$ {scale * (bounds[1] - bounds[0]) / 2:.{digits}f}" if bounds else "")


def latex(text: str) -> str:
    r"""Text without what LaTeX would take for a command.

    >>> print(latex("50 % of a_b"))
    50 \% of a\_b
    """
    return text.translate(_ESCAPES)
