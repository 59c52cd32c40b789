"""What is shown and kept of conversions that take many iterations: a progress bar, the losses, a picture."""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from revoice.conversion.converter import Converter
from revoice.conversion.jobs import Job
from revoice.models.random_cnn import Progress, RandomCNN, TransferControls

log = logging.getLogger(__name__)
SHOWN = 15.0  # seconds of each clip in the picture


class Watcher:
    """Watches a model of style transfer while it converts; other models it leaves alone.

    Args:
        converter: whose model.
        references: the target's clips.
        show: whether to draw a progress bar, on standard error.
    """

    def __init__(self, converter: Converter, references: Sequence[Path], show: bool) -> None:
        self.model = converter.model if isinstance(converter.model, RandomCNN) else None
        self.references, self.controls = references, converter.controls({})
        self.seen: list[Progress] = []
        self.bar: Any = None
        self.show = show and self.model is not None

    def __enter__(self) -> "Watcher":
        if self.model is not None:
            self.model.watch = self._step
        if self.show:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.model is not None:
            self.model.watch = None
        if self.bar:
            self.bar.stop()

    def done(self, job: Job) -> None:
        """After a job: say what the losses are and draw `<output>.png`."""
        if self.model is None or not self.seen:
            return
        from revoice.atomic import replacing
        from revoice.audio.io import read_audio
        from revoice.evaluation.transfer_picture import transfer_picture

        files = {"content": job.source, "style": self.references[0], "result": job.out}
        clips = {title: read_audio(file, seconds=SHOWN) for title, file in files.items()}
        with replacing(job.out.with_suffix(".png")) as picture:
            picture.write(transfer_picture(self.seen, clips))
        last = self.seen[-1]
        log.info("%s: content loss %.4g, style loss %.4g, %d iterations", job.out.name, last.content, last.style,
                 last.iteration)  # fmt: skip
        self.seen = []

    def _step(self, step: Progress) -> None:
        self.seen.append(step)
        if self.bar and isinstance(self.controls, TransferControls):
            share = (step.window + step.iteration / self.controls.iterations) / step.windows
            text = f"content {step.content:.4g} style {step.style:.4g}"
            self.bar.update(self.task, completed=share, description=text)
