"""Scalars, pictures and sounds for TensorBoard."""

from pathlib import Path

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from revoice.training.loggers import LOGGERS


@LOGGERS.register("tensorboard")
class TensorBoard:
    """Writes event files to `tensorboard/` in the run folder."""

    def make(self, folder: Path, run_name: str) -> Logger:
        """The logger."""
        return TensorBoardLogger(folder, name="tensorboard", version="")
