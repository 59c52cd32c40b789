"""Optimizers and learning-rate schedules by name, from plain settings (`configs/optimizer`)."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from revoice.errors import UserError, choices
from revoice.registry import accepted
from revoice.settings import (
    Flag,
    Fraction,
    Given,
    Natural,
    NotNegative,
    Number,
    Share,
    Whole,
    checked,
    from_mapping,
    settings,
)  # fmt: skip
from revoice.training.muon import Muon

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam, "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop, "muon": Muon,
}  # fmt: skip
FUSED = ("adam", "adamw", "sgd")
KINDS: dict[str, Any] = {  # of torch's settings, which torch itself does not bound alike
    "lr": Annotated[Number, Field(ge=0, le=1000)], "betas": tuple[Fraction, Fraction], "eps": NotNegative,
    "weight_decay": Annotated[Number, Field(ge=0, le=1000)], "momentum": Fraction, "dampening": Share, "alpha": Share,
    "ns_steps": Annotated[Whole, Field(ge=1, le=100)],
    **dict.fromkeys(("amsgrad", "maximize", "capturable", "differentiable", "nesterov", "centered"), Flag),
    **dict.fromkeys(("foreach", "fused"), Flag | None), "decoupled_weight_decay": Flag,
}  # fmt: skip


@settings
class Schedule:
    """How the learning rate moves (`optimizer.schedule`).

    Attributes:
        name: "cosine" falls to `final`, a share of the rate, at the end of training; "multistep" multiplies by `gamma`
            at each of `milestones`.
        warmup: iterations in which the rate grows linearly from 0.
    """

    name: Literal["constant", "cosine", "multistep"] = "constant"
    warmup: Natural = 0
    final: Share = 0.0
    gamma: Share = 0.5
    milestones: tuple[Natural, ...] = ()


def optimizer_settings(values: Any) -> tuple[str, dict[str, Any]]:
    """The name in `{name, lr, betas, ..., schedule}` and what the optimizer takes, checked."""
    given = checked(Given, values, "optimizer")
    name = given.pop("name", "adam")
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise choices(name, OPTIMIZERS, "optimizer.name")
    checked(Schedule | None, given.pop("schedule", None), "optimizer.schedule")
    known = [each for each in accepted(OPTIMIZERS[name]) if each in KINDS]
    for key in given:
        if key not in known:
            raise choices(key, known, f"setting of optimizer {name}")
    return name, {key: checked(KINDS[key], value, f"optimizer.{key}") for key, value in given.items()}


def build_optimizer(settings: Mapping[str, Any], model: nn.Module, fused: bool = False) -> torch.optim.Optimizer:
    """An optimizer from `{name, lr, betas, ...}`; `schedule` is read by `learning_rate_factor`.

    Args:
        settings: plain values.
        model: module whose trainable parameters are optimized.
        fused: use torch's fused kernels where the optimizer has them and the settings do not choose others.
    """
    name, values = optimizer_settings(settings)
    make = OPTIMIZERS[name]
    if fused and name in FUSED and "foreach" not in values:
        values.setdefault("fused", True)
    # Muon tells layers' weights from the rest, so it takes the module
    trained: Any = model if make is Muon else [p for p in model.parameters() if p.requires_grad]
    try:
        return make(trained, **values)
    except (ValueError, RuntimeError) as error:  # what does not go together
        raise UserError(f"optimizer {name}: {error}") from error


def learning_rate_factor(schedule: Mapping[str, Any], max_iterations: int) -> Callable[[int], float]:
    """Factor on the learning rate by iteration.

    Args:
        schedule: of `Schedule`.
        max_iterations: length of the run.

    >>> f = learning_rate_factor({"name": "cosine", "warmup": 10, "final": 0.1}, 100)
    >>> f(0), round(f(99), 2)
    (0.1, 0.1)
    """
    how = from_mapping(Schedule, schedule, "optimizer.schedule")
    shapes: dict[str, Callable[[int], float]] = {
        "constant": lambda i: 1.0,
        "cosine": lambda i: how.final + (1 - how.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, i / max_iterations))),
        "multistep": lambda i: how.gamma ** sum(i >= m for m in how.milestones),
    }
    return lambda i: min(1.0, (i + 1) / how.warmup if how.warmup else 1.0) * shapes[how.name](i)
