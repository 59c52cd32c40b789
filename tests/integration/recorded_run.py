"""A training run that records its losses and first gradients: `recorded_run.py CONFIG.json FOLDER`, or by torchrun.

All of it in double precision: the order of a sum, which differs between processors and numbers of processes, then
changes nothing that a mistake could hide behind.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from revoice.data.read.batch import Batch
from revoice.models.base import ConversionModel
from revoice.nn.collective import processes, summed
from revoice.training.module import VoiceModule
from revoice.training.run import train
from tests import toys  # noqa: F401

record: dict[str, Any] = {"losses": [], "gradients": {}}
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
    record["losses"].append(summed(total) / processes())
    watch(self, total)


def recorded_take(self: VoiceModule, due: Any, *arguments: Any) -> Any:
    logged = take(self, due, *arguments)
    network = self.networks()[due.turn.part]  # its gradients are averaged by now
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    record["gradients"].setdefault(due.turn.part, found)
    return logged


if __name__ == "__main__":
    torch.set_num_threads(1)
    VoiceModule.__init__ = of_doubles  # type: ignore[method-assign]
    Batch.to = in_double  # type: ignore[method-assign]
    VoiceModule._watch = recorded_watch  # type: ignore[method-assign]
    VoiceModule._take = recorded_take  # type: ignore[method-assign]
    folder = Path(sys.argv[2])
    train(json.loads(Path(sys.argv[1]).read_text()), folder)
    torch.save(record, folder / f"record{os.environ.get('RANK', '0')}.pt")
