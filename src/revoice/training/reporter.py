"""Pictures and sounds of a run: files in its folder, and whatever its loggers can show."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from revoice.audio.io import Audio, write_audio
from revoice.foreign import file_name

log = logging.getLogger(__name__)


class Reporter:
    """Where callbacks send media.

    Where TensorBoard shows it, it stands at the step of the iteration's losses, which are counted from 0: a run that
    goes on has what was logged from its first own step on forgotten, and no more.

    Args:
        folder: run folder; media land in its `samples/`.
        loggers: the trainer's loggers; those that show media (wandb, TensorBoard) receive a copy.
    """

    def __init__(self, folder: Path, loggers: list[Logger]) -> None:
        self.folder = folder / "samples"
        self.loggers: list[Any] = loggers  # Lightning's `Logger` declares neither media methods nor `experiment`

    def audio(self, name: str, clip: Audio, iteration: int) -> Path:
        """Keep a clip as `samples/<iteration>/<name>.wav`, `name` any text; loggers call it `audio/<name>`."""
        path, key = self._path(name, iteration, ".wav"), f"audio/{file_name(name)}"
        write_audio(path, clip.samples, clip.sample_rate)
        for logger in self.loggers:
            if hasattr(logger, "log_audio"):
                logger.log_audio(
                    key=key, audios=[str(path)], step=iteration, sample_rate=[clip.sample_rate], caption=[name]
                )
            elif hasattr(logger.experiment, "add_audio"):
                logger.experiment.add_audio(key, clip.samples, iteration - 1, sample_rate=clip.sample_rate)
        return path

    def image(self, name: str, png: bytes, iteration: int) -> Path:
        """Keep a picture as `samples/<iteration>/<name>.png`, `name` any text; loggers call it `pictures/<name>`."""
        path, key = self._path(name, iteration, ".png"), f"pictures/{file_name(name)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
        for logger in self.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(key=key, images=[str(path)], step=iteration, caption=[name])
            elif hasattr(logger.experiment, "add_image"):
                from matplotlib.image import imread

                logger.experiment.add_image(key, imread(path)[..., :3], iteration - 1, dataformats="HWC")
        return path

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], iteration: int) -> None:
        """Show a round of conversions to the loggers that have tables; a cell may be the path of a clip or picture."""
        for logger in self.loggers:
            if rows and hasattr(logger, "log_samples"):
                logger.log_samples(columns, rows, iteration)

    def _path(self, name: str, iteration: int, suffix: str) -> Path:
        return self.folder / f"{iteration:07d}" / f"{file_name(name)}{suffix}"
