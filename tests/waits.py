"""What would make a GPU wait, seen on a CPU."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_ASKS = (
    "_local_scalar_dense", "is_nonzero", "equal.", "nonzero", "bincount", "masked_select", "_unique", "unique_",
    "lift_fresh", "scalar_tensor",  # numbers of Python that would have to be copied to the GPU
)  # fmt: skip


class Waits(TorchDispatchMode):
    """Lists operations whose result Python or the size of a tensor depends on, and numbers of Python made tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        masks = name.startswith("index.") and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masks or name.startswith(_ASKS):
            self.found.append(name)
        return func(*args, **(kwargs or {}))
