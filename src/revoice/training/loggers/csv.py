"""Scalars in `metrics.csv`."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.utilities import rank_zero_only

from revoice.settings import Count
from revoice.training.loggers import LOGGERS

FILE = "metrics.csv"


@LOGGERS.register("csv")
class Csv:
    """Writes `logs/metrics.csv` in the run folder every `flush_every` logged steps."""

    def __init__(self, flush_every: Count = 50) -> None:
        self.flush_every = flush_every

    def make(self, folder: Path, run_name: str, done: int | None) -> Logger:
        """The logger; a run that goes on keeps the lines of its first `done` iterations, whose steps count from 0."""
        before = _lines(folder / "logs" / FILE) if done is not None else []
        made = CSVLogger(folder, name="logs", version="", flush_logs_every_n_steps=self.flush_every)
        _start(made, [line for line in before if int(line["step"]) < (done or 0)])
        return made


def _lines(path: Path) -> list[dict[str, str]]:
    """What an earlier process left; a last line that a power cut halved is not counted."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        found = list(csv.DictReader(file))
    return [line for line in found if None not in line and str(line.get("step")).isdecimal()]


@rank_zero_only
def _start(logger: CSVLogger, lines: list[dict[str, str]]) -> None:
    """Begin the file with these lines: Lightning's logger has removed it by now."""
    for name in (FILE, "hparams.yaml"):  # here, before it warns that it will
        (Path(logger.log_dir) / name).unlink(missing_ok=True)
    for line in lines:
        values: dict[str, Any] = {name: value for name, value in line.items() if name != "step" and value}
        logger.experiment.log_metrics(values, int(line["step"]))
    if lines:
        logger.save()
