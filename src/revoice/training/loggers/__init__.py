"""Experiment loggers by name: one file each; `configs/logger/NAME.yaml` chooses them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning.loggers import Logger

from revoice.registry import Registry


class LoggerFactory(Protocol):
    """A class whose instances make a Lightning logger for a run folder."""

    def make(self, folder: Path, run_name: str, done: int | None) -> Logger:
        """The logger, writing below `folder`; `done`: the iterations that this very folder's run goes on after."""


LOGGERS: "Registry[LoggerFactory]" = Registry("logger", "revoice.training.loggers", typed="logger.{name}")


def build_loggers(
    settings: Mapping[str, Mapping[str, Any] | None], folder: Path, done: int | None = None
) -> list[Logger]:
    """All loggers of `{name: settings}`.

    Args:
        settings: by name of the logger.  folder: of the run.
        done: the iterations of the checkpoint by which this folder's run goes on; its logs then go on, too. None for a
            run that begins, or goes on from another folder.
    """
    return [LOGGERS.build(name, values or {}).make(folder, folder.name, done) for name, values in settings.items()]
