"""Lightning's own callbacks under revoice's names."""

import shutil
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import (
    Checkpoint,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)

from revoice.atomic import replacing
from revoice.settings import Natural, NotNegative, Word
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule
from revoice.untrusted import read_torch, refused


@CALLBACKS.register("checkpoint")
class Checkpoints:
    """Keeps `checkpoints/best.ckpt` by `monitor`, and `last.ckpt`, every `val_every` iterations and at the end."""

    def __init__(self, monitor: Word = "val/loss", mode: Literal["min", "max"] = "min") -> None:
        self.monitor, self.mode = monitor, mode

    def make(self, run: Run) -> list[Callback]:
        """Lightning's for the best and one of ours for the last, which write beside the run's logs."""
        folder: Path = run.reporter.folder.parent / "checkpoints"
        best = _Best(
            folder, filename="best", monitor=self.monitor, mode=self.mode, save_top_k=1,
            enable_version_counter=False, auto_insert_metric_name=False,
        )  # fmt: skip
        return [best, _Last(folder / "last.ckpt", run.val_every)]


class _Best(ModelCheckpoint):
    """Lightning's, which also carries the best so far into the folder of a run that resumes another one."""

    phase = 0

    def state_dict(self) -> dict[str, Any]:
        """Lightning's, and the phase that the best is of."""
        return {**super().state_dict(), "phase": self.phase}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In another phase other losses are learned, so the best begins anew."""
        now = cast(VoiceModule, pl_module).schedule.number
        if now != self.phase:
            self.phase, self.best_k_models, self.kth_best_model_path = now, {}, ""
            self.best_model_score = self.current_score = self.kth_value = None  # type: ignore[assignment]
        super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the best checkpoint of the resumed run here; its score is the one it holds itself."""
        self.phase = int(state_dict.get("phase", 0))
        old, mine = (Path(str(folder)) / "best.ckpt" for folder in (state_dict["dirpath"], self.dirpath))
        if not old.is_file():
            return
        with refused(old, "best checkpoint of the run to resume"):
            score = read_torch(old)["callbacks"][self.state_key]["best_model_score"]
        if old != mine and not mine.is_file():
            with old.open("rb") as best, replacing(mine) as file:
                shutil.copyfileobj(best, file)
        self.best_model_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = str(mine)
        self.best_k_models = {str(mine): score}


class _Last(Checkpoint):
    """Writes the newest state, also without validation data and when training ends between two saves.

    Where a validation is due, it is written after that and after the best: what follows from it belongs to the state.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step
        if done % self.every == 0 or done >= trainer.max_steps or trainer.should_stop:
            if not _validates(trainer, done):
                trainer.save_checkpoint(self.path, weights_only=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path, weights_only=False)


def _validates(trainer: Trainer, done: int) -> bool:
    """Whether a validation follows the iteration that has just ended."""
    every: Any = trainer.val_check_batch
    return trainer.enable_validation and sum(trainer.num_val_batches) > 0 and done % every == 0


@CALLBACKS.register("learning_rate")
class LearningRate:
    """Logs the learning rate."""

    def make(self, run: Run) -> Callback:
        """Lightning's monitor; one that does nothing where no logger listens."""
        return LearningRateMonitor(logging_interval="step") if run.reporter.loggers else Callback()


@CALLBACKS.register("early_stopping")
class EarlyStop:
    """Stops when `monitor` has not improved by `min_delta` for `patience` validations.

    Where a schedule has phases, each is judged by itself, and one in which no part of the model learns is not.
    """

    def __init__(
        self,
        monitor: Word = "val/loss",
        mode: Literal["min", "max"] = "min",
        patience: Natural = 10,
        min_delta: NotNegative = 0.0,
    ) -> None:
        self.monitor, self.mode, self.patience, self.min_delta = monitor, mode, patience, min_delta

    def make(self, run: Run) -> Callback:
        """One that looks at every validation."""
        return _EarlyStopping(self.monitor, mode=self.mode, patience=self.patience, min_delta=self.min_delta)


class _EarlyStopping(EarlyStopping):
    """Lightning's, phase by phase.

    Attributes:
        phase: that the count is of.
        reason: why it ended the run; None if it did not.
    """

    phase = 0
    reason: str | None = None

    @property
    def state_key(self) -> str:
        """Lightning's: checkpoints of earlier versions go on."""
        return super().state_key.removeprefix("_")

    def state_dict(self) -> dict[str, Any]:
        """Lightning's, and the phase."""
        return {**super().state_dict(), "phase": self.phase}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count; how long to wait is what was typed."""
        self.phase = int(state_dict.get("phase", 0))
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In another phase other losses are learned, so the count begins anew."""
        module = cast(VoiceModule, pl_module)
        if module.schedule.number != self.phase:
            self.phase, self.wait_count = module.schedule.number, 0
            self.best_score = torch.tensor(torch.inf if self.mode == "min" else -torch.inf)
        if all(module.schedule.rests(part) for part in module.model.parts()):
            return
        super().on_validation_end(trainer, pl_module)
        if trainer.should_stop and self.wait_count >= self.patience and trainer.global_step < trainer.max_steps:
            self.reason = (
                f"callbacks.early_stopping: {self.monitor} has not improved in {self.wait_count} validations, at "
                f"iteration {trainer.global_step} of {trainer.max_steps}"
            )
