"""An iteration recorded once, as a CUDA graph, and replayed with other numbers in the same tensors."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.nn.collective import processes
from revoice.nn.draws import Draws
from revoice.training.plays import Plays
from revoice.training.schedule import Due

if TYPE_CHECKING:
    from revoice.training.module import VoiceModule

log = logging.getLogger(__name__)
WARM = 5  # iterations before one is recorded: libraries choose their kernels, optimizers make their state


@dataclass(frozen=True)
class KeptDraws(Draws):
    """Random numbers in tensors that stay where they are; what a network asks for is learned from its asking.

    Attributes:
        kept: by kind, name, sizes and device.
    """

    kept: dict[Any, Tensor] = field(default_factory=dict)

    def normal(self, name: str, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """See `Draws`, as all of these."""
        return self._keep("normal", name, shape, device)

    def uniform(self, name: str, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """See `Draws`."""
        return self._keep("uniform", name, shape, device)

    def integers(self, name: str, high: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """See `Draws`."""
        return self._keep("integers", name, (high, *shape), device)

    def order(self, name: str, size: int, device: torch.device | str = "cpu") -> Tensor:
        """See `Draws`."""
        return self._keep("order", name, (size,), device)

    def fill(self, draws: Draws) -> None:
        """Put the numbers of other draws in their places."""
        for (kind, name, sizes, device), value in self.kept.items():
            value.copy_(getattr(draws, kind)(name, *sizes, device=device))

    def _keep(self, kind: str, name: str, sizes: tuple[int, ...], device: torch.device | str) -> Tensor:
        key = (kind, name, sizes, torch.device(device))
        if key not in self.kept:
            self.kept[key] = getattr(Draws, kind)(self, name, *sizes, device=device).clone()
        return self.kept[key]


class Replay:
    """The only turn of an iteration: losses, gradients, clipping, optimizer.

    All that changes from one iteration to the next lies in tensors: the batch, its draws, the weights of the losses,
    the learning rate. On a CPU the work is done again with them, so that what is replayed can be tried there.

    Args:
        module: whose iterations.
        demanded: whether it is an error if nothing can be recorded; else iterations go on as they were.
    """

    def __init__(self, module: "VoiceModule", demanded: bool = False) -> None:
        self.module, self.demanded = module, demanded
        self.graph: torch.cuda.CUDAGraph | None = None
        self.batch: Batch | None = None
        self.done, self.given_up = 0, False
        self.found: dict[str, Tensor] = {}

    def fits(self, batches: Sequence[Batch], due: Sequence[Due]) -> bool:
        """Whether an iteration is one of those: a single turn, and a batch of the shapes of the first."""
        if self.given_up or len(batches) != 1 or len(due) != 1 or not due[0].learns or batches[0].draws is None:
            return False
        fixed = self._take_in(batches[0], due[0]) if self.batch is None else self.batch
        return _shapes(batches[0]) == _shapes(fixed)

    def __call__(self, batch: Batch, due: Due) -> dict[str, Tensor]:
        """Learn from a batch; the losses, in tensors that the next iteration overwrites."""
        self._fill(batch, due)
        cuda = batch.features.is_cuda
        if cuda and self.graph is None and self.done == WARM:
            self._record(due)
        if self.graph is not None:
            self.graph.replay()
        else:
            self._work(due)
        self.done += 1
        return self.found

    def _take_in(self, batch: Batch, due: Due) -> Batch:
        """Make the tensors that stay."""
        draws = batch.draws
        assert draws is not None
        kept = KeptDraws(draws.seed, draws.iteration, draws.first, draws.count, draws.total)
        fixed: dict[str, Any] = {k: v.clone() for k, v in vars(batch).items() if isinstance(v, Tensor)}
        self.batch = replace(batch, draws=kept, **fixed)
        names = [name for name, weight in due.objective.weights.items() if weight.value]
        self.weights = dict(zip(names, torch.zeros(len(names), device=batch.features.device).unbind(), strict=True))
        return self.batch

    def _fill(self, batch: Batch, due: Due) -> None:
        fixed, draws = self.batch, batch.draws
        assert fixed is not None and draws is not None and isinstance(fixed.draws, KeptDraws)
        for name, value in vars(fixed).items():
            if isinstance(value, Tensor):
                value.copy_(getattr(batch, name), non_blocking=True)
        fixed.draws.fill(draws)
        for name, weight in self.weights.items():
            weight.fill_(due.objective.weights[name].at(due.at))
        self.module.seed_layers(batch)

    def _work(self, due: Due) -> None:
        """What is recorded."""
        module, part = self.module, due.turn.part
        assert self.batch is not None
        gradients = module.gradients(part)
        gradients.clear()
        losses = dict(Plays(module, [self.batch], [part], seeded=True).of(0, 0).losses)
        due.objective.require(losses)
        weighted = [
            losses[name] * weight for name, weight in ((n, self.weights[n]) for n in losses if n in self.weights)
        ]
        total = sum(weighted[1:], weighted[0])
        with torch.autocast(module.device.type, enabled=False):
            gradients.add(total)
            module.step_part(due.turn)
        self.found = {name: value.detach() for name, value in {"loss": total, **losses}.items()}

    def _record(self, due: Due) -> None:
        """Record the work instead of doing it; what cannot be recorded goes on being done."""
        optimizer = self.module.optimizer_of(due.turn.part)
        before = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self.module.device)
            group["capturable"] = True
        graph = torch.cuda.CUDAGraph()
        try:
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                self._work(due)
        except (RuntimeError, AssertionError) as error:  # of CUDA, and of optimizers that keep counters on the CPU
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if self.demanded:
                raise UserError(
                    f"trainer.graph=true: the iteration cannot be recorded ({why}): leave it out"
                ) from error
            for group, (rate, capturable) in zip(optimizer.param_groups, before, strict=True):
                group["lr"], group["capturable"] = rate, capturable
            self.given_up = True
            log.info("graph     none: the iteration cannot be recorded (%s)", why)
        else:
            self.graph = graph
            log.info("graph     iterations are replayed from a CUDA graph; trainer.graph=false does not")


def obstacle(module: "VoiceModule") -> str | None:
    """Why iterations cannot be recorded; None if nothing is known to be in the way."""
    phases = module.schedule.phases
    optimizers = [each.get("name", "adam") for each in (module.settings, *module.overrides.values())]
    compiled = any(each._compiled_call_impl is not None for each in module.model.modules())
    reasons = {
        "it takes a CUDA device": module.device.type != "cuda",
        "it takes a single process": processes() > 1,
        "float16 scales its losses by what it finds": str(module.trainer.precision) == "16-mixed",
        "torch.compile records by itself": compiled,
        "its losses depend on what is in the batch": not module.model.static,
        "critics and parts take turns": bool(module.critics) or len(module.model.parts()) > 1,
        "the schedule has phases": len(phases) > 1 or bool(phases[0].watched) or phases[0].turns[0].every > 1,
        "only optimizer=adam and adamw can be": bool({*optimizers} - {"adam", "adamw"}),
    }  # fmt: skip
    return next((why for why, holds in reasons.items() if holds), None)


def replay_of(module: "VoiceModule", wanted: bool | None) -> Replay | None:
    """What replays the iterations of a run: demanded (True), where it works (None), or nothing (False)."""
    why = obstacle(module) if wanted is not False else ""
    if why and wanted:
        raise UserError(f"trainer.graph=true: {why}: leave it out")
    return Replay(module, bool(wanted)) if why is None else None


def _shapes(batch: Batch) -> dict[str, Any]:
    return {name: value.shape for name, value in vars(batch).items() if isinstance(value, Tensor)}
