"""The most memory that a stretch of work takes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Peak:
    """The most memory since a stretch of work began, in MB; nan where the system does not tell.

    On a GPU that of torch's allocator; else that of the process, which on Linux is counted anew from the beginning, and
    elsewhere since the process was started.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.megabytes, self._cuda = float("nan"), device.startswith("cuda")

    def begin(self) -> None:
        """Count anew."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            try:
                _CLEAR.write_text("5")  # resets VmHWM, see proc(5)
            except OSError:
                pass

    def end(self) -> None:
        """Note what was needed since."""
        if self._cuda:
            import torch

            self.megabytes = torch.cuda.max_memory_allocated() / 1e6
        else:
            self.megabytes = _process_mb()


def _process_mb() -> float:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) / 1e3 * 1.024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return _lifetime_mb()


def _lifetime_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)


@contextmanager
def peak(device: str = "cpu") -> Iterator[Peak]:
    """Memory of what happens inside; known when it is over."""
    found = Peak(device)
    found.begin()
    yield found
    found.end()
