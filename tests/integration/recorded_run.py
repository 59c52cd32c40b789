"""A training run that records its losses and first gradients, in a process of its own (`tests/forks.py`).

All of it in double precision: the order of a sum, which differs between processors and numbers of processes, then
changes nothing that a mistake could hide behind.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from revoice.data.read.batch import Batch
from revoice.models.base import ConversionModel
from revoice.nn.collective import processes, summed
from revoice.training.module import VoiceModule
from revoice.training.run import train

found: dict[str, Any] = {"losses": [], "gradients": {}}
make, to = VoiceModule.__init__, Batch.to
watch, take = VoiceModule._watch, VoiceModule._take


def in_double(self: Batch, device: Any, non_blocking: bool = False) -> Batch:
    moved = to(self, device, non_blocking)
    given = {name: value for name, value in vars(moved).items() if isinstance(value, torch.Tensor)}
    return replace(moved, **{name: value.double() for name, value in given.items() if value.is_floating_point()})


def of_doubles(self: VoiceModule, model: ConversionModel, *arguments: Any, **options: Any) -> None:
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]  # models widen what is half precision
    make(self, model.double(), *arguments, **options)
    self.critics.double()


def recorded_watch(self: VoiceModule, total: torch.Tensor) -> None:
    found["losses"].append(summed(total) / processes())
    watch(self, total)


def recorded_take(self: VoiceModule, due: Any, *arguments: Any) -> Any:
    logged = take(self, due, *arguments)
    network = self.networks()[due.turn.part]  # its gradients are averaged by now
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    found["gradients"].setdefault(due.turn.part, gradients)
    return logged


def record(config: dict[str, Any], folder: Path) -> None:
    """Train; what was recorded is left in FOLDER/record0.pt, record1.pt ... What is replaced here stays replaced."""
    VoiceModule.__init__ = of_doubles  # type: ignore[method-assign]
    Batch.to = in_double  # type: ignore[method-assign]
    VoiceModule._watch = recorded_watch  # type: ignore[method-assign]
    VoiceModule._take = recorded_take  # type: ignore[method-assign]
    train(config, folder)
    torch.save(found, folder / f"record{os.environ.get('RANK', '0')}.pt")
