"""Means and confidence intervals of what was measured."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from revoice.evaluation.bootstrap import interval, weighted_mean
from revoice.evaluation.metrics.base import Column

Record = dict[str, Any]
Summary = dict[str, Any]


def summarize(records: Sequence[Record], columns: Sequence[Column], seed: int = 0) -> Summary:
    """Summary of one group of trials, and of its same-gender and cross-gender parts.

    Args:
        records: one per trial, with a value per column (nan or absent where there is none) and the keys
            `source_speaker`, `target_speaker`, `same_gender`, `failed`.
        columns: what to average; values that are not finite are left out and show in `counts`.
        seed: of the bootstrap.

    Returns:
        pairs, trials, failed; a mean per column; `ci`: its 95 % interval over pairs of voices [low, high] or None;
        `counts`: how many trials the mean is over; `same_gender` and `cross_gender`: the same again, if any.
    """
    summary = _summary(records, columns, seed)
    for key, same in (("same_gender", True), ("cross_gender", False)):
        part = [record for record in records if record["same_gender"] is same]
        if part:
            summary[key] = _summary(part, columns, seed)
    return summary


def _summary(records: Sequence[Record], columns: Sequence[Column], seed: int) -> Summary:
    summary: Summary = {
        "pairs": len({_pair(record) for record in records}),
        "trials": len(records),
        "failed": sum(bool(record["failed"]) for record in records),
    }
    intervals: dict[str, list[float] | None] = {}
    counts: dict[str, int] = {}
    for column in columns:
        used = [record for record in records if math.isfinite(record.get(column.key, math.nan))]
        values = [float(record[column.key]) for record in used]
        weights = _weights(used, column.weight) if column.weight else None
        found = interval(values, [_pair(record) for record in used], weights, seed)
        summary[column.key] = weighted_mean(values, weights)
        intervals[column.key] = list(found) if found else None
        counts[column.key] = len(values)
    return {**summary, "ci": intervals, "counts": counts}


def _weights(records: Sequence[Record], key: str) -> list[float]:
    """Weights of records; one that failed before its own was known weighs as much as the others do on average."""
    known = [float(record[key]) for record in records if key in record]
    average = sum(known) / len(known) if known else 1.0
    return [float(record.get(key, average)) for record in records]


def _pair(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["source_speaker"], record["target_speaker"]
