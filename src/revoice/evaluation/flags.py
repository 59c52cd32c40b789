"""What is wrong with a system whatever its best number says: named at the top of the report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from revoice.evaluation.summary import Record

PLAYED_BACK = 0.8  # likeness to a recording
UNINTELLIGIBLE = 0.6  # error rate
DEAF = 0.5  # error rate in the source through features and vocoder, from which on a recognizer is not believed
FLAT_DB = -6.0
LOST = 0.1  # share of the conversions that is too much


class Flag(NamedTuple):
    """A warning: its name, and what was seen."""

    name: str
    text: str


def flags(records: Sequence[Record], summary: Mapping[str, Any], error_keys: Sequence[str]) -> list[Flag]:
    """All that is to be said of the conversions of one group.

    Args:
        records: of its trials.
        summary: of the same.
        error_keys: columns with errors against what is heard in the source; the first that is known counts.
    """
    if not records:
        return []
    judges = (_silence, _noise, _reference, _unconverted, _clipping)
    found = [flag for judge in judges if (flag := judge(records, summary))]
    return found + _words(summary, error_keys)


def _share(records: Sequence[Record], test: Any) -> float:
    return sum(bool(test(record)) for record in records) / len(records)


def _value(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    return math.nan if value is None else float(value)


def _silence(records: Sequence[Record], summary: Mapping[str, Any]) -> Flag | None:
    share = _share(records, lambda r: r["failed"] or _value(r, "silence") > 0.9)
    return Flag("silence", f"{share:.0%} of the conversions hold no usable sound.") if share >= LOST else None


def _noise(records: Sequence[Record], summary: Mapping[str, Any]) -> Flag | None:
    share = _share(records, lambda r: _value(r, "flatness") > FLAT_DB)
    return Flag("noise", f"{share:.0%} of the conversions have the flat spectrum of noise.") if share >= LOST else None


def _reference(records: Sequence[Record], summary: Mapping[str, Any]) -> Flag | None:
    share = _share(records, lambda r: _value(r, "like_reference") > PLAYED_BACK)
    if share < LOST:
        return None
    return Flag(
        "reference repeated",
        f"{share:.0%} of the conversions are the clip that was given as the target's voice, not what the source says.",
    )


def _unconverted(records: Sequence[Record], summary: Mapping[str, Any]) -> Flag | None:
    gain = _value(summary, "cosine_target") - _value(summary, "cosine_unconverted")
    if not (gain < 0.02 and _value(summary, "closer_to_target") < 0.1):  # nan is no reason
        return None
    if _value(summary, "cosine_source") < 0.6:
        return None  # neither voice: something else is wrong
    return Flag("nothing converted", f"the cosine to the target rises by {gain:.3f} over that of the untouched source.")


def _clipping(records: Sequence[Record], summary: Mapping[str, Any]) -> Flag | None:
    share = _value(summary, "clipping")
    return Flag("clipping", f"{share:.1%} of the samples are at full scale.") if share > 0.001 else None


def _words(summary: Mapping[str, Any], keys: Sequence[str]) -> list[Flag]:
    # a recognizer that makes as little of the copy as of the conversion says nothing of the system
    known = [_value(summary, key) for key in keys if not _value(summary, key.replace("converted", "copy")) > DEAF]
    known = [value for value in known if math.isfinite(value)]
    if not known or known[0] < UNINTELLIGIBLE:
        return []
    near = _value(summary, "closer_to_target") > 0.5
    whose = "the right voice says something else: " if near else ""
    return [Flag("unintelligible", f"{whose}{known[0]:.0%} of what is heard in the source is lost or wrong.")]
