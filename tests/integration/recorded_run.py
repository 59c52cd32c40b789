"""A training run that records its losses and first gradients: `recorded_run.py CONFIG.json FOLDER`, or by torchrun."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from revoice.nn.collective import processes, summed
from revoice.training.module import VoiceModule
from revoice.training.run import train

record: dict[str, Any] = {"losses": []}
step = VoiceModule.training_step


def recorded_step(self: VoiceModule, batch: Any, index: int) -> torch.Tensor:
    total = step(self, batch, index)
    record["losses"].append(summed(total) / processes())
    return total


def record_gradients(self: VoiceModule) -> None:
    found = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
    record.setdefault("gradients", found)  # of the first iteration


if __name__ == "__main__":
    torch.set_num_threads(1)
    VoiceModule.training_step = recorded_step  # type: ignore[method-assign]
    VoiceModule.on_after_backward = record_gradients  # type: ignore[method-assign]
    folder = Path(sys.argv[2])
    train(json.loads(Path(sys.argv[1]).read_text()), folder)
    torch.save(record, folder / f"record{os.environ.get('RANK', '0')}.pt")
