"""Run tasks in worker processes, results in the order of the tasks, memory bounded, no process left behind."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

import torch

from revoice.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cpus() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Generator[Result]:
    """`map(function, tasks)` with `workers` fresh processes, or in this one if `workers` is 0.

    torch computes with one thread per worker, and also in process: results do not depend on `workers`.
    """
    if workers == 0:
        yield from _in_process(function, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > 2 * workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            f"a worker process of the preparation died (out of memory?): try data.prepare.workers={workers // 2}"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_process(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
    threads = torch.get_num_threads()
    for task in tasks:
        torch.set_num_threads(1)
        try:
            result = function(task)
        finally:
            torch.set_num_threads(threads)
        yield result


def _start_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
