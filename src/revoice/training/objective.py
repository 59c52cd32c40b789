"""Weights that turn a model's named losses into the number that is minimised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from revoice.errors import UserError
from revoice.registry import from_mapping


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A loss weight that may grow linearly from 0 over the first `warmup` iterations, then stay at `value`."""

    value: float
    warmup: int = 0

    def at(self, iteration: int) -> float:
        """The weight in an iteration, counted from 0.

        >>> Weight(value=1.0, warmup=4).at(0), Weight(value=1.0, warmup=4).at(9)
        (0.25, 1.0)
        """
        return self.value * min(1.0, (iteration + 1) / self.warmup) if self.warmup else self.value


class Objective:
    """The weighted sum of named losses. A weight of 0 means: log it, do not train on it.

    Args:
        weights: loss name -> number, or {value, warmup}.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.weights = {name: _weight(name, value) for name, value in weights.items()}

    def __call__(self, losses: Mapping[str, Tensor], iteration: int) -> Tensor:
        """Scalar total; a loss without a weight, or a weight without a loss, is a `UserError`."""
        if losses.keys() != self.weights.keys():
            raise UserError(
                f"loss weights {sorted(self.weights)} do not match the model's losses {sorted(losses)}: "
                "set loss.NAME=..."
            )
        weighted = [loss * w for name, loss in losses.items() if (w := self.weights[name].at(iteration))]
        if not weighted:
            raise UserError(
                "every loss weight is 0: nothing to train on; set one of " + ", ".join(f"loss.{n}" for n in losses)
            )
        return sum(weighted[1:], weighted[0])


def _weight(name: str, value: Any) -> Weight:
    return from_mapping(Weight, value, f"loss.{name}") if isinstance(value, Mapping) else Weight(value=float(value))
