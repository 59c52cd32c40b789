"""One module per published system: functions that reproduce its golden tensors with revoice's own code.

A new system is one new module with functions decorated by `case`; `revoice.interop.parity` finds them.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from revoice.errors import choices
from revoice.interop.fixture import Fixture


@dataclass(frozen=True)
class Given:
    """An output of the published program that is an input here: listed, not compared."""

    reason: str


@dataclass(frozen=True)
class Distance:
    """An output compared by a distance of its own instead of the largest element-wise error."""

    error: float
    tolerance: float
    note: str


Result = Tensor | Given | Distance
CaseFunction = Callable[[Fixture], Mapping[str, Result]]

_CASES: dict[str, CaseFunction] = {}


def case(name: str) -> Callable[[CaseFunction], CaseFunction]:
    """Decorator: the function reproduces fixtures whose `case` is `name`."""

    def enter(function: CaseFunction) -> CaseFunction:
        _CASES[name] = function
        return function

    return enter


def find_case(name: str) -> CaseFunction:
    """The function of a case; `UserError` lists the known ones."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    if name not in _CASES:
        raise choices(name, _CASES, "fixture case")
    return _CASES[name]
