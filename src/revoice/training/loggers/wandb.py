"""Weights & Biases: offline unless a key is there."""

import netrc
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from revoice.settings import Flag, Word, Words
from revoice.training.loggers import LOGGERS, sweep_of

_RUN = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(?P<id>.+)")  # how wandb names the folder of a run


@LOGGERS.register("wandb")
class Wandb:
    """Logs to wandb.

    Args:
        project, entity, group, tags: as wandb's; without a group, the jobs of a sweep are one.
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

    def make(self, folder: Path, run_name: str, done: int | None) -> Logger:
        """The logger; one run folder is one run of wandb, however often it goes on. wandb's chatter is silenced."""
        os.environ.setdefault("WANDB_SILENT", "true")
        known = run_id(folder) if done is not None else None
        more: dict[str, Any] = {"resume": "allow"} if known and not self.offline else {}  # offline, the id is enough
        more |= self.settings
        more["group"] = self.settings["group"] or sweep_of(folder)
        return SamplesLogger(save_dir=folder, name=run_name, offline=self.offline, id=known, **more)


class SamplesLogger(WandbLogger):
    """Lightning's, which also shows a round of conversions as a table."""

    @rank_zero_only
    def log_samples(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], iteration: int) -> None:
        """One line per conversion; a cell that is the path of a .wav or .png is played or shown."""
        cells = [[_cell(value) for value in row] for row in rows]
        self.log_table("samples/table", columns=list(columns), data=cells, step=iteration)

    @rank_zero_only
    def log_conversions(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], report: Path) -> None:
        """The conversions of an evaluation as a table, and its page."""
        import wandb

        self.log_table("evaluation/conversions", columns=list(columns), data=[list(row) for row in rows])
        self.experiment.log({"evaluation/report": wandb.Html(str(report), inject=False)})


def _cell(value: Any) -> Any:
    import wandb

    kinds = {".wav": wandb.Audio, ".png": wandb.Image}
    return kinds[value.suffix](str(value)) if isinstance(value, Path) else value


def run_id(folder: Path) -> str | None:
    """The id of the newest run that wandb keeps in a run folder; None if it keeps none.

    Its file has the id alone; the folder's name ends in "-1" as well where another was made in the same second.
    """
    found = sorted((folder / "wandb").glob("*run-*"), key=lambda path: path.name.removeprefix("offline-"))
    matches = [(path, match["id"]) for path in found if (match := _RUN.fullmatch(path.name.removeprefix("offline-")))]
    if not matches:
        return None
    newest, named = matches[-1]
    kept = next(newest.glob("run-*.wandb"), None)
    return named if kept is None else kept.stem.removeprefix("run-")


def has_key() -> bool:
    """Whether wandb could log in without asking."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
