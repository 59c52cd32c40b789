"""Which conversions a reader of the report gets to hear."""

from collections.abc import Callable, Sequence
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


def choose_examples(records: Sequence[dict[str, Any]], sound: Callable[[int], Result]) -> list[Example]:
    """Best, median and worst by cosine to the target, for each gender of the target voice; no conversion twice.

    Args:
        records: of one group; without `cosine_target` in them the choice is by order.
        sound: number of a record -> its result, asked for those that are chosen alone.
    """
    sides: dict[str | None, list[tuple[dict[str, Any], int]]] = {}
    for number, record in enumerate(records):
        if not record["failed"]:
            sides.setdefault(record["target_gender"], []).append((record, number))
    examples = []
    for gender in sorted(sides, key=str):
        ranked = sorted(sides[gender], key=lambda both: -both[0].get("cosine_target", 0.0))
        places = {len(ranked) - 1: "worst", len(ranked) // 2: "median", 0: "best"}
        chosen = [(places[place], *ranked[place]) for place in sorted(places)]
        examples += [Example(kind, record, sound(number)) for kind, record, number in chosen]
    return examples
