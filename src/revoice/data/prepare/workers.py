"""Run tasks in worker processes, results in the order of the tasks, memory bounded, no process left behind."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import torch

from revoice.errors import UserError

log = logging.getLogger(__name__)
MOST = 61 if sys.platform == "win32" else 1 << 16  # processes of a pool: Windows waits for no more at once

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cpus() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def fresh_processes() -> BaseContext:
    """How worker processes begin: with nothing of this process in their memory (threads of torch survive no fork).

    On Linux they are forked from a server that has imported torch and this package, and nothing else has happened in:
    a second and a half sooner than a process that imports them itself. It starts with the first worker, has the
    environment of that moment, and ends with this process.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["revoice.data.prepare.compute"])
    return context


Rescue = Callable[[Task, Callable[[Task], Result | None]], Result]


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, rescue: Rescue[Task, Result]
) -> Generator[Result]:
    """`map(function, tasks)` with `workers` fresh processes, or in this one if `workers` is 0.

    torch computes with one thread per worker, and also in process: results do not depend on `workers`. When a worker
    dies (a decoder crashed, or the system ran out of memory) or has no memory left, what was waiting is done by one
    process alone.

    Args:
        function: a picklable function.
        tasks: what to call it with.
        workers: processes.
        rescue: called with a task that killed even that process, and a function that does a smaller task there (None:
            it died again; `MemoryError`: it had no memory for that either); returns the result.

    Raises:
        UserError: no worker process can live here, or this one has no memory left.
    """
    if workers == 0:
        yield from _in_process(function, tasks)
        return
    tasks = iter(tasks)
    waiting: deque[tuple[Task, Future[Result] | None]] = deque()
    while True:
        pool = _pool(workers)
        try:
            for task in tasks:
                waiting.append((task, None))
                waiting[-1] = (task, pool.submit(function, task))
                if len(waiting) > 2 * workers + 2:
                    yield _first(waiting)
                    waiting.popleft()
            while waiting:
                yield _first(waiting)
                waiting.popleft()
            return
        except (KeyboardInterrupt, GeneratorExit):  # nobody waits for what is being done
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise
        except (BrokenProcessPool, MemoryError):
            log.warning("a worker process died (a crash, or out of memory): doing again what it did, in one process")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        with closing(_Alone(function)) as alone:
            while waiting:
                task, future = waiting.popleft()
                done = future and future.done() and not future.cancelled() and not future.exception()
                try:
                    found = future.result() if future and done else alone.attempt(task)
                except MemoryError:
                    found = None
                yield rescue(task, alone.attempt) if found is None else found
        if not alone.deaths and workers > 1:
            workers //= 2
            log.warning("no task is to blame, so memory may be short: going on with %d workers", workers)


class _Alone:
    """One process that does one task at a time, so that its death has a cause."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self.function, self.deaths = function, 0
        self._pool: ProcessPoolExecutor | None = None

    def attempt(self, task: Any) -> Any:
        """The result; None if the process died of it, a `MemoryError` if it had not enough memory."""
        if self._pool is None:
            self._pool = _pool(1)
            try:
                self._pool.submit(int).result()
            except BrokenProcessPool as error:
                raise UserError(
                    "worker processes of the preparation die as they start (out of memory?): try data.prepare.workers=0"
                ) from error
        try:
            return self._pool.submit(self.function, task).result()
        except BrokenProcessPool:
            self.deaths += 1
            self.close()
            return None
        except MemoryError:
            self.deaths += 1
            raise

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(workers, MOST), fresh_processes(), start_worker)


def _first(waiting: deque[tuple[Task, Future[Result] | None]]) -> Result:
    future = waiting[0][1]
    assert future is not None
    return future.result()


def _in_process(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
    threads = torch.get_num_threads()
    for task in tasks:
        torch.set_num_threads(1)
        try:
            result = function(task)
        except MemoryError as error:
            raise UserError(
                "the preparation needs more memory than there is: cut the longest recordings into shorter ones, or "
                "type data.prepare.workers=1, which leaves out those that are too long"
            ) from error
        finally:
            torch.set_num_threads(threads)
        yield result


def start_worker() -> None:
    """What a fresh process begins with: one thread of torch, no ear for Ctrl-C, and an end when its parent ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
