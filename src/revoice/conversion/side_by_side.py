"""Many files in several processes, each with the model: for models that compute on one core of a CPU."""

import os
import signal
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import NamedTuple, NoReturn

from revoice.conversion.adaptation import Voice
from revoice.conversion.converter import Converter
from revoice.conversion.jobs import Result, Watch, bar, convert_files, voice_of
from revoice.conversion.outputs import Job, Target
from revoice.data.prepare.workers import MOST, fresh_processes, start_worker, usable_cpus
from revoice.errors import UserError
from revoice.models.base import Controls

Watched = Callable[[Converter, Target], AbstractContextManager[Watch | None]]


class _Work(NamedTuple):
    converter: Converter
    controls: Controls
    watched: Watched | None


_GRACE = 5.0  # seconds for a process to take away what it has begun to write
_work: _Work | None = None  # of this process
_last: tuple[object, Voice] | None = None  # the voice that this process spoke with before, and whose it is


def processes(converter: Converter, asked: int | None, jobs: int) -> int:
    """How many processes convert `jobs` files; 0 is this one alone.

    Args:
        converter: with the model, which says whether it gains from it.
        asked: a number, or None to leave it to the model.

    Raises:
        UserError: processes are asked for, and the model is on a GPU.
    """
    wanted = asked if asked is not None else usable_cpus() if converter.model.side_by_side else 0
    if converter.device.type != "cpu":
        if asked:
            raise UserError(f"workers={asked}: processes side by side need device=cpu, not {converter.device}")
        return 0
    return 0 if min(wanted, jobs) < 2 else min(wanted, jobs)


def convert_side_by_side(
    converter: Converter,
    jobs: Sequence[tuple[Job, Target]],
    controls: Controls,
    workers: int,
    show: bool = False,
    watched: Watched | None = None,
) -> Result:
    """What `convert_files` does, in `workers` processes, each file into a voice of its own; the outputs are the same.

    Args:
        converter, jobs, controls: as there, each job with its target.
        workers: how many processes.
        show: a bar.
        watched: who watches the model of a process, for each job; a function of a module, which the process imports.

    After an error, or Ctrl-C, the processes end at once, and what they had begun to write is taken away.

    Raises:
        UserError: a process died.
    """
    whole, context, others = Result(), fresh_processes(), {*active_children()}
    given = (_Work(converter, controls, watched),)
    with bar(len(jobs), show) as advance, ProcessPoolExecutor(min(workers, MOST), context, _begin, given) as pool:
        try:
            for one in pool.map(_convert, jobs):
                whole.add(one)
                advance()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that converts died (out of memory?); the same command goes on where it stopped, workers=0 "
                "without other processes"
            ) from error
        except BaseException:  # Ctrl-C: nobody waits until they are through with what they have begun
            _end({*active_children()} - others)
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return whole


def _end(own: Collection[BaseProcess]) -> None:
    for process in own:
        process.terminate()
    for process in own:
        process.join(_GRACE)
        if process.is_alive():
            process.kill()


def _begin(work: _Work) -> None:
    global _work
    start_worker()
    signal.signal(signal.SIGTERM, _stop)
    _work = work


def _stop(*_: object) -> NoReturn:
    """What is being written is taken away, and the record beside it is as it was, on the way out of `_convert`."""
    raise SystemExit(1)


def _convert(job: tuple[Job, Target]) -> Result:
    assert _work is not None
    try:
        with _work.watched(_work.converter, job[1]) if _work.watched else nullcontext() as watch:
            return convert_files(_work.converter, [job[0]], job[1], _work.controls, watch=watch, hear=_voice)
    except SystemExit as stop:  # which the pool would send to the parent, and go on with the next job
        os._exit(int(str(stop.code)))


def _voice(converter: Converter, target: Target) -> Voice:
    """`voice_of`, once for all files in a row that are converted into it: a voice may have to be adapted to."""
    global _last
    given = None if target.embedding is None else target.embedding.numpy().tobytes()
    whose = (target.label, tuple(target.clips), given)
    if _last is None or _last[0] != whose:
        _last = whose, voice_of(converter, target)
    return _last[1]
