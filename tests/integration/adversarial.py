"""An adversarial run of the toys of `tests/toys.py`, by other processes: `adversarial.py CONFIG.json FOLDER`."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from revoice.training.run import train
from tests import toys  # noqa: F401
from tests.conftest import TINY, compose_config

GENERATOR = {"reconstruction": 10, "adversarial/patch": 1, "matching/patch": 0.5, "adversarial/plain": 0.5}
SCHEDULE = [
    {"iterations": 3, "turns": [{"part": "generator", "losses": {"reconstruction": 1}}]},
    {
        "iterations": 3,
        "turns": [{"part": "patch"}, {"part": "plain", "losses": {"critic": 1, "penalty": 10}}, {"part": "listener"}],
    },
    {
        "turns": [
            {"part": "patch", "losses": {"critic": 1, "r1": 0.1}},
            {"part": "plain", "losses": {"critic": 1, "penalty": 10}, "clip": 0.5},
            {"part": "generator", "losses": GENERATOR, "every": 2},
            {"part": "listener"},
        ],
        "gates": {"patch": {"metric": "train/critic/patch", "stop_below": 0.75, "go_above": 0.76}},
    },
]


def config(folder: Path, *settings: str, schedule: Any = SCHEDULE) -> dict[str, Any]:
    """Of a run with two critics, a penalty, a gate and three phases."""
    values = ["model=adain_vc_small", "debug=tiny", "logger=none", "trainer=cpu", *TINY, *settings]
    found = compose_config("train", *values, folder=folder)
    found["model"], found["loss"] = {"name": "toy_pair"}, {"pitch": 1}
    found["critics"] = {
        "patch": {"name": "toy", "kind": "lsgan", "of": "generator"},
        "plain": {"name": "toy", "kind": "wasserstein", "of": "generator", "given": True},
    }
    found["schedule"] = schedule
    found["optimizer"] = {"name": "adam", "lr": 3e-3, "betas": [0.5, 0.9], "schedule": {"name": "cosine", "warmup": 2}}
    found["optimizers"] = {"patch": {"lr": 6e-3}, "listener": {"name": "muon"}}
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
