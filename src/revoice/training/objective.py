"""Weights that turn a model's named losses into the number that is minimized."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from revoice.errors import UserError
from revoice.settings import Natural, Number, Word, checked, settings


@settings
class Weight:
    """A loss weight that may grow linearly from 0 over the first `warmup` iterations, then stay at `value`."""

    value: Number
    warmup: Natural = 0

    def at(self, iteration: int) -> float:
        """The weight in an iteration, counted from 0.

        >>> Weight(value=1.0, warmup=4).at(0), Weight(value=1.0, warmup=4).at(9)
        (0.25, 1.0)
        """
        return self.value * min(1.0, (iteration + 1) / self.warmup) if self.warmup else self.value


def _as_value(value: Any) -> Any:
    """A number stands for a weight that does not grow."""
    return value if isinstance(value, Mapping | Weight) else {"value": value}


Weights = Annotated[dict[Word, Annotated[Weight, BeforeValidator(_as_value)]], Field(min_length=1)]


class Objective:
    """The weighted sum of named losses. A weight of 0 means: log it, do not train on it.

    Args:
        weights: loss name -> number, or {value, warmup}.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.weights = checked(Weights, weights, "loss")

    def __call__(self, losses: Mapping[str, Tensor], iteration: int) -> Tensor:
        """Scalar total; a loss without a weight, or a weight without a loss, is a `UserError`."""
        self.require(losses)
        if not any(self.weights[name].at(iteration) for name in losses):
            raise UserError(
                "every loss weight is 0: nothing to train on; set one of " + ", ".join(f"loss.{n}" for n in losses)
            )
        return self.of(losses, iteration)

    def require(self, losses: Mapping[str, Tensor]) -> None:
        """A `UserError` unless every loss has a weight, and every weight a loss."""
        if losses.keys() != self.weights.keys():
            raise UserError(
                f"loss weights {sorted(self.weights)} do not match the model's losses {sorted(losses)}: "
                "set loss.NAME=..., or NAME among the losses of its turn where there is a schedule"
            )

    def of(self, losses: Mapping[str, Tensor], iteration: int) -> Tensor:
        """The sum of those of the losses that have a weight; 0 if none has."""
        weights = {name: self.weights[name].at(iteration) for name in losses if name in self.weights}
        weighted = [
            losses[name] if weight == 1 else losses[name] * weight for name, weight in weights.items() if weight
        ]
        return sum(weighted[1:], weighted[0]) if weighted else torch.zeros(())
