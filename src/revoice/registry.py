"""Name -> class tables.

A new model, corpus or vocoder is one file in its package: the table finds it by importing the package's modules.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from revoice.errors import UserError, choices

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of classes by name, filled by the `register` decorator in the modules of one package.

    Args:
        kind: what the entries are, for error messages ("model").
        package: dotted package whose modules hold the entries ("revoice.models"); imported at the first look-up.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, type[T]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that enters the class under `name`."""

        def enter(cls: type[T]) -> type[T]:
            assert name not in self._entries or self._entries[name].__qualname__ == cls.__qualname__, f"{name} twice"
            self._entries[name] = cls
            cls.name = name  # type: ignore[attr-defined]
            return cls

        return enter

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def get(self, name: str) -> type[T]:
        """The class registered under `name`; `UserError` lists the valid names."""
        self._load()
        if name not in self._entries:
            raise choices(name, self._entries, self.kind)
        return self._entries[name]

    def build(self, name: str, arguments: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> T:
        """Instantiate `name` from plain arguments.

        Args:
            name: registered name.
            arguments: keyword arguments; an unknown one is a `UserError` that names the valid ones.
            facts: values offered by the caller (number of feature channels, speakers, ...): passed only if the
                class's `__init__` has a parameter of that name and `arguments` does not set it.
        """
        cls = self.get(name)
        return cls(**self.arguments(name, arguments, facts))

    def arguments(
        self, name: str, arguments: Mapping[str, Any], facts: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The keyword arguments `build` would use: what a checkpoint stores to rebuild the object."""
        cls = self.get(name)
        valid = accepted(cls)
        unknown = [key for key in arguments if key not in valid]
        if unknown:
            raise choices(unknown[0], valid, f"setting of {self.kind} {name}")
        given = {key: value for key, value in (facts or {}).items() if key in valid}
        return {**given, **{key: value for key, value in arguments.items() if value is not None or key not in given}}

    def typed(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments from a file: as `arguments`, and those of plain types must be of the annotated one."""
        kinds = get_type_hints(self.get(name).__init__)
        checked = self.arguments(name, arguments)
        return {key: _of_kind(f"{self.kind}.{key}", value, kinds.get(key, Any)) for key, value in checked.items()}

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True


def accepted(cls: Callable[..., Any]) -> list[str]:
    """Names of the parameters that `cls(...)` takes by keyword."""
    parameters: Iterable[inspect.Parameter] = inspect.signature(cls).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in kinds]


def defaults(cls: Callable[..., Any]) -> dict[str, Any]:
    """What `cls(...)` takes for the parameters that are not given."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def from_mapping(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """Build a dataclass from a mapping; an unknown or missing key is a one-line `UserError`."""
    if not isinstance(values, Mapping):
        raise UserError(f"{what}={values}: expected settings, e.g. {what}.{accepted(cls)[0]}=VALUE")
    valid = accepted(cls)
    kinds = get_type_hints(cls)
    given = {}
    for key, value in values.items():
        if key not in valid:
            raise choices(key, valid, f"setting of {what}")
        given[key] = _of_kind(f"{what}.{key}", value, kinds.get(key, Any))
    try:
        return cls(**given)
    except TypeError as error:
        raise UserError(f"{what}: {error}") from error


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    """The value, if one of the plain types (int, float, bool, str, None) of an annotation takes it; others pass."""
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", NoneType: "null"}
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if type(value) in kinds or any(k not in plain for k in kinds):
        return value
    for number in (int, float):
        # YAML reads 1e-5 as a word, and JSON writes 8000.0 for 8000
        if number in kinds and not isinstance(value, bool) and isinstance(value, (int, float, str)):
            try:
                if number(value) == float(value):
                    return number(value)
            except (ValueError, OverflowError):
                continue
    raise UserError(f"{name}={value}: expected {' or '.join(plain[k] for k in kinds)}")


def as_tuples(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings whose lists, as YAML and JSON have them, are tuples, as dataclasses want them."""
    return {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in (values or {}).items()}
