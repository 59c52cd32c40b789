"""Numbers of an evaluation as HTML tables."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from revoice.evaluation.compare import Differences, ties
from revoice.evaluation.metrics.base import Column
from revoice.evaluation.summary import Record, Summary

Cell = tuple[str, str]  # CSS classes, HTML


def number(value: Any, column: Column) -> str:
    """A value as text with its unit; an en dash if there is none.

    >>> number(0.9821, Column(key="k", title="t", share=True)), number(None, Column(key="k", title="t"))
    ('98.2 %', '–')
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if column.share:
        return f"{100 * value:.1f} %"
    return f"{value:.{column.digits}f}" + (f" {column.unit}" if column.unit else "")


def with_interval(summary: Mapping[str, Any], column: Column) -> str:
    """HTML: the mean, and its confidence interval below."""
    mean = number(summary.get(column.key), column)
    bounds = (summary.get("ci") or {}).get(column.key)
    if not bounds:
        return mean
    scale, digits = (100, 1) if column.share else (1, column.digits)
    low, high = (f"{scale * bound:.{digits}f}" for bound in bounds)
    return f"{mean}<small>{low} to {high}</small>"


def told(columns: Iterable[Column]) -> list[Column]:
    """The columns that have a line of their own; the others stand beside one of these."""
    return [column for column in columns if column.explain]


def summary_table(summary: Summary, columns: Sequence[Column]) -> str:
    """One line per metric: floor, measured with its interval, ceiling, how to read it."""
    by_key = {column.key: column for column in columns}

    def beside(key: str) -> str:
        return number(summary.get(key), by_key[key]) if key in by_key else ""

    lines = [
        [
            ("", escape(c.title)),
            ("n", beside(c.floor)),
            ("n main", with_interval(summary, c)),
            ("n", beside(c.ceiling)),
            ("long", escape(c.explain)),
        ]
        for c in told(columns)
    ]
    heads = [("", "Metric"), ("n", "Nothing<br>converted"), ("n", "Converted"), ("n", "Vocoder<br>alone")]
    return table([*heads, ("", "How to read it")], lines)


def condition_table(summary: Summary, columns: Sequence[Column]) -> str:
    """One line per metric: all pairs, same gender, cross-gender, and what else sets pairs apart; "" if nothing does."""
    parts = {"All pairs": summary}
    parts |= {
        t: summary[k] for t, k in (("Same gender", "same_gender"), ("Cross-gender", "cross_gender")) if k in summary
    }
    parts |= summary.get("conditions", {})
    if len(parts) == 1:
        return ""
    heads = [("", "Metric"), *(("n", f"{escape(title)}<br>{part['pairs']} pairs") for title, part in parts.items())]
    lines = [
        [("", escape(c.title)), *(("n", with_interval(part, c)) for part in parts.values())] for c in told(columns)
    ]
    return table(heads, lines)


def comparison_table(
    summaries: Mapping[str, Summary], columns: Sequence[Column], compared: Differences | None = None
) -> str:
    """One line per metric, one column per system; the best and its equals marked, see `compare.ties`."""
    heads = [("", "Metric"), *(("n", escape(name)) for name in summaries)]
    lines = []
    for column in told(columns):
        best, even = ties(summaries, column, compared or {})
        cells = [
            ("n main" if name == best else "n", ("≈ " if name in even else "") + with_interval(summary, column))
            for name, summary in summaries.items()
        ]
        lines.append([("", escape(column.title)), *cells])
    trials = [("n", str(summary["trials"])) for summary in summaries.values()]
    return table(heads, [*lines, [("", "Conversions"), *trials]])


def trial_table(records: Sequence[Record], columns: Sequence[Column]) -> str:
    """One line per trial."""
    shown = told(columns)
    heads = [("", "Source"), ("", "Target"), ("", "Said"), *(("n", escape(c.title)) for c in shown)]
    lines = []
    for record in records:
        words = record["text"] or record["sentence"] or ""
        names = [("", escape(str(text))) for text in (record["source"], record["target_speaker"], words)]
        lines.append([*names, *(("n", _single(record.get(c.key), c)) for c in shown)])
    return table(heads, lines)


def _single(value: float | None, column: Column) -> str:
    """One trial's value: "yes" or "no" where the mean is a share."""
    return ("yes" if value else "no") if column.share and value is not None else number(value, column)


def table(heads: Sequence[Cell], lines: Iterable[Sequence[Cell]]) -> str:
    """HTML of a table; the first cell of each line is its heading, and cells know that of their column."""
    head = "".join(f'<th scope="col"{_class(kind)}>{html}</th>' for kind, html in heads)
    names = [re.sub("<[^>]+>", " ", html) for _, html in heads]
    body = "\n".join(_line(line, names) for line in lines)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _line(cells: Sequence[Cell], names: Sequence[str]) -> str:
    rest = "".join(
        f'<td{_class(kind)} data-head="{name}"><span>{html}</span></td>' if html else "<td></td>"
        for (kind, html), name in zip(cells[1:], names[1:], strict=True)
    )
    return f'<tr><th scope="row">{cells[0][1]}</th>{rest}</tr>'


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
