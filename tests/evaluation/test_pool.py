"""Worker processes of an evaluation."""

import os
import sys
import time
from pathlib import Path

import pytest

from revoice.evaluation.workers import Workers
from tests.forks import FORK


def evaluate_long(worker: Path) -> None:
    """Has a worker, whose number it writes down, and goes on for long."""
    with Workers(1) as workers:
        number = workers.submit(os.getpid).result()
        worker.with_suffix(".part").write_text(str(number))
        worker.with_suffix(".part").rename(worker)
        time.sleep(300)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signal 0 ends a process there")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = FORK.Process(target=evaluate_long, args=(tmp_path / "worker",))
    parent.start()
    end = time.monotonic() + 120
    while not (tmp_path / "worker").exists():
        assert parent.exitcode is None and time.monotonic() < end
        time.sleep(0.01)
    worker = int((tmp_path / "worker").read_text())
    parent.kill()
    parent.join()
    end = time.monotonic() + 10
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.01)
    left = alive(worker)
    if left:
        os.kill(worker, 9)
    assert not left


def test_there_are_no_more_than_the_system_can_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workers(100).count == 100
    monkeypatch.setattr("revoice.evaluation.workers.MOST", 61)  # as on Windows
    assert Workers(100).count == 61 and Workers(8).count == 8
