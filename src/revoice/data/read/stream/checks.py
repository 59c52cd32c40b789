"""What the index and the shards of a stream must look like: a stranger's server may say anything.

All of it is told by `ValueError`, which readers turn into one line, or leave the shard out for.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, AllowInfNan, Field, Strict

from revoice.data.corpora.manifest import Row
from revoice.data.read.facts import Facts
from revoice.errors import UserError
from revoice.mistakes import Expected
from revoice.settings import Given, from_config, settings

T = TypeVar("T")


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("one of them twice")
    return names


def _of_numbers(dtype: str) -> str:
    try:
        kind = np.dtype(dtype).kind
    except TypeError as error:
        raise ValueError("no type") from error
    if kind not in "biuf":
        raise ValueError("of texts or objects")
    return dtype


# a program wrote these, so nothing is taken for what it nearly is: neither 3 for a name nor "3" for a number
_Text = Annotated[str, Strict()]
_Name = Annotated[_Text, Field(min_length=1, max_length=10_000)]
_Names = Annotated[tuple[_Name, ...], AfterValidator(_each_once), Expected("a list of names, each once")]
_Real = Annotated[float, Strict(), AllowInfNan(False)]
_Shard = Annotated[_Text, Field(pattern=r"^shard-[0-9]{1,12}\.tar$")]
_Utterances = Annotated[int, Strict(), Field(ge=0, le=10**9)]
_Shards = Annotated[
    tuple[tuple[_Shard, _Utterances], ...], Expected("a list, each the name of a shard and its number of utterances")
]
_Folder = Annotated[  # another host, bucket or folder is not for a stranger to name
    _Text, Field(pattern=r"^\.\./[A-Za-z0-9_-][A-Za-z0-9._-]*$"), Expected("../NAME, a folder beside that of the index")
]
_Type = Annotated[_Text, AfterValidator(_of_numbers), Expected("a type of numbers, e.g. float16")]


@settings
class StoredField:
    """How the arrays of a field are read.

    Attributes:
        folder: of its shards, relative to that of the index.
        per_frame: rows per feature frame; None: one array per utterance.
        padding: of the rows behind an utterance's end, one number or one for each column.
        scale: factor of what is stored; None: integers.
        dtype: of what is stored.
        parameters: what it was computed with.
    """

    folder: _Folder
    per_frame: Annotated[_Real, Field(gt=0)] | None
    padding: _Real | tuple[_Real, ...]
    scale: _Real | None
    dtype: _Type
    parameters: Given


@settings
class Index:
    """What `index.json` says (see `Stream`), but for the spec and the statistics, which have checks of their own."""

    fields: dict[_Text, StoredField]
    trim_db: _Real | None
    speakers: _Names
    everyone: _Names
    emotions: _Names
    levels: tuple[_Real | None, ...]
    facts: Facts
    shards: _Shards
    deviations: tuple[Annotated[_Real, Field(ge=0)] | None, ...] = ()

    def __post_init__(self) -> None:
        if len(self.levels) not in (0, len(self.speakers)):
            raise UserError(f"{len(self.levels)} levels of {len(self.speakers)} speakers")
        if len(self.deviations) not in (0, len(self.speakers)):
            raise UserError(f"{len(self.deviations)} deviations of {len(self.speakers)} speakers")


@settings
class _Held:
    """A line of `validation.jsonl`."""

    id: _Name
    path: _Text
    speaker: _Name
    split: Literal["val"]
    gender: _Text | None = None
    emotion: _Text | None = None


def require_index(values: Any) -> Index:
    """The values of `index.json`, before anything is built of them."""
    return _told(Index, values)


def validation_row(line: Any, names: Mapping[str, str]) -> Row:
    """The row of a line of `validation.jsonl`, its speaker under the new name in `names`."""
    held = _told(_Held, line)
    return Row(**{**vars(held), "speaker": names.get(held.speaker, held.speaker)})


def _told(kind: type[T], values: Any) -> T:
    """The values as settings; what is wrong is for the reader to tell, who knows where they are from."""
    try:
        return from_config(kind, values)
    except UserError as error:
        raise ValueError(str(error)) from error


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
