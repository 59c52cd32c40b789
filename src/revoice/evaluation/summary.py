"""Means and confidence intervals of what was measured."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from revoice.evaluation.bootstrap import Resampling, weighted_mean
from revoice.evaluation.metrics.base import Column

Record = dict[str, Any]
Summary = dict[str, Any]


def summarize(records: Sequence[Record], columns: Sequence[Column], seed: int = 0) -> Summary:
    """Summary of one group of trials, and of its parts by the genders and accents of the voices.

    Args:
        records: one per trial, with a value per column (nan or absent where there is none) and the keys
            `source`, `source_speaker`, `target_speaker`, `same_gender`, `failed`.
        columns: what to average; values that are not finite are left out and show in `counts`.
        seed: of the bootstrap.

    Returns:
        pairs, trials, failed; a mean per column; `ci`: its 95 % interval over voices and utterances [low, high] or None
        (see `bootstrap.Resampling`); `counts`: how many trials the mean is over; `same_gender` and `cross_gender`: the
        same again, if any; `conditions`: the same by the genders of source and target ("F to M"), and by whether their
        accents are the same, where there are several such.
    """
    summary = _summary(records, columns, seed)
    for key, same in (("same_gender", True), ("cross_gender", False)):
        part = [record for record in records if record["same_gender"] is same]
        if part:
            summary[key] = _summary(part, columns, seed)
    summary["conditions"] = {name: _summary(part, columns, seed) for name, part in conditions(records).items()}
    return summary


def conditions(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by the genders and the accents of their voices; what is alike in all of them makes no part."""
    found: dict[str, list[Record]] = {}
    for make in (_genders, _accents):
        parts: dict[str, list[Record]] = {}
        for record in records:
            if name := make(record):
                parts.setdefault(name, []).append(record)
        if len(parts) > 1:
            found |= dict(sorted(parts.items()))
    return found


def _genders(record: Record) -> str:
    source, target = record.get("source_gender"), record.get("target_gender")
    return f"{source} to {target}" if source and target else ""


def _accents(record: Record) -> str:
    source, target = record.get("source_accent"), record.get("target_accent")
    return ("same accent" if source == target else "another accent") if source and target else ""


def resampling(records: Sequence[Record], seed: int = 0) -> Resampling:
    """The bootstrap of these trials: the same for every system that was given them."""
    return Resampling(
        [record["source_speaker"] for record in records], [record["target_speaker"] for record in records],
        [record.get("sentence") or record["source"] for record in records], seed,
    )  # fmt: skip


def _summary(records: Sequence[Record], columns: Sequence[Column], seed: int) -> Summary:
    summary: Summary = {
        "pairs": len({_pair(record) for record in records}),
        "trials": len(records),
        "failed": sum(bool(record["failed"]) for record in records),
    }
    intervals: dict[str, list[float] | None] = {}
    counts: dict[str, int] = {}
    drawn = resampling(records, seed)
    for column in columns:
        values = [float(record.get(column.key, math.nan)) for record in records]
        weights = record_weights(records, column.weight) if column.weight else None
        used = [i for i, value in enumerate(values) if math.isfinite(value)]
        finite = [values[i] for i in used]
        found = drawn.interval(values, weights, column.share)
        summary[column.key] = weighted_mean(finite, None if weights is None else [weights[i] for i in used])
        intervals[column.key] = list(found) if found else None
        counts[column.key] = len(used)
    return {**summary, "ci": intervals, "counts": counts}


def record_weights(records: Sequence[Record], key: str) -> list[float]:
    """Weights of records; one that failed before its own was known weighs as much as the others do on average."""
    known = [float(record[key]) for record in records if key in record]
    average = sum(known) / len(known) if known else 1.0
    return [float(record.get(key, average)) for record in records]


def _pair(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["source_speaker"], record["target_speaker"]
