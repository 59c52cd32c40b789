"""What is shown and kept of conversions that take many iterations: a progress bar, the losses, a picture."""

import sys
from collections.abc import Sequence
from os.path import lexists
from pathlib import Path
from types import TracebackType
from typing import Any

from revoice.atomic import digest
from revoice.conversion.outputs import PICTURE, Job, made_here, record_of
from revoice.errors import UserError
from revoice.models.base import IteratingModel, Progress


class Watcher:
    """Watches a model while it converts.

    Args:
        model: that converts.
        references: the target's clips.
        show: whether to draw a progress bar, on standard error.
    """

    def __init__(self, model: IteratingModel, references: Sequence[Path], show: bool) -> None:
        self.model, self.references, self.show = model, references, show
        self.seen: list[Progress] = []
        self.bar: Any = None

    def __enter__(self) -> "Watcher":
        self.model.watch = self._step
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.model.watch = None
        self._close()

    def begin(self, job: Job) -> None:
        """Before a job: nothing is seen of it yet; a picture that is not as it was drawn here is not to be replaced."""
        self.seen = []
        picture, known = job.out.with_suffix(".png"), (made_here(job.out) or {}).get(PICTURE)
        self.free = not lexists(picture) or (known is not None and known == digest(picture))

    def done(self, job: Job) -> None:
        """After a job: draw `<output>.png` and say what the losses are, on standard error."""
        self._close()
        if not self.seen:
            return
        from revoice.evaluation.transfer_picture import mean_losses

        losses = ", ".join(f"{name} loss {value:.4g}" for name, value in mean_losses(self.seen).items())
        print(f"{job.out.name}: {losses}", file=sys.stderr)
        if job.veil:
            return  # a picture would show the source
        if not self.free:
            print(f"{job.out.with_suffix('.png')}: not drawn: a file of that name was there before", file=sys.stderr)
            return
        try:
            self._draw(job)
        except (UserError, OSError) as error:
            print(f"{job.out.with_suffix('.png')}: not drawn: {error}", file=sys.stderr)

    def _draw(self, job: Job) -> None:
        from revoice.atomic import replacing, write_text
        from revoice.audio.io import read_audio
        from revoice.conversion.jobs import text_of
        from revoice.evaluation.media import SECONDS_MAX
        from revoice.evaluation.transfer_picture import transfer_picture

        files = {"content": job.source, "style": self.references[0], "result": job.out}
        clips = {title: read_audio(file, seconds=SECONDS_MAX) for title, file in files.items()}
        with replacing(job.out.with_suffix(".png")) as picture:
            picture.write(transfer_picture(self.seen, clips))
        if record := made_here(job.out):
            known = {**record, PICTURE: digest(job.out.with_suffix(".png"))}
            write_text(record_of(job.out), text_of(known))

    def _step(self, step: Progress) -> None:
        self.seen.append(step)
        if not self.show:
            return
        if self.bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
            self.bar.start()
            self.task = self.bar.add_task("", total=1.0)
        share = (step.part + step.iteration / step.iterations) / step.parts
        text = " ".join(f"{name} {value:.4g}" for name, value in step.losses.items())
        self.bar.update(self.task, completed=share, description=text)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
