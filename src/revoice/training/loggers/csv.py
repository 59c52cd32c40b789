"""Scalars in `metrics.csv`."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger

from revoice.settings import Count
from revoice.training.loggers import LOGGERS


@LOGGERS.register("csv")
class Csv:
    """Writes `logs/metrics.csv` in the run folder every `flush_every` logged steps."""

    def __init__(self, flush_every: Count = 50) -> None:
        self.flush_every = flush_every

    def make(self, folder: Path, run_name: str) -> Logger:
        """The logger."""
        return CSVLogger(folder, name="logs", version="", flush_logs_every_n_steps=self.flush_every)
