"""Experiment loggers by name: one file each; `configs/logger/NAME.yaml` chooses them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning.loggers import Logger

from revoice.registry import Registry


class LoggerFactory(Protocol):
    """A class whose instances make a Lightning logger for a run folder."""

    def make(self, folder: Path, run_name: str) -> Logger:
        """The logger, writing below `folder`."""


LOGGERS: "Registry[LoggerFactory]" = Registry("logger", "revoice.training.loggers", typed="logger.{name}")


def build_loggers(settings: Mapping[str, Mapping[str, Any] | None], folder: Path) -> list[Logger]:
    """All loggers of `{name: settings}`."""
    return [LOGGERS.build(name, values or {}).make(folder, folder.name) for name, values in settings.items()]
