"""Optimisers and learning-rate schedules by name, from plain settings (`configs/optimizer`)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from revoice.errors import UserError, choices
from revoice.registry import accepted
from revoice.training.muon import Muon

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam, "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop, "muon": Muon,
}  # fmt: skip
FUSED = ("adam", "adamw", "sgd")


def build_optimiser(settings: Mapping[str, Any], model: nn.Module, fused: bool = False) -> torch.optim.Optimizer:
    """An optimiser from `{name, lr, betas, ...}`; `schedule` is read by `learning_rate_factor`.

    Args:
        settings: plain values.
        model: module whose trainable parameters are optimised.
        fused: use torch's fused kernels where the optimiser has them and the settings do not choose others.
    """
    values = {key: value for key, value in settings.items() if key not in ("name", "schedule")}
    name = settings.get("name", "adam")
    if name not in OPTIMISERS:
        raise choices(name, OPTIMISERS, "optimizer.name")
    make = OPTIMISERS[name]
    known = [n for n in accepted(make) if n not in ("params", "model")]
    for key in values:
        if key not in known:
            raise choices(key, known, f"setting of optimizer {name}")
    if fused and name in FUSED and "foreach" not in values:
        values.setdefault("fused", True)
    # Muon tells layers' weights from the rest, so it takes the module
    trained: Any = model if make is Muon else [p for p in model.parameters() if p.requires_grad]
    return make(trained, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def learning_rate_factor(schedule: Mapping[str, Any], max_iterations: int) -> Callable[[int], float]:
    """Factor on the learning rate by iteration.

    Args:
        schedule: `{name: constant | cosine | multistep, warmup: iterations}`; cosine falls to `final` (a share of the
            rate) at the end of training; multistep multiplies by `gamma` at each of `milestones`.
        max_iterations: length of the run.

    >>> f = learning_rate_factor({"name": "cosine", "warmup": 10, "final": 0.1}, 100)
    >>> f(0), round(f(99), 2)
    (0.1, 0.1)
    """
    name, warmup = schedule.get("name", "constant"), int(schedule.get("warmup", 0))
    final, gamma = float(schedule.get("final", 0.0)), float(schedule.get("gamma", 0.5))
    milestones = [int(m) for m in schedule.get("milestones", ())]
    shapes: dict[str, Callable[[int], float]] = {
        "constant": lambda i: 1.0,
        "cosine": lambda i: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, i / max_iterations))),
        "multistep": lambda i: gamma ** sum(i >= m for m in milestones),
    }
    if name not in shapes:
        raise choices(name, shapes, "optimizer.schedule.name")
    for key in schedule:
        if key not in ("name", "warmup", "final", "gamma", "milestones"):
            raise choices(key, ["name", "warmup", "final", "gamma", "milestones"], "setting of optimizer.schedule")
    if warmup < 0 or not 0 <= final <= 1:
        raise UserError(f"optimizer.schedule: warmup={warmup} must be >= 0 and final={final} within 0..1")
    return lambda i: min(1.0, (i + 1) / warmup if warmup else 1.0) * shapes[name](i)
