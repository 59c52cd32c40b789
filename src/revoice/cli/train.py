"""`python train.py model=... data=... key=value ...`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revoice.cli.app import run, to_json


@dataclass(frozen=True)
class Trained:
    """What a job gives back to Hydra: `objective` is the number a sweep compares."""

    folder: Path
    checkpoint: Path | None
    metrics: dict[str, Any]
    objective: float | None


def task(values: dict[str, Any], folder: Path) -> Trained:
    """Train one configuration."""
    from revoice.training.run import train

    outcome = train(values, folder)
    if outcome.checkpoint is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        shown = {name: value for name, value in outcome.metrics.items() if not name.startswith("train/")}
        print(
            to_json(shown)
            + f"run folder: {outcome.folder}\nconvert:    python convert.py ckpt={outcome.folder} src=a.wav tgt=b.wav"
        )
    objective = outcome.metrics.get(values["optimized_metric"])
    return Trained(outcome.folder, outcome.checkpoint, outcome.metrics, objective)


def main() -> None:
    """Entry point of `revoice-train`."""
    run("train", task)
