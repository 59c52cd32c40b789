"""Analyses of many clips, side by side in worker processes or one after the other in this one."""

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, TypeVar

from revoice.data.prepare.workers import MOST, fresh_processes, start_worker
from revoice.errors import UserError

T = TypeVar("T")


class Workers:
    """A pool of processes that starts at the first job and ends with the `with` block.

    They are `fresh_processes`, which end when this process does, however it ends. Each imports the main module of the
    program: one that imports little at its top starts the pool sooner.

    Args:
        count: processes, never more than `MOST`; 0 runs every job at once in this process.
    """

    def __init__(self, count: int = 0) -> None:
        if count < 0:
            raise UserError(f"workers={count}: a number of processes was expected, 0 for none: workers=2")
        self.count = min(count, MOST)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def submit(self, job: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Start `job(*arguments)`; with processes, job and arguments are pickled."""
        if self.count == 0:
            done: Future[T] = Future()
            done.set_result(job(*arguments))
            return done
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.count, fresh_processes(), start_worker)
        return self._pool.submit(job, *arguments)
