"""A progress bar that counts utterances and shows the speed against real time."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """A context manager around rich's bar, on stderr.

    Attributes:
        seconds: audio done so far.
    """

    def __init__(self, title: str, total: int, show: bool) -> None:
        self.seconds = 0.0
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:.0f} x real time"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not show,
        )
        self._task = self._bar.add_task(title, total=total, speed=0.0)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, utterances: int, seconds: float) -> None:
        """Count some more utterances and their audio."""
        self.seconds += seconds
        elapsed = self._bar.tasks[0].elapsed or 0.0
        self._bar.update(self._task, advance=utterances, speed=self.seconds / elapsed if elapsed else 0.0)
