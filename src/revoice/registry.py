"""Name -> class tables.

A new model, corpus or vocoder is one file in its package: the table finds it by importing the package's modules.
"""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from revoice.errors import UserError, choices
from revoice.mistakes import expectation
from revoice.settings import Given, checked

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of classes by name, filled by the `register` decorator in the modules of one package.

    The annotations of a class's `__init__` are what its settings may be (`revoice.settings`): they are checked by
    whatever way the class is called.

    Args:
        kind: what the entries are, for error messages ("model").
        package: dotted package whose modules hold the entries ("revoice.models"); imported at the first look-up.
        typed: what their settings are called where they are typed, "callbacks.{name}"; as `kind` if not given.
    """

    def __init__(self, kind: str, package: str, typed: str = "") -> None:
        self.kind = kind
        self.package = package
        self._typed = typed or kind
        self._entries: dict[str, type[T]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that enters the class under `name`."""

        def enter(cls: type[T]) -> type[T]:
            assert name not in self._entries or self._entries[name].__qualname__ == cls.__qualname__, f"{name} twice"
            self._entries[name] = cls
            cls.name = name  # type: ignore[attr-defined]
            if not hasattr(cls, "__pydantic_fields__"):  # which are checked as they are
                cls.__init__ = _checking(cls, self.what(name))  # type: ignore[method-assign]
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

    def build(
        self, name: str, arguments: Mapping[str, Any], facts: Mapping[str, Any] | None = None, what: str = ""
    ) -> T:
        """Instantiate `name` from plain arguments.

        Args:
            name: registered name.
            arguments: keyword arguments; an unknown or wrong one is a `UserError` that says what is expected.
            facts: values offered by the caller (number of feature channels, speakers, ...): passed only if the
                class's `__init__` has a parameter of that name and `arguments` does not set it.
            what: how the arguments are called where they are typed, if not as the table says.
        """
        given = self.arguments(name, arguments, facts, what)
        self._complete(name, given, what)
        return self.get(name)(**given)

    def arguments(
        self, name: str, arguments: Mapping[str, Any], facts: Mapping[str, Any] | None = None, what: str = ""
    ) -> dict[str, Any]:
        """The keyword arguments `build` would use: what a checkpoint stores to rebuild the object.

        They are checked but for what is missing, and stay plain: nested settings are typed by the class itself.
        """
        valid = accepted(self.get(name))
        given = {key: value for key, value in (facts or {}).items() if key in valid}
        wanted = {key: value for key, value in dict(arguments).items() if value is not None or key not in given}
        found = self._checked(name, wanted, what or self.what(name))
        plain = {key: value for key, value in found.items() if type(value) in (int, float, str, bool)}
        return {**given, **wanted, **plain}

    def check(self, name: str, arguments: Any, what: str = "", facts: Collection[str] = ()) -> None:
        """Refuse what `build` would refuse, without making anything; `facts` names what will be known by then."""
        self._complete(name, {*self._checked(name, arguments, what or self.what(name)), *facts}, what)

    def named(self, values: Any, what: str) -> tuple[str, dict[str, Any]]:
        """The name and the other settings in `{name: ..., setting: ...}`, as a config group has them."""
        given = checked(Given, values, what)
        if "name" not in given:
            raise UserError(f"{what}.name is missing: expected one of {', '.join(self.names())}")
        name = given.pop("name")
        if name not in self.names():
            raise choices(name, self.names(), self.kind if what == self.kind else f"{what}.name")
        return name, given

    def what(self, name: str) -> str:
        """What the settings of an entry are called where they are typed."""
        return self._typed.format(name=name)

    def _checked(self, name: str, arguments: Any, what: str) -> dict[str, Any]:
        """Those of the arguments that are given, as what their parameters say."""
        given = checked(Given, arguments, what)
        cls: Any = self.get(name)
        hints = parameters(cls)
        for key in given:
            if key not in hints:
                raise choices(key, hints, f"setting of {self.kind} {name}")
        return {key: checked(hints[key], value, f"{what}.{key}") for key, value in given.items()}

    def _complete(self, name: str, given: Collection[str], what: str) -> None:
        cls: Any = self.get(name)
        kinds, optional = parameters(cls), defaults(cls)
        for key in kinds:
            if key not in optional and key not in given:
                raise UserError(f"{what or self.what(name)}.{key} is missing: expected {expectation(kinds[key])}")

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True


def _checking(cls: type, what: str) -> Callable[..., None]:
    """The `__init__` of a class, with its arguments checked first."""
    make = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(make)

    @functools.wraps(make)
    def construct(self: Any, *arguments: Any, **values: Any) -> None:
        kinds = parameters(cls)
        given = signature.bind(self, *arguments, **values)
        for name, value in given.arguments.items():
            if name in kinds:
                given.arguments[name] = checked(kinds[name], value, f"{what}.{name}")
        make(*given.args, **given.kwargs)

    return construct


@functools.cache
def parameters(cls: Any) -> dict[str, Any]:
    """What each parameter of `cls(...)` may be: its annotation, or Any where a program hands over an object."""
    source = cls if hasattr(cls, "__pydantic_fields__") else cls.__init__
    kinds = get_type_hints(source, include_extras=True)
    return {name: kinds[name] if _is_plain(kinds.get(name)) else Any for name in accepted(cls)}


def _is_plain(kind: Any) -> bool:
    """Whether a file or a command line can hold such a value."""
    if kind in (int, float, str, bool, NoneType, Path, Any, Ellipsis) or get_origin(kind) is Literal:
        return True
    if inner := [each for each in get_args(kind) if isinstance(each, type) or get_origin(each) or each in (Any, ...)]:
        return all(map(_is_plain, inner))
    return hasattr(kind, "__pydantic_fields__")


_signature = functools.cache(inspect.signature)  # which takes longer than all checks of the arguments


def accepted(cls: Callable[..., Any]) -> list[str]:
    """Names of the parameters that `cls(...)` takes by keyword."""
    parameters: Iterable[inspect.Parameter] = _signature(cls).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in kinds]


def defaults(cls: Callable[..., Any]) -> dict[str, Any]:
    """What `cls(...)` takes for the parameters that are not given."""
    parameters = _signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
