"""What pydantic finds wrong with settings, in one line: the name as it is typed, the value, what was expected."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from revoice.errors import UserError, choices, one_line

LARGEST = 2**31 - 1  # of any count; a message says so only to those who asked for more
_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", NoneType: "null"}


@dataclasses.dataclass(frozen=True)
class Expected:
    """Annotates a kind with what a message calls it."""

    text: str


class _Found(NamedTuple):
    """A wrong value: its name as typed, itself, and the annotation that it does not meet."""

    name: str
    value: Any
    kind: Any
    error: Any


def mistake(kind: Any, value: Any, what: str, error: ValidationError) -> UserError:
    """What stands for pydantic's error about `value`, which was to be a `kind` and is called `what`."""
    every = [_find(kind, value, what, each) for each in error.errors(include_url=False)]
    for found in every:
        told = found.error.get("ctx", {}).get("error")
        if isinstance(told, UserError):
            return told
    # of a value that may be one of several kinds, the kind that got furthest
    found = max(every, key=lambda each: each.name.count("."))
    last, name = str(found.error["loc"][-1]) if found.error["loc"] else "", found.name
    match found.error["type"]:
        case "missing":
            return UserError(f"{_joined(name, last)} is missing: expected {expectation(found.kind)}")
        case "unexpected_keyword_argument" | "extra_forbidden":
            return choices(last, list(_fields(found.kind)), f"setting of {name}")
        case "literal_error" if isinstance(found.value, str) and (words := _literals(found.kind)):
            return choices(found.value, words, name)
    return UserError(f"{name}={_shown(found.value)}: expected {expectation(found.kind, found.value, name)}")


def _find(kind: Any, value: Any, what: str, error: Any) -> _Found:
    """Follow pydantic's path, which also has steps that nobody typed: places in lists, members of unions."""
    name = what
    for key in error["loc"]:
        inner = _inside(kind, key, value)
        if inner is None:
            continue
        kind = inner
        if isinstance(value, Mapping) and key in value:
            name, value = _joined(name, str(key)), value[key]
        elif isinstance(value, list | tuple) and isinstance(key, int):
            name, value = f"{name}[{key}]", value[key]
    return _Found(name, value, kind, error)


def _inside(kind: Any, key: Any, value: Any) -> Any:
    """The annotation of what a value of this kind holds under a key; None if there is no such thing."""
    bare = _bare(kind)
    if get_origin(bare) in (Union, UnionType):
        return next((found for each in get_args(bare) if (found := _inside(each, key, value)) is not None), None)
    if get_origin(bare) in (dict, Mapping) and isinstance(value, Mapping) and key in value:
        return get_args(bare)[1]
    if get_origin(bare) in (tuple, list, Sequence) and isinstance(value, list | tuple) and isinstance(key, int):
        return each if _fields(each := get_args(bare)[0]) else None  # of a list of numbers the list is told, not one
    return _fields(bare).get(key)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@cache
def _declared(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def _fields(kind: Any) -> dict[str, Any]:
    """Names and annotations of what a class of settings has; a union's are those of its first such member."""
    bare = _bare(kind)
    if get_origin(bare) in (Union, UnionType):
        return next((found for each in get_args(bare) if (found := _fields(each))), {})
    return _declared(bare) if isinstance(bare, type) and hasattr(bare, "__dataclass_fields__") else {}


def _literals(kind: Any) -> list[str]:
    """The words that may stand here, if nothing else may but null."""
    bare = _bare(kind)
    if get_origin(bare) is Literal:
        return [str(each) for each in get_args(bare)]
    if get_origin(bare) in (Union, UnionType):
        several = [_literals(each) for each in get_args(bare) if each is not NoneType]
        return [word for words in several for word in words] if all(several) else []
    return []


def expectation(kind: Any, value: Any = None, name: str = "NAME") -> str:
    """What may stand where this annotation does, in words.

    >>> from revoice.settings import Count, Share
    >>> expectation(Count | None), expectation(tuple[Share, ...]), expectation(Literal["a", "b"])
    ('a whole number from 1, or null', 'a list, each a number from 0 to 1', 'a or b')
    """
    bare, marks = _bare(kind), getattr(kind, "__metadata__", ())
    if told := next((mark.text for mark in reversed(marks) if isinstance(mark, Expected)), None):
        return told
    origin, inner = get_origin(bare), [each for each in get_args(bare) if each is not Ellipsis]
    if origin is Annotated:  # an alias with a further mark
        return expectation(bare, value, name)
    if origin in (Union, UnionType):
        return ", or ".join(dict.fromkeys(expectation(each, value, name) for each in inner))
    if origin is Literal:
        *some, last = map(str, inner)
        return f"{', '.join(some)} or {last}" if some else last
    if origin in (dict, Mapping) and (each := expectation(inner[1], None, name)).startswith("a "):
        return f"settings by name, each {each}"
    if origin in (tuple, list, Sequence):
        length = "" if len(inner) == 1 else f" of {len(inner)}"
        return f"a list{length}, each {expectation(inner[0], None, name)}"
    if fields := list(_fields(bare)):
        return f"settings, e.g. {_joined(name, fields[0])}=VALUE"
    return _PLAIN.get(bare, "settings by name") + _range(marks, value)


def _range(marks: Sequence[Any], value: Any) -> str:
    """Bounds in words; of several of one kind the last counts."""
    bounds: dict[str, Any] = {}
    for mark in marks:
        for each in getattr(mark, "metadata", [mark]):
            for sign in ("ge", "gt", "le", "lt"):
                if (bound := getattr(each, sign, None)) is not None:
                    bounds[sign] = bound
    asked = value if isinstance(value, int | float) else 0
    if bounds.get("le") == LARGEST and not asked > LARGEST:
        del bounds["le"]
    low = f" from {bounds['ge']}" if "ge" in bounds else f" above {bounds['gt']}" if "gt" in bounds else ""
    high = f" to {bounds['le']}" if "le" in bounds else f" below {bounds['lt']}" if "lt" in bounds else ""
    return f"{low},{high}" if low and high.startswith(" below") else f"{low}{high}"


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _shown(value: Any) -> str:
    """A value as it is typed, clipped.

    >>> _shown(None), _shown(True), _shown([1, "a"]), _shown({"a": None})
    ('null', 'true', '[1,a]', '{a:null}')
    """
    if isinstance(value, Mapping):
        text = "{" + ",".join(f"{one_line(key, 60)}:{_shown(each)}" for key, each in list(value.items())[:9]) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ",".join(map(_shown, value[:9])) + "]"
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return one_line(text, 60)
