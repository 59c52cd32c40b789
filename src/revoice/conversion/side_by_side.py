"""Many files in several processes, each with the model: for models that compute on one core of a CPU."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple

from revoice.conversion.converter import Converter
from revoice.conversion.jobs import Result, bar, convert_files
from revoice.conversion.outputs import Job, Target
from revoice.data.prepare.workers import start_worker, usable_cpus
from revoice.errors import UserError
from revoice.models.base import Controls


class _Work(NamedTuple):
    converter: Converter
    controls: Controls


_work: _Work | None = None  # of this process


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
    converter: Converter, jobs: Sequence[tuple[Job, Target]], controls: Controls, workers: int, show: bool = False
) -> Result:
    """What `convert_files` does, in `workers` processes, each file into a voice of its own; the outputs are the same.

    Raises:
        UserError: a process died.
    """
    whole, context = Result(), get_context("spawn")
    given = (_Work(converter, controls),)
    with bar(len(jobs), show) as advance, ProcessPoolExecutor(workers, context, _begin, given) as pool:
        try:
            for one in pool.map(_convert, jobs):
                whole.add(one)
                advance()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that converts died (out of memory?); the same command goes on where it stopped, workers=0 "
                "without other processes"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return whole


def _begin(work: _Work) -> None:
    global _work
    start_worker()
    _work = work


def _convert(job: tuple[Job, Target]) -> Result:
    assert _work is not None
    return convert_files(_work.converter, [job[0]], job[1], _work.controls)
