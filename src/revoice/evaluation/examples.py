"""Which conversions a reader of the report gets to hear."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from revoice.evaluation.metrics.base import Result


@dataclass(frozen=True)
class Example:
    """One conversion with its sound.

    Attributes:
        kind: "best", "median" or "worst" among conversions to voices of this gender, by cosine to the target.
        record: its numbers.
        result: its sound.
    """

    kind: str
    record: dict[str, Any]
    result: Result


def choose_examples(conversions: Sequence[tuple[dict[str, Any], Result]]) -> list[Example]:
    """Best, median and worst by cosine to the target, for each gender of the target voice; no conversion twice.

    Args:
        conversions: (record, result) of one group; without `cosine_target` in the records the choice is by order.
    """
    sides: dict[str | None, list[tuple[dict[str, Any], Result]]] = {}
    for conversion in conversions:
        if not conversion[1].failed:
            sides.setdefault(conversion[0]["target_gender"], []).append(conversion)
    examples = []
    for gender in sorted(sides, key=str):
        ranked = sorted(sides[gender], key=lambda both: -both[0].get("cosine_target", 0.0))
        places = {len(ranked) - 1: "worst", len(ranked) // 2: "median", 0: "best"}
        examples += [Example(places[place], *ranked[place]) for place in sorted(places)]
    return examples
