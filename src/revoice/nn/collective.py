"""Sums over all processes of a run, with their gradients; one process is the special case of one."""

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, without gradient."""
    values = values.detach()
    if processes() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def summed_with_gradient(values: Tensor) -> Tensor:
    """The sum over all processes; the gradient of every process's loss reaches every process's values."""
    if processes() == 1:
        return values
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(values)


def gathered(values: Tensor) -> Tensor:
    """Tensors (N, ...) of all processes, which must have one shape, behind each other by rank, without gradient."""
    values = values.detach()
    if processes() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(processes())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)
