"""Files that hold a whole module, pickled: read as nested values, with nothing imported and nothing run.

Older programs saved the object itself (`torch.save(model)`), so that the file names the classes it is made of.
Each of those names becomes a class of our own that keeps what it is given and does nothing.
"""

import pickle
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revoice.errors import UserError
from revoice.untrusted import read_torch

_TORCH = ("torch.nn.", "torch.optim.")  # whose classes stand for nothing either
_SINGLE = ("torch device", "__builtin__ set", "builtins set", "collections defaultdict")
_PARALLEL = "torch.nn.parallel."  # the package of what wraps a module, as `module`
_DEEP = 32  # modules within modules


class Pickled(dict[Any, Any]):
    """An object of some class: its attributes by name. `made_by` is the class, "glow.WaveGlow"."""

    made_by = ""
    dump_patches = False  # torch asks it, and would else write a file

    def __init__(self, *given: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.update(state)


class _Rebuild:
    """One of torch's functions that put a tensor together, which a pickle can call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *given: Any) -> Any:
        return self._function(*given)

    def __setstate__(self, state: Any) -> None:
        raise UserError("it changes a function of torch: nothing was run")


_PARTS = {
    "collections OrderedDict": OrderedDict,
    "torch._utils _rebuild_tensor_v2": _Rebuild(torch._utils._rebuild_tensor_v2),
    "torch._utils _rebuild_parameter": _Rebuild(torch._utils._rebuild_parameter),
}


@cache
def _standin(module: str, name: str) -> type[Pickled]:
    return type(name, (Pickled,), {"made_by": f"{module}.{name}"})


class Standins(types.ModuleType):
    """What `torch.load` takes for Python's `pickle`: classes of some packages become `Pickled`, others are refused.

    Args:
        packages: whose classes the file may name, beside those of torch's layers.
    """

    def __init__(self, *packages: str) -> None:
        super().__init__("pickle")
        self._packages = packages

        class Unpickler(pickle.Unpickler):
            def find_class(_self, module: str, name: str) -> Any:
                asked = f"{module} {name}"
                if asked in _PARTS:
                    return _PARTS[asked]
                if not self.takes(asked):
                    raise UserError(f"it asks for {module}.{name}: nothing was run")
                return _standin(module, name)

        self.Unpickler = Unpickler

    def takes(self, asked: str) -> bool:
        """Whether "module name" is a class that becomes a `Pickled`."""
        module = asked.split(" ")[0]
        ours = any(module == package or module.startswith(f"{package}.") for package in self._packages)
        return asked.isascii() and (ours or asked in _SINGLE or asked.startswith(_TORCH))

    def load(self, file: Any, **how: Any) -> Any:
        """What `pickle.load` would give."""
        return self.Unpickler(file, **how).load()


def read_pickled(file: Path, *packages: str) -> Any:
    """What `torch.save` wrote of whatever age, whole modules as `Pickled`; see `read_torch`."""
    return read_torch(file, legacy=True, standins=Standins(*packages))


def inside(module: Pickled) -> Pickled:
    """The module in a `DataParallel`, or the like, whose own class says nothing of the network; any other as it is."""
    while module.made_by.startswith(_PARALLEL):
        inner = module.get("_modules")
        found = inner.get("module") if isinstance(inner, Mapping) else None
        if not isinstance(found, Pickled) or found is module:
            break
        module = found
    return module


def state_of(module: Pickled) -> dict[str, Tensor]:
    """The state_dict of a pickled module: its parameters and buffers, and no attribute that merely looks like one.

    A module under torch's older weight norm carries a plain attribute `weight` beside `weight_g` and `weight_v`, which
    was computed at some earlier time.

    Raises:
        UserError: modules without end, or parameters that are no tensors.
    """
    return dict(_state(module, "", 0))


def _state(module: Any, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(module, Pickled) or depth > _DEEP:
        raise UserError(f"{prefix or 'it'} is no pickled module: get the file anew from where it is")
    for kind in ("_parameters", "_buffers"):
        values = module.get(kind)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach()
            elif value is not None:
                raise UserError(f"{prefix}{name} is no tensor: get the file anew from where it is")
    inner = module.get("_modules")
    for name, value in inner.items() if isinstance(inner, Mapping) else ():
        if value is not None:
            yield from _state(value, f"{prefix}{name}.", depth + 1)
