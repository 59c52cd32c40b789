"""A progress bar that counts utterances, and shows the speed against real time where their audio is counted."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_EVERY = 20.0  # seconds between lines where there is no terminal


class Progress:
    """A context manager around rich's bar, on stderr; without a terminal, a line now and then.

    Attributes:
        seconds: audio done so far.
    """

    def __init__(self, title: str, total: int, show: bool) -> None:
        self.seconds, self._shown = 0.0, time.monotonic()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not show,
        )
        self._lines = show and not self._bar.console.is_terminal
        self._task = self._bar.add_task(title, total=total, speed="")

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
        speed = f"{self.seconds / elapsed:.0f}x real time" if elapsed and self.seconds else ""
        self._bar.update(self._task, advance=utterances, speed=speed)
        if self._lines and time.monotonic() - self._shown > LINE_EVERY:
            self._shown = time.monotonic()
            task = self._bar.tasks[0]
            line = f"{task.description} {task.completed:.0f}/{task.total:.0f}"
            if task.completed:
                line += f"  {duration(elapsed / task.completed * ((task.total or 0) - task.completed))} left"
            print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42), duration(400), duration(13000), duration(4e5)
    ('42 s', '7 min', '3.6 h', '4.6 days')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:.1f} days"
