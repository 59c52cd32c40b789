"""What a value that is handed over may be: kinds with their ranges, and the one check that all of them go through.

Whoever takes settings declares them once, with their kinds, as a `@settings` dataclass or as the annotated parameters
of a class in a `Registry`. Files, command lines, checkpoints and Python are then checked alike (by pydantic), and what
is wrong is told in one line (`revoice.mistakes`).
"""

import dataclasses
import functools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_args, get_origin

import pydantic.dataclasses
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
)

from revoice.mistakes import LARGEST, Expected, mistake

T = TypeVar("T")
CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, coerce_numbers_to_str=True, protected_namespaces=())


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


def _finite(value: Any) -> Any:
    """What may be meant as a word: a number as well, e.g. the name 225, but no slip such as nan."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("no word")
    return _no_flag(value)


def _path(value: Any) -> Any:
    """The path with its `~` expanded, if the system can have one of that name."""
    text = os.fspath(value) if isinstance(value, Path) else str(value)
    if not isinstance(value, str | Path | int) or isinstance(value, bool) or not text or "\0" in text:
        raise ValueError("no path")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError("no such user") from error
    if len(os.fsencode(path)) > 4095 or any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise ValueError("too long")
    return path


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("an even number")
    return value


def one_or_more(value: Any) -> Any:
    """A list of the value, unless it is one; for settings where one is given as itself.

    >>> one_or_more("a"), one_or_more(["a", "b"]), one_or_more(None)
    (['a'], ['a', 'b'], None)
    """
    return value if value is None or isinstance(value, list | tuple) else [value]


Whole = Annotated[int, BeforeValidator(_no_flag)]
Natural = Annotated[Whole, Field(ge=0, le=LARGEST)]
Count = Annotated[Whole, Field(ge=1, le=LARGEST)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
Number = Annotated[float, BeforeValidator(_no_flag), AllowInfNan(False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]  # 1 is all
Fraction = Annotated[Number, Field(ge=0, lt=1)]  # some must be left
Flag = Annotated[bool, Strict()]
Processes = Annotated[Whole, Field(ge=0, le=1 << 12)]
Word = Annotated[str, BeforeValidator(_finite), Field(min_length=1, max_length=4096)]
Words = Annotated[tuple[Word, ...], BeforeValidator(one_or_more)]
Names = Annotated[tuple[Word, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Place = Annotated[Path, BeforeValidator(_path), Expected("a path")]
Device = Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d{1,3})?)$"), Expected("cpu, cuda, cuda:N or mps")]
Given = Annotated[dict[str, Any], Expected("settings by name")]  # checked by whoever takes them

# sizes of networks, far beyond any that is trained: what is larger is a slip of the finger
Width = Annotated[Whole, Field(ge=1, le=1 << 16)]
Depth = Annotated[Whole, Field(ge=1, le=256)]
Kernel = Annotated[Whole, Field(ge=1, le=1 << 10)]
OddKernel = Annotated[Kernel, AfterValidator(_odd), Expected("an odd whole number from 1 to 1023")]
Factors = Annotated[tuple[Kernel, ...], Field(min_length=1, max_length=256)]
Frames = Annotated[Whole, Field(ge=1, le=1 << 20)]
FramesOrNone = Annotated[Whole, Field(ge=0, le=1 << 20)]


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass whose values are checked by whatever way they come.

    A rule that joins several fields belongs into `__post_init__`, as a `UserError` that names them.
    """
    made = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=CONFIG)(cls)
    check = made.__init__

    @functools.wraps(check)
    def construct(self: Any, *arguments: Any, **values: Any) -> None:
        try:
            check(self, *arguments, **values)
        except ValidationError as error:
            raise mistake(made, values, made.__name__, error) from error

    made.__init__ = construct  # type: ignore[method-assign]
    return cast(type[T], made)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return TypeAdapter(kind, config=None if dataclasses.is_dataclass(bare) else CONFIG)  # those have it from `settings`


def checked(kind: Any, value: Any, what: str) -> Any:
    """The value as what `kind` says, e.g. a `@settings` class, `Count | None` or `dict[str, Share]`.

    Args:
        kind: an annotation.
        value: plain.
        what: the value's name as it is typed, e.g. "model.decoder"; what is inside follows with a dot.

    Raises:
        UserError: in one line, the name as it is typed, the value and what was expected.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise mistake(kind, value, what, error) from error


def from_mapping(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """A `@settings` object of plain values; see `checked`."""
    return checked(cls, dict(values) if isinstance(values, Mapping) else values, what)


def from_config(cls: type[T], config: Any) -> T:
    """A `@settings` object of a whole configuration, which may hold more: what others of its settings refer to."""
    known = {f.name for f in dataclasses.fields(cast(Any, cls))}
    given = checked(Given, config, "the configuration")
    return checked(cls, {key: value for key, value in given.items() if key in known}, "")
