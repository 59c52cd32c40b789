"""Experiment loggers by name: one file each; `configs/logger/NAME.yaml` chooses them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from revoice.registry import Registry

if TYPE_CHECKING:  # an evaluation without a logger needs no Lightning
    from pytorch_lightning.loggers import Logger

SWEEP = "multirun.yaml"  # what Hydra leaves in the folder of a sweep


class LoggerFactory(Protocol):
    """A class whose instances make a Lightning logger for a run folder."""

    def make(self, folder: Path, run_name: str, done: int | None) -> "Logger":
        """The logger, writing below `folder`; `done`: the iterations that this very folder's run goes on after."""


LOGGERS: "Registry[LoggerFactory]" = Registry("logger", "revoice.training.loggers", typed="logger.{name}")


def build_loggers(
    settings: Mapping[str, Mapping[str, Any] | None], folder: Path, done: int | None = None
) -> "list[Logger]":
    """All loggers of `{name: settings}`.

    Args:
        settings: by name of the logger.  folder: of the run.
        done: the iterations of the checkpoint by which this folder's run goes on; its logs then go on, too. None for a
            run that begins, or goes on from another folder.
    """
    sweep = sweep_of(folder)
    name = f"{sweep}/{folder.name}" if sweep else folder.name  # jobs have numbers, the same ones in every sweep
    return [LOGGERS.build(kind, values or {}).make(folder, name, done) for kind, values in settings.items()]


@contextmanager
def told(loggers: "Sequence[Logger]") -> Iterator[None]:
    """All loggers are told at the end how it went, and wandb that its run is over: the next is another."""
    status = "failed"
    try:
        yield
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
        if loggers:
            from pytorch_lightning.loggers import WandbLogger

            if any(isinstance(logger, WandbLogger) for logger in loggers):
                import wandb

                wandb.finish(exit_code=int(status == "failed"))


def sweep_of(folder: Path) -> str | None:
    """The name of the sweep that a run folder lies in; None if it is a run by itself."""
    return folder.parent.name if (folder.parent / SWEEP).is_file() else None
