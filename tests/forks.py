"""Processes that start at once: their server has imported everything before."""

import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import torch

from revoice.critics.base import CRITICS
from revoice.data.corpora.base import CORPORA
from revoice.data.fields.base import FIELDS
from revoice.data.prepare.workers import fresh_processes
from revoice.models.base import MODELS
from revoice.training.callbacks import CALLBACKS
from revoice.vocoders.base import VOCODERS
from tests import toys  # noqa: F401

for table in (CRITICS, CORPORA, FIELDS, MODELS, CALLBACKS, VOCODERS):
    table.names()  # imports all that may be asked for

FORK: Any = fresh_processes()  # one server for all tests of a process
FORK.set_forkserver_preload(["revoice.training.run", "revoice.data.prepare.preparation", "tests.forks"])
Program = Callable[[dict[str, Any], Path], Any]


def start(program: Program, config: dict[str, Any], folder: Path) -> list[Any]:
    """As many processes as `trainer.devices` says, each at work on `program(config, folder)`."""
    world = config["trainer"]["devices"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        FORK.Process(target=_run, args=(program, config, folder, rank, world, port), daemon=True)
        for rank in range(world)
    ]
    for rank in ranks:
        rank.start()
    return ranks


def end(ranks: list[Any], limit: float = 200.0) -> None:
    """Wait until all have ended well."""
    for rank in ranks:
        rank.join(limit)
    assert [rank.exitcode for rank in ranks] == [0] * len(ranks)


def run_script(
    script: Path, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 200
) -> CompletedProcess[str]:
    """What `python SCRIPT ARGUMENTS` does in a process of its own, but for the seconds that its imports take.

    Args:
        script: what is run as the main program.
        arguments: of its command line.
        cwd: its working folder; this one if not given.
        env: what its environment has beside that of the tests.
        timeout: seconds after which it is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / name for name in ("out", "err")]
        process = FORK.Process(target=_script, args=(script, arguments, cwd or Path.cwd(), dict(env or {}), logs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
        return CompletedProcess([str(script), *arguments], process.exitcode, *(log.read_text() for log in logs))


def _script(script: Path, arguments: tuple[str, ...], cwd: Path, env: dict[str, str], logs: list[Path]) -> None:
    torch.set_num_threads(1)
    for number, log in enumerate(logs, 1):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update({"OMP_NUM_THREADS": "1", **env})
    os.chdir(cwd)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


def _run(program: Program, config: dict[str, Any], folder: Path, rank: int, world: int, port: int) -> None:
    """One process of a run, placed as torchrun places it; what it says goes to FOLDER.log."""
    torch.set_num_threads(1)
    if world > 1:
        facts = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        facts |= {"MASTER_ADDR": "127.0.0.1", "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in facts.items()})
    with open(folder.parent / f"{folder.name}.log", "a") as log:
        os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
        program(config, folder)
