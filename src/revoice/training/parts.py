"""The optimizers of a run, one for each part that learns by itself, behind the one that Lightning knows."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from revoice.errors import UserError
from revoice.nn.collective import processes
from revoice.training.optimizers import build_optimizer, learning_rate_factor

log = logging.getLogger(__name__)
_NOT_TYPED = ("params", "lr", "initial_lr")
_SPEED = ("foreach", "fused", "capturable")  # settings that change no number
_REMEMBERING = ("amsgrad", "centered", "momentum")  # need what is only kept from the start on


class Optimizers(torch.optim.Optimizer):
    """Several optimizers as one: one entry in a checkpoint, and one list of groups for schedules and loggers.

    Its own `step` does nothing: the module steps the parts in their turns.

    Args:
        parts: the optimizers by part.
    """

    def __init__(self, parts: Mapping[str, torch.optim.Optimizer]) -> None:
        self.parts = dict(parts)
        super().__init__(
            [p for each in self.parts.values() for group in each.param_groups for p in group["params"]], {}
        )
        self._gather()

    def step(self, closure: Any = None) -> Any:
        """Nothing: see above."""

    def state_dict(self) -> dict[str, Any]:
        """Of the only part as it is, or of each by its name; rates are numbers, wherever they are now."""
        states = {name: each.state_dict() for name, each in self.parts.items()}
        for group in (group for state in states.values() for group in state["param_groups"]):
            if isinstance(group.get("lr"), Tensor):  # of a run that replays its iterations
                group["lr"], group["capturable"] = float(group["lr"]), False
        return next(iter(states.values())) if len(states) == 1 else {"parts": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` gave, by the settings of now (rates: see `take_rates`).

        Raises:
            UserError: other parts than these, or a setting that needs what the state does not have.
        """
        states: Any = state.get("parts") if len(self.parts) > 1 else {next(iter(self.parts)): state}
        if not isinstance(states, Mapping) or states.keys() != self.parts.keys():
            raise UserError(f"the checkpoint has no optimizers for the parts {', '.join(self.parts)}")
        for name, each in self.parts.items():
            each.load_state_dict(_as_typed(states[name], each, name))
        self._gather()

    def _gather(self) -> None:
        self.param_groups = [group for each in self.parts.values() for group in each.param_groups]


def _as_typed(state: Mapping[str, Any], optimizer: torch.optim.Optimizer, part: str) -> dict[str, Any]:
    """The state of an optimizer with the settings of another of its kind in place of those that it was saved with."""
    groups = []
    for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True):
        typed = {key: value for key, value in own.items() if key not in _NOT_TYPED}
        changed = [key for key in typed if key in saved and key not in _SPEED and saved[key] != typed[key]]
        for key in changed:
            if key in _REMEMBERING and typed[key] and not saved[key]:
                raise UserError(
                    f"optimizer of {part}: {key}={typed[key]} remembers what the checkpoint, made with "
                    f"{key}={saved[key]}, did not: leave it as it was, or start a new run with init_from="
                )
            log.info("optimizer of %s: %s=%s in place of %s", part, key, typed[key], saved[key])
        groups.append({**saved, **typed})
    return {**state, "param_groups": groups}


def build_optimizers(
    settings: Mapping[str, Any],
    overrides: Mapping[str, Mapping[str, Any]],
    parts: Mapping[str, nn.Module],
    max_iterations: int,
    fused: bool = False,
) -> tuple[Optimizers, torch.optim.lr_scheduler.LRScheduler]:
    """One optimizer for each part, and what moves their rates.

    Args:
        settings: the config group `optimizer`.
        overrides: what is otherwise for a part (`optimizers`).
        parts: the networks; no weight may be in two.
        max_iterations: of the run.
        fused: see `build_optimizer`.
    """
    seen = [id(p) for part in parts.values() for p in part.parameters()]
    assert len(seen) == len(set(seen)), "a weight belongs to two parts"
    made, factors = {}, []
    for name, network in parts.items():
        how = merged(settings, overrides.get(name, {}))
        made[name] = build_optimizer(how, network, fused)
        for number, group in enumerate(made[name].param_groups if len(parts) > 1 else ()):
            group["name"] = f"{name}/{number + 1}" if number else name  # in logs
        factors += [learning_rate_factor(how.get("schedule") or {}, max_iterations)] * len(made[name].param_groups)
    optimizers = Optimizers(made)
    return optimizers, torch.optim.lr_scheduler.LambdaLR(optimizers, factors)


def take_rates(schedule: Any, rates: Sequence[Any]) -> None:
    """Go on with these learning rates where the checkpoint that a run goes on from has others.

    Args:
        schedule: the `LambdaLR` of `build_optimizers`, its state taken up.
        rates: of its groups, before their factors.
    """
    if schedule.base_lrs == list(rates):
        return
    log.info("learning rates of %s in place of %s", list(rates), schedule.base_lrs)
    schedule.base_lrs = list(rates)
    for group, rate, factor in zip(schedule.optimizer.param_groups, rates, schedule.lr_lambdas, strict=True):
        group["initial_lr"], now = rate, rate * factor(schedule.last_epoch)
        group["lr"] = group["lr"].fill_(now) if isinstance(group["lr"], Tensor) else now


def merged(settings: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an optimizer with some of them otherwise; another `name` takes none of the old one's but the rate.

    >>> merged({"name": "adam", "lr": 1, "schedule": {"warmup": 5}}, {"schedule": {"name": "cosine"}})
    {'name': 'adam', 'lr': 1, 'schedule': {'warmup': 5, 'name': 'cosine'}}
    """
    if override.get("name", settings.get("name")) != settings.get("name"):
        settings = {key: settings[key] for key in ("lr", "schedule") if key in settings}
    found = {**settings, **override}
    if isinstance(settings.get("schedule"), Mapping) and isinstance(override.get("schedule"), Mapping):
        found["schedule"] = {**settings["schedule"], **override["schedule"]}
    return found


def take_step(optimizer: torch.optim.Optimizer, clip: float | None, scaler: Any) -> None:
    """Average the gradients of an optimizer's weights, clip and apply them; nothing where there are none.

    Args:
        optimizer: of one part.
        clip: largest global norm; None and 0 do not clip.
        scaler: of losses in float16, else None.
    """
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    if all(weight.grad is None for weight in weights):
        return
    average_gradients(weights)
    if scaler is not None:
        scaler.unscale_(optimizer)
    if clip:
        torch.nn.utils.clip_grad_norm_(weights, clip)
    if scaler is not None:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()
    torch.clear_autocast_cache()  # it holds the weights of before


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """The mean over all processes takes the place of each gradient, in one exchange.

    torch's DistributedDataParallel would do this during the backward pass; it expects every weight to take part in
    every one of them, and there to be one in an iteration, which is not so where parts take turns.
    """
    if processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients]) / processes()
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
