"""One line of progress: iterations, losses, speed, the time that is left."""

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revoice.data.prepare.progress import duration
from revoice.data.read.batch import Batch
from revoice.settings import NotNegative
from revoice.training.callbacks import CALLBACKS, Run

FIRST_SECONDS, LONG_SECONDS = 5.0, 3600.0  # until how long it will take is known; from when on that is told apart


@CALLBACKS.register("progress")
class ProgressBar:
    """Rich bar on a terminal; elsewhere (a log file) a plain line every `line_every` seconds, the first after 5 s."""

    def __init__(self, line_every: NotNegative = 20.0) -> None:
        self.line_every = line_every

    def make(self, run: Run) -> Callback:
        """The run's length and the hop of its features make the time that is left and the speed against real time."""
        return _Progress(run.max_iterations, run.spec.hop / run.spec.sample_rate, self.line_every)


class _Progress(Callback):
    def __init__(self, total: int, seconds_per_frame: float, line_every: float) -> None:
        self.total, self.seconds_per_frame, self.line_every = total, seconds_per_frame, line_every
        self.console = Console()
        self.bar: Progress | None = None
        self.told = False  # how long it will take

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = self.shown = time.perf_counter()
        self.first, self.audio = trainer.global_step, 0.0
        if trainer.is_global_zero and self.console.is_terminal:
            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, console=self.console)
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total, completed=self.first, note="")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: list[Batch], batch_idx: int
    ) -> None:
        frames = sum(each.features.shape[0] * each.features.shape[-1] for each in batch)
        self.audio += frames * self.seconds_per_frame * trainer.world_size
        now = time.perf_counter()
        if not trainer.is_global_zero or trainer.global_step == self.first:
            return
        first = not self.told and now - self.began >= FIRST_SECONDS
        if first:
            self._tell(now - self.began, trainer.global_step)
        if now - self.shown < (0.5 if self.bar else self.line_every) and not first:
            return
        self.shown = now
        note = self._note(trainer, now - self.began)
        if self.bar:
            self.bar.update(self.task, completed=trainer.global_step, note=note)
        else:
            left = duration(self._left(now - self.began, trainer.global_step))
            print(f"iteration {trainer.global_step}/{self.total}  {left} left  {note}", flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(trainer)

    def _left(self, seconds: float, done: int) -> float:
        return seconds / (done - self.first) * (self.total - done)

    def _tell(self, seconds: float, done: int) -> None:
        """Say once that this is nothing to wait for, if so."""
        self.told = True
        left = self._left(seconds, done)
        if left > LONG_SECONDS:
            print(
                f"about {duration(left)} for {self.total:,} iterations at this speed; it may be stopped at any time "
                "(ckpt_path=last goes on), trainer.max_time or max_iterations end it earlier",
                flush=True,
            )

    def _note(self, trainer: Trainer, seconds: float) -> str:
        losses = (
            f"{k.removeprefix('train/')} {float(v):.4g}"
            for k, v in trainer.callback_metrics.items()
            if k.startswith("train/")
        )
        speed = (trainer.global_step - self.first) / seconds
        return f"{'  '.join(losses)}  {speed:.2f} it/s  {self.audio / seconds:.0f}x real time"

    def _close(self, trainer: Trainer) -> None:
        if self.bar:
            self.bar.update(self.task, completed=trainer.global_step)
            self.bar.stop()
            self.bar = None
