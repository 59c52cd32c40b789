"""An evaluation sent to experiment loggers: its numbers, its conversions as a table, its page."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revoice.training.loggers import build_loggers, told

if TYPE_CHECKING:
    from revoice.evaluation.evaluate import Evaluation


def log_evaluations(
    settings: Mapping[str, Mapping[str, Any] | None], folder: Path, evaluations: "Sequence[Evaluation]"
) -> None:
    """Log every mean as `SYSTEM/GROUP/NUMBER`; loggers that have tables and pages get the conversions and the report.

    Args:
        settings: of the loggers, by name.
        folder: of the report; the loggers write below it.
        evaluations: one for each system.
    """
    loggers = build_loggers(settings, folder)
    with told(loggers):
        for logger in loggers:
            logger.log_metrics(means(evaluations), step=0)
            if hasattr(logger, "log_conversions"):
                keys, rows = _conversions(evaluations)
                logger.log_conversions(["system", "group", "source", "target", *keys], rows, folder / "report.html")


def _conversions(evaluations: "Sequence[Evaluation]") -> tuple[list[str], list[list[Any]]]:
    """What is measured of each conversion, and those with their numbers."""
    keys = list(dict.fromkeys(c.key for e in evaluations for c in e.columns if c.explain))
    rows = [
        [e.name, group, record["source"], record["target_speaker"], *(_plain(record.get(key)) for key in keys)]
        for e in evaluations
        for group, records in e.records.items()
        for record in records
    ]
    return keys, rows


def means(evaluations: "Sequence[Evaluation]") -> dict[str, float]:
    """Every finite mean, by system, group and number."""
    return {
        f"{e.name}/{group}/{column.key}": float(value)
        for e in evaluations
        for group, summary in e.summaries.items()
        for column in e.columns
        if (value := summary.get(column.key)) is not None and math.isfinite(value)
    }


def _plain(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
