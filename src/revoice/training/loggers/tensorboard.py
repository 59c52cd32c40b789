"""Scalars, pictures and sounds for TensorBoard."""

from pathlib import Path

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from revoice.training.loggers import LOGGERS


@LOGGERS.register("tensorboard")
class TensorBoard:
    """Writes event files to `tensorboard/` in the run folder."""

    def make(self, folder: Path, run_name: str, done: int | None) -> Logger:
        """The logger; of a run that goes on, TensorBoard forgets what was logged after its first `done` iterations."""
        return TensorBoardLogger(folder, name="tensorboard", version="", purge_step=done)
