"""Moving averages of the weights, which validation sees and checkpoints hold."""

import itertools
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from revoice.settings import Natural, Share
from revoice.training.callbacks import CALLBACKS, Run
from revoice.training.module import VoiceModule


@CALLBACKS.register("ema")
class MovingAverage:
    """Validates with, and keeps in checkpoints, an exponential moving average of the weights from iteration `start`.

    Until then the average is the model as it is. Samples and conversions are made by the average, too: they choose the
    checkpoint that holds it. Critics are not averaged: they judge the model as it is.
    """

    def __init__(self, decay: Share = 0.999, start: Natural = 0) -> None:
        self.decay, self.start = decay, start

    def make(self, run: Run) -> Callback:
        """One that lends its weights to the model from the start of a validation to its end."""
        return _Average(self.decay, self.start)


class _Average(WeightAveraging):
    """Lightning's, which averages all that a module holds, with the critics as they are."""

    def __init__(self, decay: float, start: int) -> None:
        def averaged(mean: Tensor, now: Tensor, count: Tensor) -> Tensor:
            return decay * mean + (1 - decay) * now if mean.is_floating_point() else now

        super().__init__(avg_fn=averaged)
        self.start = start

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After every iteration from `start` on."""
        return step_idx is not None and step_idx >= self.start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        critics = cast(VoiceModule, pl_module).critics
        if len(critics) and self._average_model is not None:
            average: Any = self._average_model.module
            average.critics.load_state_dict(critics.state_dict())

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._wait(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing yet: others measure the average now."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The model goes on with its own weights; checkpoints are written after that."""
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._wait(pl_module)
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._wait(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    @torch.no_grad()
    def _wait(self, pl_module: LightningModule) -> None:
        """Before the first iteration that counts, the average is what the model is now."""
        average = self._average_model
        if average is None or average.n_averaged > 0:
            return
        kept = itertools.chain(average.module.parameters(), average.module.buffers())
        for mean, now in zip(kept, itertools.chain(pl_module.parameters(), pl_module.buffers()), strict=True):
            mean.copy_(now)
