"""What the index and the shards of a stream must look like: a stranger's server may say anything.

All of it is told by `ValueError`, which readers turn into one line, or leave the shard out for.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from revoice.data.corpora.manifest import Row

_SHARD = re.compile(r"shard-\d{1,12}\.tar")
_MOST = 10**9  # utterances in a shard


def require_index(values: Any) -> None:
    """Names, shards, levels, counts and fields of `index.json` (see `Stream`), before anything is built of them."""
    _require(isinstance(values, dict), "it is no mapping")
    for name in ("speakers", "everyone", "emotions"):
        found = values[name]
        _require(isinstance(found, list) and all(_is_name(each) for each in found), f"{name} are not all words")
        _require(len(set(found)) == len(found), f"{name} has one twice")
    for shard in values["shards"]:
        name, count = shard
        _require(isinstance(name, str) and _SHARD.fullmatch(name) is not None, "shards are not called like shards")
        _require(type(count) is int and 0 <= count <= _MOST, f"{name} has {count!r:.40} utterances")
    levels = values["levels"]
    _require(isinstance(levels, list) and all(each is None or _is_number(each) for each in levels), "levels")
    _require(len(levels) in (0, len(values["speakers"])), f"{len(levels)} levels of {len(values['speakers'])} speakers")
    _require(values["trim_db"] is None or _is_number(values["trim_db"]), "trim_db is no number")
    facts = values["facts"]
    counts = ("utterances", "train", "validation", "rejected")
    _require(all(isinstance(facts[name], str) for name in ("corpus", "manifest")), "facts without a corpus")
    _require(all(type(facts[name]) is int and facts[name] >= 0 for name in counts), "facts without counts")
    _require(_is_number(facts["hours"]), "facts without hours")
    for label, about in values["fields"].items():
        _require_field(label, about)


def _require_field(label: str, about: Mapping[str, Any]) -> None:
    rate, scale, padding = about["per_frame"], about["scale"], about["padding"]
    _require(isinstance(about["folder"], str) and isinstance(about["parameters"], dict), f"{label}: no folder")
    _require(
        isinstance(about["dtype"], str) and np.dtype(about["dtype"]).kind in "biuf", f"{label}: type of no numbers"
    )
    _require(rate is None or (_is_number(rate) and rate > 0), f"{label}: per_frame")
    _require(scale is None or _is_number(scale), f"{label}: scale")
    _require(all(map(_is_number, padding if isinstance(padding, list) else [padding])), f"{label}: padding")


def validation_row(line: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    """The row of a line of `validation.jsonl`, its speaker under the new name in `names`."""
    row = Row(**{**line, "speaker": names.get(line["speaker"], line["speaker"])})
    _require(all(_is_name(each) for each in (row.id, row.speaker)) and row.split == "val", "a line of no utterance")
    _require(all(each is None or isinstance(each, str) for each in (row.gender, row.emotion)), "a line of no utterance")
    return row


def entry(table: Sequence[Any], index: Any) -> Any:
    """The entry of a table; Python's own indexing takes -1 for the last one."""
    _require(type(index) is int and 0 <= index < len(table), f"entry {index!r:.20} of a table of {len(table)}")
    return table[index]


def require_array(id: str, array: np.ndarray, about: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """An utterance's array must be of the type that the index says, hold a row, and have the shape of its fellows.

    Args:
        id: of the utterance.
        array: (rows, ...), or of any shape where `per_frame` is None.
        about: what the index says of the field.
        shape: of a row, or of the whole array where `per_frame` is None.
    """
    row = array.shape if about["per_frame"] is None else array.shape[1:]
    _require(array.dtype == np.dtype(about["dtype"]), f"{id} holds {array.dtype}, expected {about['dtype']}")
    _require(row == shape, f"{id} has rows of {list(row)}, expected {list(shape)}")
    _require(array.size > 0 and (about["per_frame"] is None or array.ndim > 0), f"{id} has no rows")


def row_shape(label: str, array: np.ndarray, about: Mapping[str, Any], channels: int) -> tuple[int, ...]:
    """What `require_array` expects of all utterances of a field, told by the first one and by the features' spec."""
    if label == "features":
        return (channels,)
    return array.shape if about["per_frame"] is None else array.shape[1:]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 10_000


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
