"""Weights & Biases: offline unless a key is there."""

import netrc
import os
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from revoice.settings import Flag, Word, Words
from revoice.training.loggers import LOGGERS


@LOGGERS.register("wandb")
class Wandb:
    """Logs to wandb.

    Args:
        project, entity, group, tags: as wandb's.
        offline: None means "unless an API key is present" (WANDB_API_KEY, or a login kept in ~/.netrc);
            an offline run is uploaded later by `wandb sync`.
    """

    def __init__(
        self,
        project: Word = "revoice",
        entity: Word | None = None,
        group: Word | None = None,
        tags: Words | None = None,
        offline: Flag | None = None,
    ) -> None:
        self.settings: dict[str, Any] = {"project": project, "entity": entity, "group": group, "tags": tags}
        self.offline = not has_key() if offline is None else offline

    def make(self, folder: Path, run_name: str) -> Logger:
        """The logger; wandb's own console chatter is silenced."""
        from pytorch_lightning.loggers import WandbLogger

        os.environ.setdefault("WANDB_SILENT", "true")
        return WandbLogger(save_dir=folder, name=run_name, offline=self.offline, **self.settings)


def has_key() -> bool:
    """Whether wandb could log in without asking."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
