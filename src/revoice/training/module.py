"""The LightningModule of models that train by minimizing a sum of losses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from revoice import renamed
from revoice.checkpoint.description import KEY, Description
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import Trainable
from revoice.nn.collective import processes, summed
from revoice.training.objective import Objective
from revoice.training.optimizers import build_optimizer, learning_rate_factor


class VoiceModule(LightningModule):
    """Trains any `Trainable` that offers `losses(batch)`.

    Args:
        model: the network.
        description: what its checkpoints say about it.
        loss: loss weights, see `Objective`.
        optimizer: see `training.optimizers`.
        max_iterations: optimizer steps of the run.
        seed: random numbers inside layers (dropout) depend on it and on the iteration, so that a resumed run repeats
            them.
    """

    def __init__(
        self,
        model: Trainable,
        description: Description,
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        max_iterations: int,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.description = model, description
        self.objective = Objective(loss)
        self.settings, self.max_iterations, self.seed = dict(optimizer), max_iterations, seed
        self._finite = torch.tensor(True)

    @property
    def iteration(self) -> int:
        """Optimizer steps done."""
        return self.trainer.global_step

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One (micro-)batch: losses, their weighted sum, logs."""
        if batch.draws is not None:  # dropout: repeated by a resumed run, different in every micro-batch and process
            torch.manual_seed(((self.seed * 1_000_003 + self.iteration) * 1_000_003 + batch.draws.first) % 2**63)
        losses = self.model.losses(batch)
        total = self.objective(losses, self.iteration)
        self._watch(total)
        logged = {"train/loss": total, **{f"train/{name}": value for name, value in losses.items()}}
        means = summed(torch.stack([value.detach().float() for value in logged.values()])) / processes()
        self.log_dict(dict(zip(logged, means, strict=True)), batch_size=len(batch))
        return total

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Losses without random draws, weighted as after all warm-ups, so that they compare across iterations."""
        losses = self.model.losses(batch)
        total = self.objective(losses, self.max_iterations)
        self._finite = self._finite.to(total.device) & torch.isfinite(total)  # broken weights must not be saved
        losses |= self.model.measures(batch)
        values = {"val/loss": total, **{f"val/{name}": value for name, value in losses.items()}}
        self.log_dict(values, batch_size=len(batch), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer and per-iteration learning rate."""
        # under mixed precision Lightning cannot clip the gradients of a fused optimizer
        optimizer = build_optimizer(self.settings, self.model, fused=str(self.trainer.precision) == "32-true")
        factor = learning_rate_factor(self.settings.get("schedule") or {}, self.max_iterations)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take weights up that an earlier version called otherwise."""
        checkpoint["state_dict"] = {renamed.weight(name): value for name, value in checkpoint["state_dict"].items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save what is broken; add the description that conversion needs."""
        whole = torch.stack([torch.isfinite(p).all() for p in self.model.parameters()]).all()
        self._finite = self._finite.to(whole.device) & whole
        self.require_finite()
        checkpoint[KEY] = self.description.to_dict()

    def require_finite(self) -> None:
        """Stop if any loss since the start was NaN or infinite; the last good checkpoint is named."""
        if not bool(self._finite):
            last = Path(self.trainer.default_root_dir) / "checkpoints" / "last.ckpt"
            good = last if last.is_file() else None
            resume = (
                f"go on from the last good checkpoint with ckpt_path={good}" if good else "no checkpoint was saved yet"
            )
            raise UserError(
                f"the loss became NaN or infinite at or before iteration {self.iteration}: "
                f"try a lower optimizer.lr; {resume}"
            )

    def _watch(self, total: Tensor) -> None:
        # asking a GPU for the value every step would make it wait: there, the flag is read every 50 iterations
        self._finite = self._finite.to(total.device) & torch.isfinite(total.detach())
        if total.device.type == "cpu" or self.iteration % 50 == 0:
            self.require_finite()
