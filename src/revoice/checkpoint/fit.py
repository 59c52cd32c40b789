"""Whether weights are those of the model that is described beside them, found out before it has any memory."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from revoice.errors import UserError

M = TypeVar("M", bound=nn.Module)

_PASSING = 2  # parameters that a module may register for each that stays: weight norm puts two in the place of one


def sketch(build: Callable[[], M], tensors: int) -> M:
    """A model without memory (device "meta"), for its names and shapes; more parameters than `tensors` are refused."""
    registered = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal registered
        registered += parameter is not None
        if registered > _PASSING * tensors:
            raise UserError(f"the weights do not fit: the described model has more than the {tensors} tensors here")

    hook = nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), warnings.catch_warnings(action="ignore"):
            return build()
    finally:
        hook.remove()


def widened(value: Any, dtype: torch.dtype) -> Any:
    """A tensor of 16-bit floats as one of `dtype`, where that holds every number of it; anything else as it is."""
    short = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.to(dtype) if short and dtype in (torch.float32, torch.float64) else value


def require_fit(expected: Mapping[str, Tensor], found: Mapping[str, Any], model: str) -> None:
    """Refuse weights whose names, shapes or types are not those of the model's state, or that are not finite."""
    for name in sorted(expected.keys() ^ found.keys()):
        where = "described model" if name in expected else "file"
        raise UserError(f"the weights do not fit the described {model}: {name} is only in the {where}")
    for name, tensor in expected.items():
        value = found[name]
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.dtype != tensor.dtype:
            shown = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UserError(
                f"the weights do not fit the described {model}: {name} is {shown}, "
                f"expected {tensor.dtype} {list(tensor.shape)}"
            )
        require_finite(name, value)


def require_finite(name: str, value: Tensor) -> None:
    """Refuse a tensor that is empty, or holds NaN or infinity."""
    if not value.numel():
        raise UserError(f"{name} has no values: expected a model that was trained")
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise UserError(f"{name} is not finite (NaN or infinity): the file is damaged or its training failed")
