"""Preparations that SIGKILL ends at random moments, with workers and without."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from data_helpers import speakers_folder, touch
from test_prepare import alive, run, tree, until

from revoice.data.prepare import selection as module
from tests.forks import FORK

FIELDS = ("features", "f0", "waveform")


def attempt(root: Path, out: Path, workers: int) -> None:
    os.setsid()  # a group of its own: whom it leaves behind is found
    module.CHUNK = 2
    run(root, out, FIELDS, workers=workers, shard_utterances=4)


def start(root: Path, out: Path, workers: int) -> multiprocessing.Process:
    process = FORK.Process(target=attempt, args=(root, out, workers))
    process.start()
    return process  # type: ignore[return-value]


def shards(out: Path) -> list[Path]:
    return list(out.rglob("*.tar"))


def killed_again_and_again(root: Path, folder: Path, workers: int, kills: int) -> list[int]:
    """Shards that were whole at each kill; every preparation that came to its end equals the undisturbed one."""
    run(root, folder / "whole", FIELDS, workers=0, shard_utterances=4)
    whole = tree(folder / "whole")
    began = time.monotonic()
    for name in ("warm", "timed"):
        began = time.monotonic()
        process = start(root, folder / name, workers)
        process.join(200)
        assert process.exitcode == 0 and tree(folder / name) == whole
    seconds = time.monotonic() - began
    moments = random.Random(f"{workers} {kills}")
    found: list[int] = []
    rounds = 0
    while len(found) < kills:
        out = folder / f"round{rounds}"
        process = start(root, out, workers)
        if len(found) % 2:  # however fast the machine is at the moment: when some more shards are whole
            wanted = len(shards(out)) + moments.randint(1, 9)
            until(lambda: len(shards(out)) >= wanted or process.exitcode is not None)  # noqa: B023
            process.join(moments.uniform(0.0, 0.02))
        else:
            process.join(moments.uniform(0.0, 0.7 * seconds))
        done = process.exitcode is not None
        process.kill()
        process.join()
        until(lambda group=process.pid: not alive(group))  # no worker outlives its parent
        if done:
            assert process.exitcode == 0 and tree(out) == whole
            rounds += 1
        else:
            found.append(len(shards(out)))
    process = start(root, out, workers)
    process.join(200)
    assert process.exitcode == 0 and tree(out) == whole
    for prepared in folder.iterdir():
        assert not list(prepared.rglob("*.part"))
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = speakers_folder(tmp_path / "corpus", speakers=4, clips=8)
    touch(root / "s1" / "text.wav", "no audio")
    touch(root / "s3" / "empty.wav")
    return root


@pytest.mark.slow
def test_fifty_kills_leave_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = killed_again_and_again(corpus, tmp_path / "out", workers=0, kills=50)
    print(f"whole shards at each kill: {sorted(found)}")
    assert len(set(found)) > 3  # some were killed in the midst


@pytest.mark.slow
def test_kills_with_workers_leave_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = killed_again_and_again(corpus, tmp_path / "out", workers=2, kills=8)
    print(f"whole shards at each kill: {sorted(found)}")
    assert len(set(found)) > 2
