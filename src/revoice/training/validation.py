"""What a validation batch tells of a model and of those who judge it."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revoice.data.read.batch import Batch

if TYPE_CHECKING:
    from revoice.training.module import VoiceModule


def measured(module: "VoiceModule", batch: Batch) -> dict[str, Tensor]:
    """By the names that they are logged under, each a scalar: losses, how often critics are right, other measures.

    `val/loss` is the sum of the losses of all parts by the weights that each learns by in the end.
    """
    totals: list[Tensor] = []
    values: dict[str, Tensor] = {}
    stored = module.schedule.phase.batches == "stored"
    for part in module.model.parts():
        play, objective = module.model.play(batch, part), module.schedule.objective(part)
        values |= {module._logged(part, name, "val"): value for name, value in play.losses.items()}
        if objective is not None:
            totals.append(objective.of(play.losses, module.max_iterations))
        for critic in module.judges:
            if critic.how.of == part and critic.how.kind != "wasserstein":
                judged = module.model.stored(batch) if stored else play
                values[f"val/accuracy/{critic.label}"] = critic.accuracy(judged)
    total = sum(totals[1:], totals[0]) if totals else torch.zeros(())
    values = {"val/loss": total, **values}
    return values | {f"val/{name}": value for name, value in module.model.measures(batch).items()}
