"""Lightning's own callbacks under revoice's names."""

from pathlib import Path

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint

from revoice.training.callbacks import CALLBACKS, Run


@CALLBACKS.register("checkpoint")
class Checkpoints:
    """Keeps `checkpoints/best.ckpt` (by `monitor`) and `checkpoints/last.ckpt`, written at every validation."""

    def __init__(self, monitor: str = "val/loss", mode: str = "min") -> None:
        self.monitor, self.mode = monitor, mode

    def make(self, run: Run) -> Callback:
        """The callback."""
        folder: Path = run.reporter.folder.parent / "checkpoints"
        return ModelCheckpoint(
            folder, filename="best", monitor=self.monitor, mode=self.mode, save_last=True, save_top_k=1,
            enable_version_counter=False, auto_insert_metric_name=False,
        )  # fmt: skip


@CALLBACKS.register("learning_rate")
class LearningRate:
    """Logs the learning rate."""

    def make(self, run: Run) -> Callback:
        """The callback."""
        return LearningRateMonitor(logging_interval="step")


@CALLBACKS.register("early_stopping")
class EarlyStop:
    """Stops when `monitor` has not improved by `min_delta` for `patience` validations."""

    def __init__(self, monitor: str = "val/loss", mode: str = "min", patience: int = 10, min_delta: float = 0.0) -> None:
        self.monitor, self.mode, self.patience, self.min_delta = monitor, mode, patience, min_delta

    def make(self, run: Run) -> Callback:
        """The callback."""
        return EarlyStopping(self.monitor, mode=self.mode, patience=self.patience, min_delta=self.min_delta)


@CALLBACKS.register("ema")
class MovingAverage:
    """Validates with, and keeps in checkpoints, an exponential moving average of the weights, begun at iteration `start`."""

    def __init__(self, decay: float = 0.999, start: int = 0) -> None:
        self.decay, self.start = decay, start

    def make(self, run: Run) -> Callback:
        """The callback."""
        return EMAWeightAveraging(decay=self.decay, update_starting_at_step=self.start)
