"""Sweeps (`python train.py -m ...`): one failed job does not end them, each ends with a table, GPUs are shared out."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, NamedTuple

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from revoice.cli.quoting import quoted
from revoice.errors import UserError, choices

STOPPED = 143  # the status of a program that SIGTERM ended
# what tells a process its place among others: a job of its own must not inherit it
_PLACE = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID",
)  # fmt: skip


def sweeping() -> bool:
    """Whether this is a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def guarded(job: Callable[[], Any], folder: Path) -> Any:
    """What the job returns; None if it fails: the reason goes to `error.txt` and the sweep goes on."""
    (folder / "error.txt").unlink(missing_ok=True)
    try:
        return job()
    except Exception as error:
        known = isinstance(error, UserError)
        text = " ".join(str(error).splitlines()) if known else traceback.format_exc()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(text + "\n", encoding="utf-8")
        print(f"job {folder.name} failed: {text}", file=sys.stderr, flush=True)
        return None


class Needs(NamedTuple):
    """What a job needs: processes, and GPUs to keep for itself where others run beside it."""

    processes: int
    gpus: int


def needs(values: dict[str, Any]) -> Needs:
    """GPUs are kept only under a launcher that runs jobs side by side on one machine."""
    from revoice.training.trainer import place, settings_of

    settings = settings_of(values["trainer"])
    where = place(settings)
    side_by_side = HydraConfig.get().runtime.choices.get("hydra/launcher") in ("joblib", "submitit_local")
    gpus = where.devices if side_by_side and where.accelerator == "cuda" else 0
    if gpus and settings.gpus is None and settings.devices is None:  # not all that are visible
        gpus = 1
    return Needs(where.devices * settings.num_nodes, gpus)


def in_fresh_interpreter(folder: Path, gpus: int) -> None:
    """Run this job as an ordinary command of its own.

    Lightning starts further processes by repeating the command line: from within a sweep that would be the whole sweep.
    """
    overrides = list(HydraConfig.get().overrides.task)
    here = ["hydra.mode=RUN", f"hydra.run.dir={quoted(str(folder))}"]
    command = [sys.executable, "-m", "revoice.cli.train", *overrides, *here]
    environment = {name: value for name, value in os.environ.items() if name not in _PLACE}
    with claimed(gpus) as mine:
        if mine:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        status, errors = waited_for(command, environment)
    if status:
        said = [line for line in errors.splitlines() if line.strip()]
        raise UserError(said[-1].removeprefix("error: ") if said else f"it ended with status {status}")


def waited_for(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """The status of another program and what it said on standard error, which is passed on at its end.

    A signal that stops runs is for the other program, which would else go on alone: once it has saved, this one ends as
    a run that was stopped does, with the sweep.
    """
    from revoice.training.stop import SIGNALS

    came: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if number != signal.SIGINT:  # Ctrl-C reaches the whole group
            child.send_signal(number)

    mine = threading.current_thread() is threading.main_thread()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:  # of a pipe, all who write must end
        child = subprocess.Popen(command, env=dict(environment), stderr=said)
        before = {number: signal.signal(number, pass_on) for number in {*SIGNALS, signal.SIGINT}} if mine else {}
        try:
            status = child.wait()
        finally:
            for number, owner in before.items():
                signal.signal(number, signal.SIG_DFL if owner is None else owner)
        said.seek(0)
        errors = said.read()
    sys.stderr.write(errors)
    if came:
        sys.exit(STOPPED)
    return status, errors


@contextmanager
def claimed(count: int, visible: Sequence[str] | None = None, folder: Path | None = None) -> Iterator[list[str]]:
    """The names of `count` GPUs that no other job of this user's sweeps holds; waits until they are free."""
    if not count:
        yield []
        return
    names = _visible() if visible is None else list(visible)
    locks = folder or Path(tempfile.gettempdir()) / f"revoice_gpus_{os.getuid() if hasattr(os, 'getuid') else 0}"
    locks.mkdir(parents=True, exist_ok=True)
    held: list[tuple[str, FileLock]] = []
    while len(held) < count:
        for name in names:
            lock = FileLock(locks / f"{name}.lock")
            try:
                if len(held) < count:
                    lock.acquire(timeout=0)
                    held.append((name, lock))
            except Timeout:
                continue
        if len(held) < count:  # not some of them: two jobs that each hold half would wait for ever
            for _, lock in held:
                lock.release()
            held = []
            time.sleep(1.0)
    try:
        yield [name for name, _ in held]
    finally:
        for _, lock in held:
            lock.release()


def _visible() -> list[str]:
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(index) for index in range(torch.cuda.device_count())]


class Table(Callback):
    """Called by Hydra after the last job: `sweep.csv` and `sweep.png` in the folder, the table on the screen.

    Attributes:
        begun: the sweep that has begun and not ended, and its config; None where there is none.
        earlier: the jobs that lay in its folder before.
    """

    begun: "ClassVar[tuple[Table, DictConfig] | None]" = None
    earlier: dict[str, int]

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a word that means nothing before the first job, not after the last."""
        from revoice.training.sweep import DIRECTIONS, KEEPS, begun

        for key, valid in (("optimized_direction", DIRECTIONS), ("sweep_keeps", KEEPS)):
            if config[key] not in valid:
                print(f"error: {choices(config[key], valid, key)}", file=sys.stderr)
                sys.exit(2)
        self.earlier = begun(Path(config.hydra.sweep.dir))
        Table.begun = self, config

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print; ends the program with status 1 if a job failed."""
        from revoice.training.sweep import best_first, draw, read_jobs, write_table

        Table.begun = None
        folder, metric = Path(config.hydra.sweep.dir), str(config.optimized_metric)
        jobs = best_first(read_jobs(folder, self.earlier), metric, config.optimized_direction)
        if config.show or not jobs:
            return
        measured = sorted({name for job in jobs for name in job.metrics})
        if measured and metric not in measured:
            print(f"not in order: {choices(metric, measured, 'optimized_metric')}", file=sys.stderr)
        write_table(jobs, metric, folder / "sweep.csv")
        draw(jobs, metric, folder / "sweep.png")
        _show(jobs, metric)
        drawn = f"   picture: {folder / 'sweep.png'}" if (folder / "sweep.png").is_file() else ""
        print(f"table: {folder / 'sweep.csv'}{drawn}", flush=True)
        failed = [job for job in jobs if job.error]
        if config.sweep_keeps == "weights" and len(failed) < len(jobs):
            print("kept of each job: the weights of its best; sweep_keeps=all keeps what going on needs", flush=True)
        if failed:
            print(f"{len(failed)} of {len(jobs)} jobs failed: see error.txt in their folders", file=sys.stderr)
            sys.exit(1)


def end_without_a_best(error: Exception) -> None:
    """Optuna has no best of jobs without a number, and breaks off: the table is written, the program ends by status 1.

    Any other error is left to whoever calls.
    """
    if Table.begun is not None and "No trials are completed" in str(error):
        table, config = Table.begun
        table.on_multirun_end(config)
        sys.exit(0 if config.show else 1)


class Shares(Callback):
    """Called by Hydra around `prepare.py -m prepare.shard=...`: how many shares there are, whether all were done."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell every job the number of shares, unless the command line does."""
        given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        swept = next((o for o in given if o.key_or_group == "prepare.shard" and o.is_sweep_override()), None)
        if swept is not None and all(o.key_or_group != "prepare.shards" for o in given):
            with read_write(config), open_dict(config):
                config.hydra.overrides.task.append(f"prepare.shards={len(list(swept.sweep_string_iterator()))}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """End the program with status 1 if a share failed."""
        failed = sorted(Path(config.hydra.sweep.dir).glob("*/error.txt"))
        if failed:
            print(f"{len(failed)} shares failed: see {failed[0]}; repeat the command to go on", file=sys.stderr)
            sys.exit(1)


def _show(jobs: Sequence[Any], metric: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Rows

    from revoice.training.sweep import swept

    settings = swept(jobs)
    numbers = [metric, *(n for n in ("val/loss", "codebook/usage", "iterations", "seconds") if n != metric)]
    numbers = [name for name in numbers if any(name in job.metrics for job in jobs)]
    rows = Rows("job", *_short(settings), *numbers)
    for job in jobs:
        found = (job.metrics.get(name) for name in numbers)
        shown = [f"{v:.5g}" if isinstance(v, float) else "" if v is None else str(v) for v in found]
        if job.error:
            shown = ["failed", *shown[1:]]
        rows.add_row(job.name, *(escape(_brief(job.overrides.get(name, ""))) for name in settings), *shown)
    console = Console()
    console.print(rows) if console.is_terminal else Console(width=160).print(rows)


def _short(names: Sequence[str]) -> list[str]:
    """The ends of names with dots, as long as they must be to differ.

    >>> _short(["optimizer.lr", "model.encoder.channels", "model.decoder.channels"])
    ['lr', 'encoder.channels', 'decoder.channels']
    """
    parts, found = [name.split(".") for name in names], [1] * len(names)
    for length in range(1, max(map(len, parts), default=1)):
        ends = [".".join(part[-length:]) for part in parts]
        found = [length + 1 if ends.count(end) > 1 else kept for end, kept in zip(ends, found, strict=True)]
    return [".".join(part[-length:]) for part, length in zip(parts, found, strict=True)]


def _brief(value: str) -> str:
    """Numbers with four digits.

    >>> _brief("0.00845912652"), _brief("kmeans"), _brief("70800")
    ('0.008459', 'kmeans', '70800')
    """
    try:
        return value if value.lstrip("-").isdigit() else f"{float(value):.4g}"
    except ValueError:
        return value
