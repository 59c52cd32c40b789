"""The LightningModule: parts of a network, and critics, that learn in turns."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from revoice import renamed
from revoice.checkpoint.description import KEY, Description
from revoice.data.read.batch import Batch
from revoice.nn.collective import processes, summed
from revoice.nn.draws import seed_generators
from revoice.nn.quantizer import Quantizer
from revoice.trainable import Play, Trainable
from revoice.training.adversary import Adversary, draw_critic, others_resting
from revoice.training.finite import Finite
from revoice.training.gradients import Gradients, HalfWeights, half_weights
from revoice.training.parts import Optimizers, build_optimizers, take_rates, take_step
from revoice.training.plan import check_plan
from revoice.training.plays import Plays
from revoice.training.rehearsal import comes_later, rehearse
from revoice.training.replay import Replay, replay_of
from revoice.training.schedule import Condition, Due, Phase, Schedule, Turn, everybody, logged_name
from revoice.training.validation import measured

_SCHEDULE = "schedule"  # the entry of a checkpoint that says where in its schedule a run is


class VoiceModule(LightningModule):
    """Trains a `Trainable`: in every iteration the parts that are due learn from one global batch, one after the other.

    Lightning counts the iterations; `trainer.global_step` is their number, however many parts learn in one.

    Args:
        model: the network.
        description: what its checkpoints say about it.
        loss: weights of the model's losses where a turn does not give them, see `Objective`.
        optimizer: see `training.optimizers`.
        max_iterations: of the run.
        seed: random numbers inside layers (dropout) depend on it and on the iteration, so that a resumed run repeats
            them.
        critics: by name, see `Adversary`.
        schedule: phases; None is one in which all critics learn, then all parts of the model.
        optimizers: what is otherwise for the optimizer of a part.
        clip: largest global norm of a part's gradient; None does not clip.
        graph: replay iterations from a CUDA graph: None where it works, True or an error.
    """

    def __init__(
        self,
        model: Trainable,
        description: Description,
        loss: Mapping[str, Any] | None,
        optimizer: Mapping[str, Any],
        max_iterations: int,
        seed: int = 0,
        critics: Mapping[str, Mapping[str, Any]] | None = None,
        schedule: Sequence[Phase] | None = None,
        optimizers: Mapping[str, Mapping[str, Any]] | None = None,
        clip: float | None = None,
        graph: bool | None = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.description = model, description
        judges = {name: draw_critic(name, how, seed, model.judged) for name, how in (critics or {}).items()}
        self.critics = nn.ModuleDict(judges)
        self.plan = check_plan(  # names of all that will be logged of losses
            list(model.parts()), {name: each.how for name, each in judges.items()}, loss, schedule,
            list(optimizers or {}), model.measured,
        )  # fmt: skip
        default: dict[str, Any] = {name: {"critic": 1} for name in judges} | dict.fromkeys(model.parts(), loss or {})
        phases = schedule or (everybody(judges, model.parts()),)
        self.schedule = Schedule(phases, default)
        self.quantizers = [each for each in model.modules() if isinstance(each, Quantizer)]
        self.settings, self.overrides = dict(optimizer), dict(optimizers or {})
        self.max_iterations, self.seed, self.clip = max_iterations, seed, clip
        self.graph = graph
        self.replay: Replay | None = None
        self.halves: dict[str, HalfWeights] = {}
        self._gradients_of: dict[str, Gradients] = {}
        self.finite = Finite()
        self._began = 0
        self._newest: dict[str, Tensor] = {}

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.trainer.global_step

    @property
    def judges(self) -> list[Adversary]:
        """The critics."""
        return [self._adversary(name) for name in self.critics]

    def networks(self) -> dict[str, nn.Module]:
        """Everything that learns, by part."""
        return {**self.model.parts(), **self.critics}

    def training_step(self, batches: Sequence[Batch], batch_index: int) -> None:
        """One iteration: the turns that are due learn from its micro-batches, which together are the global batch."""
        due = self.schedule.due(self.iteration)
        logged: dict[str, Tensor] = {}
        if self.replay is not None and self.replay.fits(batches, due):
            found, part = self.replay(batches[0], due[0]), due[0].turn.part
            self._watch(found["loss"])
            logged = {self._logged(part, name): value for name, value in found.items()}
        else:
            plays = Plays(self, batches, [each.turn.part for each in due])
            for number, each in enumerate(due):
                if each.turn.when is None or self._holds(each.turn.when, logged):
                    logged |= self._take(each, number, plays)
            plays.settle()
        shown, watched = self._shown(), self.schedule.phase.watched & logged.keys()
        self._newest |= logged  # a part that is not due now was when it learned last
        wanted = self._newest if shown else logged if watched else {}
        if wanted:
            means = summed(torch.stack([value.float() for value in wanted.values()])) / processes()
            wanted = dict(zip(wanted, means, strict=True))
        if shown:
            self.log_dict(wanted, batch_size=sum(map(len, batches)))
        self._count({name: wanted[name] for name in watched})

    def _holds(self, condition: str, logged: Mapping[str, Tensor]) -> bool:
        """Whether a condition of a turn holds of what this iteration measured so far, in all processes together."""
        wanted = Condition.parse(condition)
        return wanted.metric in logged and wanted.holds(float(summed(logged[wanted.metric].float()) / processes()))

    def _shown(self) -> bool:
        """Whether somebody will look at the losses of this iteration: gathering them costs more than having them."""
        trainer: Any = self.trainer
        done = self.iteration + 1
        every = (trainer.log_every_n_steps, trainer.val_check_batch, trainer.max_steps)
        return done - self._began <= 1 or any(done % each == 0 for each in every)

    def seed_layers(self, batch: Batch) -> None:
        """What layers draw (dropout) is repeated by a resumed run, different in every micro-batch and process."""
        if batch.draws is not None:
            seed_generators(((self.seed * 1_000_003 + self.iteration) * 1_000_003 + batch.draws.first) % 2**63)

    def _take(self, due: Due, number: int, plays: Plays) -> dict[str, Tensor]:
        """A part learns, or, at a closed gate, is only asked; the means of its losses over the micro-batches."""
        part, count = due.turn.part, len(plays.batches)
        gradients = self.gradients(part)
        gradients.clear()
        sums: dict[str, Tensor] = {}
        with others_resting(part, self.critics):
            for index, batch in enumerate(plays.batches):
                losses = self._losses(part, batch, plays.of(number, index), due)
                total = due.objective(losses, due.at)
                self._watch(total)
                if due.learns:
                    with torch.autocast(total.device.type, enabled=False):
                        gradients.add(self._scaled(total if count == 1 else total / count))
                for name, value in {"loss": total, **losses}.items():
                    mean = value.detach() if count == 1 else value.detach() / count
                    sums[name] = sums[name] + mean if index else mean
        if due.learns:
            with torch.autocast(self.device.type, enabled=False):  # what an optimizer multiplies is not for 16 bits
                self.step_part(due.turn)
            plays.forget(part)
        return {self._logged(part, name): value for name, value in sums.items()}

    def _losses(self, part: str, batch: Batch, play: Play, due: Due) -> dict[str, Tensor]:
        wanted = due.objective.weights
        if part in self.critics:
            return self._adversary(part).learn(play, wanted, batch.draws)
        return self.losses_of(part, play, wanted)

    def losses_of(self, part: str, play: Play, wanted: Collection[str]) -> dict[str, Tensor]:
        """A model's part's own losses, and those of its critics that are wanted, unweighted."""
        losses = dict(play.losses)
        for name in self.critics:
            if self._adversary(name).how.of == part:
                losses |= self._adversary(name).teach(play, wanted)
        return losses

    def optimizer_of(self, part: str) -> torch.optim.Optimizer:
        """The one of a part."""
        return self._optimizers().parts[part]

    def step_part(self, turn: Turn) -> None:
        """Average, clip and apply the gradients of the part whose turn it is."""
        clip = self.clip if turn.clip is None else turn.clip
        take_step(self.optimizer_of(turn.part), clip, self._scaler())

    def _scaler(self) -> Any:
        """Of float16 alone."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def _scaled(self, total: Tensor) -> Tensor:
        scaler = self._scaler()
        return total if scaler is None else scaler.scale(total)

    def gradients(self, part: str) -> Gradients:
        """Where those of a part are put."""
        if part not in self._gradients_of:
            weights = [p for group in self.optimizer_of(part).param_groups for p in group["params"]]
            self._gradients_of[part] = Gradients(weights, self.halves.get(part))
        return self._gradients_of[part]

    def _count(self, logged: Mapping[str, Tensor]) -> None:
        """The iteration is over, for Lightning and for the schedule, which is told what it watches."""
        if processes() > 1:  # all stop together, or one would wait for the others
            self.finite.require_everywhere(self.iteration, self.trainer.default_root_dir)
        phase = self.schedule.phase
        self.schedule.finish(self.iteration, {name: float(value) for name, value in logged.items()})
        if self.schedule.phase is not phase:
            self._newest = {}
        self._end_with_the_schedule()
        self._optimizers().step()
        self.lr_schedulers().step()  # type: ignore[union-attr]
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Losses without random draws, weighted as after all warm-ups, so that they compare across iterations."""
        found = measured(self, batch)
        self.finite.see(found["val/loss"])  # broken weights must not be saved
        self.log_dict(found, batch_size=len(batch), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """The schedule learns what was found."""
        if not self.trainer.sanity_checking and self.schedule.phase.watched:
            found = self.trainer.callback_metrics
            self.schedule.validated(self.iteration, {k: float(v) for k, v in found.items() if k.startswith("val/")})
            self._end_with_the_schedule()

    def _end_with_the_schedule(self) -> None:
        if self.schedule.over:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer with a part for each that learns, and per-iteration learning rates."""
        owned = {id(p) for part in self.model.parts().values() for p in part.parameters()}
        lost = [name for name, p in self.model.named_parameters() if p.requires_grad and id(p) not in owned]
        assert not lost, f"{lost[0]} is in no part of {type(self.model).__name__}, so it would never learn"
        fused = str(self.trainer.precision) != "16-mixed"  # whose gradients are scaled
        optimizers, schedule = build_optimizers(
            self.settings, self.overrides, self.networks(), self.max_iterations, fused
        )
        self._rates = list(schedule.base_lrs)
        kinds = [type(each).__name__ for each in optimizers.parts.values()]
        name = f"lr-{kinds[0]}" if len(kinds) == 1 else "lr"
        return {"optimizer": optimizers, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": name}}

    def on_train_start(self) -> None:
        """The first iteration is shown, whatever its number; the learning rates are those that were typed."""
        self._began = self.iteration
        self._newest = {}
        take_rates(self.lr_schedulers(), self._rates)

    def on_fit_start(self) -> None:
        """All processes begin with the same numbers; what comes late in the schedule is tried once."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if comes_later(self.schedule.phases) and (sample := data.sample()) is not None:
            rehearse(self, sample.to(self.device))
        self.halves, self._gradients_of = half_weights(self.model.parts(), self.trainer.precision), {}
        self.replay = replay_of(self, self.graph)
        if processes() > 1:
            for value in (*self.parameters(), *self.buffers()):
                torch.distributed.broadcast(value.detach(), 0)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take weights up that an earlier version called otherwise, and the schedule where it was."""
        checkpoint["state_dict"] = {renamed.weight(name): value for name, value in checkpoint["state_dict"].items()}
        if _SCHEDULE in checkpoint:
            self.schedule.load_state_dict(checkpoint[_SCHEDULE])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save what is broken; add the description that conversion needs."""
        self.finite.see_weights(self.parameters())
        self.finite.require(self.iteration, self.trainer.default_root_dir)
        checkpoint[KEY] = self.description.to_dict()
        checkpoint[_SCHEDULE] = self.schedule.state_dict()

    def _watch(self, total: Tensor) -> None:
        self.finite.see(total)
        if processes() == 1 and self.finite.looks(self.iteration):
            self.finite.require(self.iteration, self.trainer.default_root_dir)

    def _optimizers(self) -> Optimizers:
        found: Any = self.optimizers(use_pl_optimizer=False)
        return found

    def _adversary(self, name: str) -> Adversary:
        found: Any = self.critics[name]
        return found

    def _logged(self, part: str, name: str, split: str = "train") -> str:
        return logged_name(part, name, self.critics.keys(), split)
